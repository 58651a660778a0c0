"""The fusion report as a picture: a row a block, a box a kernel, from the network's input at the top to its output.

A box is as wide as the bytes that its kernel moves for one image, weights included, and has the colour of the type that
it reads; a strip at its right end is the type that it writes, where that is another. Hatched kernels only convert. A
circle is where branches join: full inside of a convolution's kernel, hollow and red in another. Plain SVG with a style
sheet for light and for dark, and the same bytes for the same report.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from resnet_dsl.backends.tensorrt.fusion_joins import Join
from resnet_dsl.backends.tensorrt.fusion_kernels import FusedKernel
from resnet_dsl.backends.tensorrt.fusion_legend import head, title
from resnet_dsl.backends.tensorrt.fusion_rows import Row, idle, rows, weight
from resnet_dsl.backends.tensorrt.fusion_style import WIDTH, colour, css, mark, n, text, words
from resnet_dsl.backends.tensorrt.fusion_table import computes, millions, size, types

if TYPE_CHECKING:
    from resnet_dsl.backends.tensorrt.fusion import FusionReport

_LEFT, _RIGHT = 170.0, 852.0
"""Where boxes begin and end."""
_TOP, _STEP, _BOX, _BETWEEN = 124.0, 44.0, 24.0, 14.0
"""The first row, from row to row, the height of a box, and more between two stages."""
_GAP, _LEAST = 3.0, 3.0
"""Between boxes, and the width of the narrowest."""
_LETTER = 6.0
"""The width of a letter, on the generous side, to know which words fit a box."""


def picture(report: FusionReport) -> str:
    """The SVG document of a report."""
    found = rows(report.kernels, report.joins)
    scale = _scale(found)
    body: list[str] = []
    y = _TOP
    for stage, items in groupby(found, lambda row: row.stage):
        top = y
        for row in items:
            body += _row(row, y, scale)
            y += _STEP
        body += _bracket(stage, top, y - _STEP + _BOX)
        y += _BETWEEN
    height = y + 20
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {n(height)}" width="{WIDTH}" '
            f'height="{n(height)}" role="img" font-family="system-ui, -apple-system, Segoe UI, '
            'Helvetica, Arial, sans-serif">',
            f"<title>{words(title(report))}</title>",
            f"<style>{css()}</style>",
            '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><path class="hatch" d="M0 0V6"/></pattern></defs>',
            f'<rect class="ground" width="{WIDTH}" height="{n(height)}"/>',
            *head(report, found, scale),
            *body,
            *_end(report, y),
            "</svg>",
            "",
        ]
    )


def _scale(found: Sequence[Row]) -> float:
    """Pixels a byte, so that every row fits. The narrowest boxes come on top of what is in proportion."""
    return min(
        (
            (_RIGHT - _LEFT - len(row.kernels) * (_GAP + _LEAST)) / row.bytes
            for row in found
            if row.bytes
        ),
        default=0.0,
    )


def _row(row: Row, y: float, scale: float) -> Iterator[str]:
    middle = y + _BOX / 2
    if row.block and row.block != row.stage:
        yield text("ink", _LEFT - 22, middle + 4, row.block, 11, "end")
    if row.times > 1:
        yield text("soft", _LEFT - 22, middle + 16, f"{row.times} alike", 9, "end")
    widths = [max(_LEAST, weight(item) * scale) for item in row.kernels]
    if not scale:
        widths = [(_RIGHT - _LEFT) / len(widths) - _GAP] * len(widths)
    end = _LEFT + sum(widths) + _GAP * (len(widths) - 1)
    yield f'<path class="line" d="M{n(_LEFT - 14)} {n(middle)}H{n(end + 8)}"/>'
    x = _LEFT
    places: dict[int, tuple[float, float]] = {}
    for item, width in zip(row.kernels, widths, strict=True):
        places[item.number] = (x, x + width)
        yield from _box(item, x, y, width, row.joins.get(item.number, ()))
        x += width + _GAP
    for number, joins in row.joins.items():
        yield from _joined(row, number, joins, places, y)
    macs = sum(item.macs for item in row.kernels)
    totals = [*([size(row.bytes)] if scale else []), *([f"{millions(macs)} MACs"] if macs else [])]
    yield text("soft", WIDTH - 20, middle + 4, " · ".join(totals), 10, "end")


def _box(
    item: FusedKernel, x: float, y: float, width: float, joins: Sequence[Join]
) -> Iterator[str]:
    read = (item.reads_types or item.writes_types or ("",))[0]
    written = (item.writes_types or (read,))[0]
    shape = (
        f'x="{n(x)}" y="{n(y)}" width="{n(width)}" height="{n(_BOX)}" rx="{n(min(4, width / 3))}"'
    )
    yield f"<g><title>{words(_tip(item))}</title>"
    yield f'<rect class="{colour(read)}" {shape}/>'
    if idle(item):
        yield f'<rect fill="url(#hatch)" {shape}/>'
    if written != read:
        strip = min(6.0, width / 3)
        yield (
            f'<rect class="{colour(written)}" x="{n(x + width - strip)}" y="{n(y)}" width="{n(strip)}" '
            f'height="{n(_BOX)}" rx="{n(min(2, strip / 3))}"/>'
        )
    said = _words(item, width - (22 if joins else 8))
    if said:
        yield text("word", x + 5, y + _BOX / 2 + 3.5, said, 10)
    yield "</g>"


def _words(item: FusedKernel, room: float) -> str:
    """As much of what a kernel computes as fits its box; of the first operation alone, its window or a word will do."""
    changes = (
        {"cast", "dequantise"} if item.role == "requantise" else {"cast", "quantise", "dequantise"}
    )
    found = [one for one in item.computes if one.kind not in changes] or list(item.computes)
    for count in range(len(found), 0, -1):
        said = " · ".join(one.label for one in found[:count])
        if len(said) * _LETTER <= room:
            return said
    first = found[0] if found else None
    word = "" if first is None else first.title
    if first is not None and word == "conv":
        word = first.extent.partition(" ")[0]
    return word if len(word) * _LETTER <= room else ""


def _joined(
    row: Row,
    number: int,
    joins: Sequence[Join],
    places: dict[int, tuple[float, float]],
    y: float,
) -> Iterator[str]:
    """The circle in a kernel in which branches join, and the way of the branch that comes from farthest back."""
    kernel = next(item for item in row.kernels if item.number == number)
    start, end = places[number]
    x = max((start + end) / 2, end - 13)
    names = {tensor.name for tensor in kernel.kernel.inputs}
    source = _LEFT - 8
    inside = [
        item
        for item in row.kernels
        if item.number < number and names & {tensor.name for tensor in item.kernel.outputs}
    ]
    if len(inside) == len(names) and len(inside) > 1:
        source = sum(places[inside[0].number]) / 2
    middle = y + _BOX / 2
    begin = middle if source < _LEFT else y
    if x - source > 12 and joins[-1].kind != "multiply":
        yield (
            f'<path class="skip" d="M{n(source)} {n(begin)}V{n(y - 4)}q0 -4 4 -4H{n(x - 4)}q4 0 4 4'
            f'V{n(middle - 7)}"/>'
        )
    yield from mark(x, middle, all(join.fused for join in joins), joins[-1].kind)


def _bracket(stage: str, top: float, bottom: float) -> Iterator[str]:
    if not stage:
        return
    yield f'<path class="line" d="M26 {n(top)}h-6V{n(bottom)}h6"/>'
    yield text("ink", 32, (top + bottom) / 2 + 4, stage, 12, weight=600)


def _end(report: FusionReport, y: float) -> Iterator[str]:
    first, last = report.kernels[0].kernel, report.kernels[-1].kernel
    for tensor, place in ((first.inputs[:1], _TOP - 14), (last.outputs[:1], y - 4)):
        for one in tensor:
            shape = "×".join("N" if item < 0 else str(item) for item in one.shape)
            yield text("soft", _LEFT - 14, place, f"{one.name} {shape}", 10)


def _tip(item: FusedKernel) -> str:
    """What a reader sees over a box."""
    facts = [types(item)]
    facts += [] if item.bytes_moved is None else [f"{size(item.bytes_moved)} moved"]
    facts += [f"{size(item.weight_bytes)} of weights"] if item.weight_bytes else []
    facts += [f"{millions(item.macs)} MACs"] if item.macs else []
    names = ", ".join(one.name for one in item.computes)
    lines = (f"{item.number}  {computes(item)}", names, ", ".join(facts), item.kernel.name)
    return "\n".join(line for line in lines if line)
