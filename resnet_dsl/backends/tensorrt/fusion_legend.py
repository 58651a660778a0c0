"""The head of the picture of an engine: what it is of, and what its colours and signs mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from resnet_dsl.backends.tensorrt import products
from resnet_dsl.backends.tensorrt.fusion_rows import Row, idle
from resnet_dsl.backends.tensorrt.fusion_style import COLOURS, WIDTH, mark, n, text
from resnet_dsl.backends.tensorrt.fusion_table import size

if TYPE_CHECKING:
    from resnet_dsl.backends.tensorrt.fusion import FusionReport


def title(report: FusionReport) -> str:
    """`resnet50 in fp16: 58 kernels`."""
    rest = "" if report.rest is None else f", the rest in {report.rest}"
    shapes = f", {report.shapes}" if report.shapes else ""
    return f"{report.name} in {report.precision}{rest}{shapes}: {len(report.kernels)} kernels"


def head(report: FusionReport, found: Sequence[Row], scale: float) -> Iterator[str]:
    """The title, a line of facts, and the legend; `scale` is the pixels a byte."""
    name = products.product(report.product).title
    said = [f"{name} {report.version}"]
    if report.additions:
        count = f"{report.totals.additions_fused} of {report.totals.additions}"
        said.append(f"{count} residual additions in a convolution's kernel")
    if report.totals.bytes_moved is not None:
        said.append(f"{size(report.totals.bytes_moved)} moved an image")
    if report.memory.weights is not None:
        said.append(f"{size(report.memory.weights)} of weights")
    yield text("ink", 20, 36, title(report), 19, weight=600)
    yield text("soft", 20, 57, " · ".join(said), 12)
    yield from _legend(report, found)
    if scale:
        yield from _ruler(scale)


def _legend(report: FusionReport, found: Sequence[Row]) -> Iterator[str]:
    x = 20.0
    for kind in _types_in(report):
        yield f'<rect class="t-{kind}" x="{n(x)}" y="71" width="14" height="14" rx="3"/>'
        yield text("soft", x + 19, 82, kind, 11)
        x += 34 + len(kind) * 6.2
    if any(idle(item) for item in report.kernels):
        yield f'<rect class="line" fill="url(#hatch)" x="{n(x)}" y="71" width="14" height="14" rx="3"/>'
        yield text("soft", x + 19, 82, "converts only", 11)
        x += 106
    for fused, word in ((True, "joins in a convolution's kernel"), (False, "joins outside of one")):
        if any(join.fused is fused for row in found for one in row.joins.values() for join in one):
            yield from mark(x + 7, 78, fused, "add")
            yield text("soft", x + 19, 82, word, 11)
            x += 34 + len(word) * 5.6


def _ruler(scale: float) -> Iterator[str]:
    unit = _unit(scale)
    end = WIDTH - 20
    yield f'<path class="line" d="M{n(end - unit * scale)} 74v8h{n(unit * scale)}v-8"/>'
    yield text("soft", end - unit * scale - 6, 82, f"width: {size(unit)}", 11, "end")


def _unit(scale: float) -> int:
    """A round number of bytes that is some 60 to 150 pixels wide."""
    unit = 1
    while unit * scale < 60:
        unit = unit * 5 // 2 if str(unit)[0] == "2" else unit * 2
    return unit


def _types_in(report: FusionReport) -> list[str]:
    found = {one for item in report.kernels for one in (*item.reads_types, *item.writes_types)}
    return [kind for kind in COLOURS if kind in found]
