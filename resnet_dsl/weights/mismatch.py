"""The error for weights that do not fit: what is missing, extra and misshaped, and what that looks like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.weights.load import Checkpoint
from resnet_dsl.weights.order import kind
from resnet_dsl.weights.pairing import Expected, Pairing

_SHOWN = 10
_BLOCK = re.compile(r"^layer(\d+)\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Differing:
    """A tensor that does not fit: its name in the network, or in the file where only that has it, and its shapes."""

    name: str
    expected: tuple[int, ...] | None = None
    found: tuple[int, ...] | None = None
    dtype: str | None = None


@dataclass(frozen=True, slots=True)
class Mismatch(Diagnostic):
    """RD507, with all that differs for programs; people are shown the first of each."""

    missing: tuple[Differing, ...] = ()
    extra: tuple[Differing, ...] = ()
    misshaped: tuple[Differing, ...] = ()


def mismatch(
    expected: Sequence[Expected],
    found: Mapping[str, NDArray[Any]],
    nearest: Pairing,
    refusal: str,
) -> CompileError:
    """RD507 for the attempt that came nearest; `refusal` is why order and shapes do not decide either."""
    shapes = {item.name: item.shape for item in expected}
    what = f"`{found.path}` does" if isinstance(found, Checkpoint) else "the weights do"
    counts = f"{len(nearest.missing)} missing, {len(nearest.extra)} extra, {len(nearest.misshaped)} misshaped"
    lines: list[str] = []
    if nearest.rules:
        lines.append(f"nearest by the names of {nearest.rules.project}")
    elif nearest.prefix:
        lines.append(f"nearest without the prefix `{nearest.prefix}`")
    lines += _section("missing", (f"{name} {shapes[name]}" for name in nearest.missing))
    lines += _section("extra", (f"{name} {tuple(found[name].shape)}" for name in nearest.extra))
    lines += _section(
        "misshaped",
        (
            _misshaped(name, shapes[name], found[nearest.pairs[name].found])
            for name in nearest.misshaped
        ),
    )
    if refusal and nearest.missing:
        lines.append(f"nor does the order of the tensors decide: {refusal}")
    misshaped = ((name, found[nearest.pairs[name].found]) for name in nearest.misshaped)
    return CompileError(
        Mismatch(
            "RD507",
            f"{what} not fit the network of {len(expected)} tensors: {counts}",
            why="\n".join(lines),
            hint=_hint(shapes, found, nearest),
            missing=tuple(Differing(name, expected=shapes[name]) for name in nearest.missing),
            extra=tuple(
                Differing(name, found=tuple(found[name].shape), dtype=str(found[name].dtype))
                for name in nearest.extra
            ),
            misshaped=tuple(
                Differing(name, shapes[name], tuple(array.shape), str(array.dtype))
                for name, array in misshaped
            ),
        )
    )


def _section(title: str, items: Iterable[str]) -> list[str]:
    entries = list(items)
    if not entries:
        return []
    more = [f"  … and {len(entries) - _SHOWN} more"] if len(entries) > _SHOWN else []
    return [f"{title} ({len(entries)}):", *(f"  {entry}" for entry in entries[:_SHOWN]), *more]


def _misshaped(name: str, shape: tuple[int, ...], array: NDArray[Any]) -> str:
    if array.dtype.kind != "f":
        return f"{name}: is of type {array.dtype}, not floating"
    return f"{name}: expected {shape}, found {tuple(array.shape)}"


def _hint(
    shapes: Mapping[str, tuple[int, ...]], found: Mapping[str, NDArray[Any]], nearest: Pairing
) -> str:
    """What the differences look like, each told from the names and shapes alone."""
    if any(found[nearest.pairs[name].found].dtype.kind != "f" for name in nearest.misshaped):
        return "the file is of a quantised network: give the weights from before"
    names = {ours: taken.found for ours, taken in nearest.pairs.items()}
    if not nearest.missing and not nearest.extra:
        return _one_end(shapes, found, nearest) or _widths(shapes, found, nearest)
    ours, theirs = _blocks(shapes), _blocks([*names, *_plain(nearest)])
    if ours and theirs and ours != theirs:
        return f"the network's stages have {_row(ours)} blocks, the file's have {_row(theirs)}: is it of another depth?"
    if not nearest.pairs:
        return "no name is known: the file seems to be of another kind of network"
    if nearest.missing and all(
        kind(name) in ("running_mean", "running_var") for name in nearest.missing
    ):
        return "the file has no running statistics: was it trained with `norm: group`?"
    if nearest.extra and all(
        kind(name) in ("running_mean", "running_var") for name in nearest.extra
    ):
        return "the file has running statistics of batch normalisation: is `norm:` right?"
    heads = {"fc", "classifier", "linear", "head"}
    if not nearest.extra and all(name.partition(".")[0] in heads for name in nearest.missing):
        return "the file is of a backbone: it has no classifier"
    shortcuts = [name for name in (*nearest.missing, *nearest.extra) if _is_shortcut(name)]
    if shortcuts and len(shortcuts) == len(nearest.missing) + len(nearest.extra):
        return "only shortcuts differ: is `shortcut:` (A, B or C) that of the weights?"
    return "check that the spec describes the network that was trained; `resnet-dsl describe SPEC` lists its stages"


def _one_end(
    shapes: Mapping[str, tuple[int, ...]], found: Mapping[str, NDArray[Any]], nearest: Pairing
) -> str | None:
    """Where one layer alone differs: in its rows it is the classifier, in its columns the first layer."""
    if len({name.rpartition(".")[0] for name in nearest.misshaped}) != 1:
        return None
    name = nearest.misshaped[0]
    ours, theirs = shapes[name], tuple(found[nearest.pairs[name].found].shape)
    if len(ours) != len(theirs) or not ours:
        return None
    differ = [axis for axis, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b]
    if differ == [0]:
        return (
            f"the file is of a network with {theirs[0]} classes, the spec has {ours[0]}: "
            f"write `classes: {theirs[0]}`"
        )
    if differ == [1] and name == next(iter(shapes)):
        return (
            f"the file is of a network for images of {theirs[1]} channels, the spec's have {ours[1]}: "
            f"write `channels: {theirs[1]}` under `input:`"
        )
    return None


def _widths(
    shapes: Mapping[str, tuple[int, ...]], found: Mapping[str, NDArray[Any]], nearest: Pairing
) -> str:
    ratios = set()
    kernels = False
    for name in nearest.misshaped:
        ours, theirs = shapes[name], tuple(found[nearest.pairs[name].found].shape)
        if not ours or not theirs:
            continue
        ratios.add(theirs[0] / ours[0])
        kernels |= ours[2:] != theirs[2:]
    if kernels:
        return "every name is right and kernel sizes differ: is the stem or the block another (CIFAR, ImageNet)?"
    if len(ratios - {1.0}) == 1:
        return f"every name is right: the file's layers are {max(ratios - {1.0}, default=1):g} times as wide"
    return "every name is right: the widths or groups of the stages differ"


def _plain(nearest: Pairing) -> list[str]:
    return [name.removeprefix(nearest.prefix) for name in nearest.extra]


def _blocks(names: Iterable[str]) -> tuple[int, ...]:
    """How many blocks each stage has, by the names."""
    counts: dict[int, int] = {}
    for name in names:
        if found := _BLOCK.match(name):
            stage = int(found[1])
            counts[stage] = max(counts.get(stage, 0), int(found[2]) + 1)
    return tuple(count for _, count in sorted(counts.items()))


def _row(counts: tuple[int, ...]) -> str:
    return ", ".join(map(str, counts))


def _is_shortcut(name: str) -> bool:
    return any(part in ("downsample", "shortcut") for part in name.split("."))
