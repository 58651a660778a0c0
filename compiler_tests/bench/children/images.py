"""Write a folder of images of noise, as CIFAR has them. Usage: images.py FOLDER TRAIN TEST"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = 10


def main(folder: str, train: str, test: str) -> None:
    draws = np.random.default_rng(0)
    for split, count in (("train", int(train)), ("test", int(test))):
        for number in range(count):
            place = Path(folder) / split / f"class{number % CLASSES}"
            place.mkdir(parents=True, exist_ok=True)
            pixels = draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(place / f"{number:05}.png", compress_level=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
