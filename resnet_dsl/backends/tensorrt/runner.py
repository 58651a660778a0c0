"""A program that runs one engine, and needs nothing of ours: `run_resnet50_fp16.py` of `resnet50.fp16.engine`.

The template holds the program, this module what it knows of its engine: constants, and which of its parts there are.
Image files are read where it is known how the images of the network are prepared, and .npy files always.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeGuard

from resnet_dsl.backends.layout import Atom, Group, Node, statement, width
from resnet_dsl.backends.templates import environment
from resnet_dsl.backends.tensorrt.gpus import describe
from resnet_dsl.backends.tensorrt.manifest import Manifest
from resnet_dsl.backends.tensorrt.products import PRODUCTS, Product
from resnet_dsl.backends.torch.prose import docstring, paragraphs, quoted

_TEMPLATE = "run_engine.py.j2"
_MODES = {1: "L", 3: "RGB"}  # of PIL, by number of channels
_LONGEST = 120  # columns of a line that needs no excuse


def runner_file(manifest: Manifest) -> str:
    """The name of the program: the engine's own as a module, so that those of one folder keep apart."""
    stem = manifest.engine.file.removesuffix(".engine")
    return f"run_{re.sub('[^0-9A-Za-z]', '_', stem)}.py"


def runner_source(manifest: Manifest) -> str:
    """The program that runs the engine of a manifest, from the engine's own folder."""
    engine = manifest.engine
    product = PRODUCTS[engine.product]
    channels = manifest.input_shape[0]
    standard = _standard(manifest)
    resize, crop = _size(manifest)
    images = standard is not None and channels in _MODES
    lines = [*_facts(manifest, product), *_texts(manifest, product)]
    lines.append(f"CHANNELS = {channels}")
    if images:
        lines += [f"RESIZE = {resize or min(crop)}  # {_resized(resize)}"]
        lines += [f"SIZE = ({crop[0]}, {crop[1]})  # height and width of what the network sees"]
    if standard is not None:
        lines += statement("MEAN = ", _numbers(standard[0]), "  # of images from 0 to 1")
        lines += statement("STD = ", _numbers(standard[1]))
    return (
        environment("resnet_dsl.backends.tensorrt")
        .get_template(_TEMPLATE)
        .render(
            docstring="\n".join(docstring(_about(manifest, product, images=images), 0)),
            constants=lines,
            rtx=product.ahead_of_time,
            title=product.title,
            images=images,
            standardised=standard is not None,
            mode=_MODES.get(channels),
            channels=channels,
            version_compatible=engine.compatibility.version,
            ampere_plus=engine.compatibility.hardware == "ampere_plus",
            unknown=_unknown(manifest),
            classes="\n".join(_classes(manifest)),
        )
    )


def _about(manifest: Manifest, product: Product, *, images: bool) -> Iterator[str]:
    engine = manifest.engine
    targets = ", ".join(map(describe, engine.capabilities)) or "the GPU that it was built on"
    name = paragraphs(engine.file)[0]
    program = runner_file(manifest)
    yield f"Run {name}: {paragraphs(manifest.spec.name)[0]} in {engine.precision}, by {product.title}."
    usage = [
        *([f"python {program} cat.jpg dog.jpg          # the likeliest classes"] if images else []),
        f"python {program} --npy images.npy --out scores.npy",
        f"python {program} --benchmark              # latency and throughput",
    ]
    yield "\n".join(f"    {line}" for line in usage)
    yield "From a program, with images (N, C, H, W) of any N:"
    yield "\n".join(
        [
            f"    from {program.removesuffix('.py')} import Engine",
            "",
            "    scores = Engine()(images)",
        ]
    )
    yield (
        f"It needs {name} beside it, {product.title} {engine.version}, NumPy, and torch or cuda-python"
        + (", and Pillow for image files" if images else "")
        + f". The engine is for {targets}. It ends with status 0, or 2 and a line that says what is missing."
    )
    yield (
        f"Written by resnet-dsl {manifest.resnet_dsl} from a spec with SHA-256\n{manifest.spec.sha256}."
    )


def _facts(manifest: Manifest, product: Product) -> Iterator[str]:
    """What the engine is."""
    engine = manifest.engine
    yield "HERE = Path(__file__).resolve().parent"
    yield f"ENGINE = {quoted(engine.file)}"
    yield f"SHA256 = {quoted(engine.sha256)}"
    yield f"PRODUCT = {quoted(product.module)}"
    yield f"TITLE = {quoted(product.title)}"
    yield f"VERSION = {quoted(engine.version)}"
    yield f'MAGIC = b"{product.magic.decode()}"'
    yield f"PRECISION = {quoted(engine.precision)}"
    capabilities = Group("(", tuple(Atom(str(item)) for item in engine.capabilities))
    yield from statement("CAPABILITIES = ", capabilities, "  # 89 is 8.9")
    yield f"INPUT = {quoted(engine.inputs[0].name)}"
    yield f"OUTPUT = {quoted(engine.outputs[0].name)}"


def _texts(manifest: Manifest, product: Product) -> Iterator[str]:
    """What to do where it cannot run."""
    engine = manifest.engine
    package = product.install.removeprefix("pip install ")
    version = ".".join(engine.version.split(".")[:3])
    install = f"pip install '{package}=={version}.*'"
    yield f"INSTALL = {quoted(install)}"
    again = (
        f"build it again: resnet-dsl compile SPEC --target tensorrt --precision {engine.precision}"
    )
    yield f"AGAIN = {quoted(again)}"
    yield 'NO_GPU = "run it on a machine with one; nvidia-smi says whether there is"'


def _standard(manifest: Manifest) -> tuple[list[float], list[float]] | None:
    """Mean and std, where images are standardised by a number for each channel, or one for all."""
    said = manifest.preprocessing or {}
    mean, std = said.get("mean"), said.get("std")
    allowed = (1, manifest.input_shape[0])
    if "mean_image_sha256" in said or not _floats(mean) or not _floats(std):
        return None
    return (mean, std) if len(mean) in allowed and len(std) in allowed and 0 not in std else None


def _unknown(manifest: Manifest) -> str:
    """Why bytes cannot be made into what the network takes."""
    if "mean_image_sha256" in (manifest.preprocessing or {}):
        return "images are standardised by a mean image, which is not in this file"
    return "it is not known how images are standardised"


def _floats(value: object) -> TypeGuard[list[float]]:
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, int | float) and not isinstance(item, bool) for item in value)
    )


def _size(manifest: Manifest) -> tuple[int | None, tuple[int, int]]:
    """What the shorter side is scaled to (None: images are as they are), and height and width of what is cut out."""
    said = manifest.preprocessing or {}
    resize, crop = said.get("resize"), said.get("crop")
    sides = [side for side in crop if isinstance(side, int)] if isinstance(crop, list) else []
    height, width = sides if len(sides) == 2 and min(sides) > 0 else manifest.input_shape[1:3]
    chosen = resize if isinstance(resize, int) and resize > 0 else None
    return chosen, (height, width)


def _resized(resize: int | None) -> str:
    said = "what the shorter side of an image is scaled to, before its middle is cut out"
    return said if resize is not None else "images have this size already, or are scaled to it"


def _numbers(values: list[float]) -> Node:
    return Group("(", tuple(Atom(repr(float(item))) for item in values))


def _classes(manifest: Manifest) -> Iterator[str]:
    """The classes' names, one a line, so that a thousand of them are no thousand strings."""
    names = [" ".join(name.split()) for name in manifest.class_names or ()]
    if not names:
        yield "CLASSES: list[str] = []  # their names are not known"
        return
    lines = ["".join(map(_plain, name)).replace('"""', '""\\"') for name in names]
    long = any(width(line) > _LONGEST and " " in line for line in lines)
    yield 'CLASSES = """\\'
    yield from lines
    yield '""".splitlines()' + ("  # noqa: E501" if long else "")


def _plain(character: str) -> str:
    if character == "\\":
        return "\\\\"
    return character if character.isprintable() else character.encode("unicode_escape").decode()
