"""The fusion report as text: a few lines, and a table of every kernel within 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import wrap
from typing import TYPE_CHECKING

from resnet_dsl.backends.tensorrt.fusion_joins import Join, reasons
from resnet_dsl.backends.tensorrt.fusion_kernels import FusedKernel, Role
from resnet_dsl.backends.tensorrt.operations import Kind

if TYPE_CHECKING:
    from resnet_dsl.backends.tensorrt.fusion import FusionReport

WIDTH = 100
ROLES: dict[Role, str] = {
    "matrix": "with a convolution or product",
    "join": "joining branches",
    "pool": "pooling",
    "normalise": "normalising",
    "requantise": "only requantising",
    "pointwise": "elementwise",
    "move": "moving",
    "convert": "only converting",
    "unknown": "unknown",
}
_JOINS: dict[Kind, str] = {
    "add": "residual additions",
    "multiply": "products of two branches",
    "gate": "gates",
    "concat": "concatenations",
}
_NAMED = 3
"""How many names are listed before the rest is a number."""


def summary(report: FusionReport) -> list[str]:
    """Four to seven lines, as the other commands print facts."""
    totals, memory = report.totals, report.memory
    roles = [f"{totals.roles[role]} {text}" for role, text in ROLES.items() if role in totals.roles]
    lines = [f"profile   {report.shapes}"] if report.shapes else []
    lines += wrap(
        f"kernels   {totals.kernels}: {', '.join(roles)}", WIDTH, subsequent_indent=" " * 10
    )
    for kind, title in (("add", "residual addition"), ("gate", "gate")):
        joins = [item for item in report.joins if item.kind == kind]
        lines += [f"fused     {_fused(title, joins)}"] if joins else []
    if totals.norms:
        fused = totals.norms - totals.norms_alone
        lines.append(
            f"norms     {fused} of {totals.norms} that could not be folded are in a convolution's kernel"
        )
    lines += [f"codes     {text}" for text in _codes(report)]
    held = [
        f"{size(count)} of {text}"
        for count, text in (
            (memory.weights, "weights"),
            (memory.activations, "activations and scratch at the largest profile"),
        )
        if count is not None
    ]
    lines += [f"memory    {', '.join(held)}"] if held and report.profile == 0 else []
    lines += [f"traffic   {_traffic(report)}"] if totals.bytes_moved is not None else []
    return lines


def _codes(report: FusionReport) -> Iterator[str]:
    """How much of a quantised network is computed in codes, and what turning numbers into codes takes."""
    totals = report.totals
    matrices = totals.roles.get("matrix", 0)
    if totals.narrow is not None and matrices:
        said = (
            f"{totals.narrow} of {matrices} convolutions and products multiply {report.precision}"
        )
        if not totals.narrow:
            wide = (report.rest or "").startswith("bf16") and report.targets != (75,)
            said += f": they turn codes back into wider numbers. Write `{'--rest' if wide else '--precision'} fp16`"
        yield said
    if totals.requantise or totals.requantise_too:
        said = f"{totals.requantise} of the kernels only requantise"
        if totals.requantise_too:
            more = (
                "1 more does" if totals.requantise_too == 1 else f"{totals.requantise_too} more do"
            )
            said += f", {more} beside an addition or a pooling"
        yield said


def _fused(title: str, joins: Sequence[Join]) -> str:
    """`every residual addition: 16 of 16`, or how many, and which are not."""
    alone = [item.name for item in joins if not item.fused]
    count = f"{len(joins) - len(alone)} of {len(joins)}"
    if not alone:
        return f"every {title}: {count}"
    if len(alone) == len(joins):
        return f"no {title}: {count}"
    return f"{title}s: {count}; not {_names(alone)}"


def table(report: FusionReport) -> list[str]:
    """Every kernel under its stage and block, the joins in no convolution's kernel, and what else stands apart."""
    lines = [_HEAD, *_rows(report.kernels), ""]
    for kind, title in _JOINS.items():
        lines += _fate(title, [item for item in report.joins if item.kind == kind])
    if report.nowhere:
        lines += _wrapped(f"no kernel names {_names(report.nowhere)}", 2)
    if report.apart:
        lines += ["", "apart from what makes the value they read"]
        for count, (first, second), why in reasons(report.apart):
            lines += _wrapped(f"{count:>5}  {second} after {first}: {why}", 9)
    return lines


_HEAD = (
    f"{'#':>5}  {'computes':<43} {'types':<16} {'moves':>8} {'weights':>8} {'MACs':>7} {'MAC/B':>6}"
)


def _rows(kernels: Sequence[FusedKernel]) -> Iterator[str]:
    for stage, members in groupby(kernels, lambda item: item.stage):
        if stage:
            yield stage
        for block, items in groupby(members, lambda item: item.block):
            if block and block != stage:
                yield f"  {block}"
            yield from map(_row, items)


def _row(item: FusedKernel) -> str:
    moved, intensity = item.bytes_moved, item.intensity
    per_byte = f"{intensity:.1f}" if item.macs and intensity is not None else "-"
    return (
        f"{item.number:>5}  {_cut(computes(item), 43):<43} {_cut(types(item), 16):<16} "
        f"{'-' if moved is None else size(moved):>8} "
        f"{size(item.weight_bytes) if item.weight_bytes else '-':>8} "
        f"{millions(item.macs) if item.macs else '-':>7} {per_byte:>6}"
    )


def computes(item: FusedKernel) -> str:
    """What a kernel computes, in words: its operations, or else what it prepares or finishes."""
    words = [one.label for one in item.computes if one.kind != "dequantise"]
    if words or item.computes:
        scaled = [one for one in item.finishes if one.kind == "matrix"]
        return ", ".join([*(["scale"] if scaled else []), *(words or ["dequantise"])])
    if item.prepares:
        return f"{'lay out' if item.kernel.inputs else 'set up'} for {item.prepares[0].name}"
    if item.finishes:
        return f"finish {item.finishes[0].name}"
    if item.strangers:
        return ", ".join(item.strangers)
    return f"lay out ({' '.join(item.kernel.steps).lower() or item.kernel.kind})"


def types(item: FusedKernel) -> str:
    """`fp16`, or `int8→fp32` where what is written is of another type than what is read."""
    read, written = "+".join(item.reads_types) or "-", "+".join(item.writes_types)
    return read if read == written else f"{read}→{written}"


def _fate(title: str, joins: Sequence[Join]) -> Iterator[str]:
    """How many joins of a kind are in a convolution's kernel, and of the others why not."""
    if not joins:
        return
    alone = [item for item in joins if not item.fused]
    yield f"{title} in a convolution's kernel: {len(joins) - len(alone)} of {len(joins)}"
    fates: dict[str, list[Join]] = {}
    for item in alone:
        fates.setdefault(item.why, []).append(item)
    for why, members in fates.items():
        names = [f"{item.name} ({item.kernel or '-'})" for item in members]
        yield from _wrapped(f"{len(members):>5}  {why}: {_names(names)}", 9)


def _traffic(report: FusionReport) -> str:
    moved, apart = report.totals.bytes_moved or 0, report.totals.bytes_apart
    text = f"{size(moved)} an image"
    if not apart:
        return text
    return f"{text}, {moved / apart:.0%} of the {size(apart)} that a kernel for each operation would move"


def size(count: int) -> str:
    """Bytes with three digits: 392 kB, 3.06 MB."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    if unit == "B":
        return f"{count} B"
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f} {unit}"


def millions(count: int) -> str:
    """Multiply-adds in millions, with two digits at least: 0.51 M, 6.4 M, 116 M."""
    value = count / 1e6
    if value < 0.005:
        return f"{count / 1e3:.1f} k"
    return f"{value:,.{2 if value < 0.995 else 1 if value < 9.95 else 0}f} M"


def _names(names: Sequence[str]) -> str:
    if len(names) <= _NAMED + 1:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED} more"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"


def _wrapped(text: str, indent: int) -> list[str]:
    return wrap(
        text,
        WIDTH,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
