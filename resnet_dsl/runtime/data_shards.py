"""WebDataset shards: plain tar archives in which members that share a stem are a sample, such as 0001.jpg
with 0001.cls, for data too large to be files of their own.

Samples are read at random within a shard, by offsets that each process takes down as it first comes by. So an
epoch is a mere order of numbers, the same for any number of processes that decode, and a resumed run skips nothing
but numbers.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor

from resnet_dsl.runtime.data import DataError
from resnet_dsl.runtime.data_archives import is_packed, members_of, read_range
from resnet_dsl.runtime.data_images import check_channels, open_image
from resnet_dsl.runtime.data_tree import TEST_FOLDERS

SHARD_IMAGES = ("jpg", "jpeg", "png", "webp")


class ShardIndex(NamedTuple):
    """The samples of a shard in its order: names, a line each; offsets and sizes of the images, (N, 2);
    labels (N,)."""

    names: str
    places: Tensor
    labels: Tensor


@dataclass(frozen=True, eq=False)
class ShardData:
    """Samples in shards: the files; how many samples end with each, (S,), a running sum; the names of the
    classes, which are their numbers; and the channels that images are read with."""

    shards: tuple[Path, ...]
    ends: Tensor
    classes: tuple[str, ...]
    channels: int

    def __len__(self) -> int:
        return int(self.ends[-1])

    def sample(self, index: int) -> tuple[Image.Image, int]:
        """An image and its label, by its number in all shards. Raises DataError."""
        shard = int(torch.searchsorted(self.ends, index, right=True))
        begin = int(self.ends[shard - 1]) if shard else 0
        path = self.shards[shard]
        found = shard_index(path)
        if len(found.labels) != int(self.ends[shard]) - begin:
            raise DataError(
                f"{path} has {len(found.labels)} samples, and was said to have "
                f"{int(self.ends[shard]) - begin}\nrepair the JSON file beside it that says so, or take it away"
            )
        name, label = found.names.split("\n")[index - begin], int(found.labels[index - begin])
        if label >= len(self.classes):
            raise DataError(
                f"{path}: {name} is of class {label}, and the network tells {len(self.classes)} apart, "
                f"from 0 on\nwrite a larger `classes` in the spec"
            )
        offset, size = found.places[index - begin].tolist()
        content = read_range(path, offset, size)
        return open_image(content, f"{path}: {name}", self.channels), label


def open_shards(pattern: str | Path, split: str, *, channels: int, classes: int) -> ShardData:
    """The shards of "train" or "test". Raises DataError.

    `pattern` is a folder of .tar files, which stand in folders train and test (val, validation) or have
    these words in their names; or two patterns, train::test, in which {000..099} counts. How many samples
    a shard has is read from a sizes.json ({"000.tar": 1000}) or _info.json (timm's) beside it, and is
    counted where there is none, which takes a minute for a million.
    """
    check_channels(channels)
    shards = find_shards(str(pattern), split)
    known: dict[Path, int] = {}
    for folder in {path.parent for path in shards}:
        known |= known_counts(folder)
    counts = [known[path] if path in known else count_samples(path) for path in shards]
    if not sum(counts):
        raise DataError(f"{shards[0]} and the others have no samples")
    return ShardData(
        tuple(shards), torch.tensor(counts).cumsum(0), tuple(map(str, range(classes))), channels
    )


def find_shards(pattern: str, split: str) -> list[Path]:
    """The files of a split, in order. Raises DataError if there are none, or one is missing."""
    if "::" in pattern:
        train, _, test = pattern.partition("::")
        return expand_shards(train.strip() if split == "train" else test.strip())
    folder = Path(pattern)
    if not folder.is_dir():
        raise DataError(
            f"{pattern} is not a folder of shards\n"
            "name a folder, or two patterns: data/train-{000..099}.tar::data/val-{000..009}.tar"
        )
    for word in ("train",) if split == "train" else TEST_FOLDERS:
        if found := sorted((folder / word).glob("*.tar")):
            return found
        if found := sorted(
            p for p in folder.glob("*.tar") if word in re.split("[^a-z]+", p.stem.lower())
        ):
            return found
    raise DataError(
        f"{folder} has no shards for `{split}`: no .tar files in a folder of that name, or with that word "
        "in their names\nname them so, or write two patterns: train-{000..099}.tar::test-{000..009}.tar"
    )


def expand_shards(pattern: str) -> list[Path]:
    """The files that a pattern such as train-{000..099}.tar stands for. Raises DataError."""
    names = [pattern]
    while found := re.search(r"\{(\d+)\.\.(\d+)\}", names[0]):
        first, last = found.groups()
        if not int(first) <= int(last) < int(first) + 1_000_000:
            raise DataError(f"{found[0]} in the pattern of shards does not count from low to high")
        width = len(first) if first[0] == "0" else 0
        numbers = [f"{number:0{width}}" for number in range(int(first), int(last) + 1)]
        names = [name.replace(found[0], number, 1) for name in names for number in numbers]
    paths = [Path(name) for name in names]
    if missing := [path for path in paths if not path.is_file()]:
        raise DataError(
            f"of the {len(paths)} shards that {pattern} stands for, {len(missing)} are not there: "
            f"the first is {missing[0]}\na range such as {{000..099}} has its last number in it"
        )
    return paths


def known_counts(folder: Path) -> dict[Path, int]:
    """How many samples files have, as the JSON files of a folder say. Raises DataError."""
    counts: dict[str, int] = {}
    for name in ("sizes.json", "_info.json"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            said = json.loads(path.read_bytes())
            parts = said["splits"].values() if "splits" in said else ()
            for part in parts:
                counts |= zip(part["filenames"], map(int, part["shard_lengths"]), strict=True)
            counts |= {} if parts else {key: int(value) for key, value in said.items()}
            if min(counts.values(), default=0) < 0:
                raise ValueError("a number below zero")
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(
                f"{path} does not say how many samples the shards have: {error!r}\n"
                'write {"000.tar": 1000, …}, or take it away to have them counted'
            ) from None
    return {folder / Path(key).name: count for key, count in counts.items()}


def count_samples(path: Path) -> int:
    """How many samples a shard has. Raises DataError."""
    return len(shard_index(path).labels)


@lru_cache(maxsize=1024)
def shard_index(path: Path) -> ShardIndex:
    """Where the images of a shard stand, and their labels; its headers are read, and the labels' files.

    A sample has an image and a label: a .cls file with a number, or a .json with "label" or "cls".
    Raises DataError.
    """
    if is_packed(path):
        raise DataError(
            f"{path} is compressed, and shards are read at random\nunpack it with gunzip"
        )
    images: dict[str, tuple[int, int]] = {}
    labels: dict[str, int] = {}
    for member in members_of(path, lambda name: name.endswith((".cls", ".json"))):
        folder, slash, file = member.name.rpartition("/")
        stem, _, ending = file.partition(".")
        key = folder + slash + stem
        if ending.lower() in SHARD_IMAGES:
            images[key] = member.offset, member.size
        elif ending in ("cls", "json"):
            labels.setdefault(key, -1)
            if ending == "cls" or labels[key] < 0:
                labels[key] = label_of(member.content, ending, f"{path}: {member.name}")
    if alone := next((key for key in images if labels.get(key, -1) < 0), None):
        raise DataError(
            f"{path}: {alone} has an image and no label\n"
            f'beside it belongs {alone}.cls with a number from 0 on, or {alone}.json with a "label"'
        )
    if alone := next((key for key in labels if labels[key] >= 0 and key not in images), None):
        raise DataError(f"{path}: {alone} has no image (.{', .'.join(SHARD_IMAGES)})")
    places = torch.tensor(list(images.values()), dtype=torch.int64).reshape(-1, 2)
    return ShardIndex("\n".join(images), places, torch.tensor([labels[key] for key in images]))


def label_of(content: bytes, ending: str, name: str) -> int:
    """The label in a .cls or .json file; -1 if a .json has none. Raises DataError."""
    try:
        if ending == "cls":
            label = int(content)
        else:
            said = json.loads(content)
            label = int(str(said.get("label", said.get("cls", -1))))
            if label < 0:
                return -1
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{name} is no label: {error}") from None
    if not 0 <= label < 2**31:
        raise DataError(f"{name} is no label: they count from 0, and this is {label}")
    return label


def shard_order(
    data: ShardData, *, seed: int, epoch: int, batch: int, streams: int, window: int
) -> Tensor:
    """The samples of an epoch in the order in which they are trained on: (steps · batch,) int64.

    Shards in random order are cut into as many equal `streams` as each `batch` has slices (processes times
    micro-batches), and each slice takes from a stream of its own: a process reads its own shards. Within a
    stream samples move by at most `window` places, as they would in a shuffle buffer of that size. What
    fills no batch at the end of the streams is left out, other samples each epoch.
    """
    draws = torch.Generator().manual_seed(100_003 * seed + epoch)
    begins = torch.cat([torch.zeros(1, dtype=torch.int64), data.ends[:-1]])
    shuffled = torch.randperm(len(data.shards), generator=draws)
    counts = (data.ends - begins)[shuffled]
    shift = begins[shuffled] - (counts.cumsum(0) - counts)
    samples = torch.arange(len(data)) + shift.repeat_interleave(counts)
    share = batch // streams
    length = len(data) // streams
    steps = length // share
    rows = samples[: streams * length].reshape(streams, length)
    moved = torch.arange(length) + window * torch.rand(
        rows.shape, dtype=torch.float64, generator=draws
    )
    rows = rows.gather(1, moved.argsort(1))[:, : steps * share]
    return rows.reshape(streams, steps, share).transpose(0, 1).reshape(-1)


def fingerprint_shards(data: ShardData) -> str:
    """SHA-256 of the names and sizes of the shards and how many samples they have; they are not read."""
    found = hashlib.sha256(repr((data.classes, data.channels)).encode())
    for path, end in zip(data.shards, data.ends.tolist(), strict=True):
        found.update(f"{end} {path.stat().st_size} {path.name}\n".encode())
    return found.hexdigest()
