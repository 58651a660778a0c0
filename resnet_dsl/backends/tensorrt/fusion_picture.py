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
from xml.sax.saxutils import escape

from resnet_dsl.backends.tensorrt import products
from resnet_dsl.backends.tensorrt.fusion_joins import Join
from resnet_dsl.backends.tensorrt.fusion_kernels import FusedKernel
from resnet_dsl.backends.tensorrt.fusion_rows import Row, rows, weight
from resnet_dsl.backends.tensorrt.fusion_style import COLOURS, css
from resnet_dsl.backends.tensorrt.fusion_table import computes, millions, size, types

if TYPE_CHECKING:
    from resnet_dsl.backends.tensorrt.fusion import FusionReport

WIDTH = 1000
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
    title = f"{report.name} in {report.precision}: {len(report.kernels)} kernels"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {_n(height)}" width="{WIDTH}" '
            f'height="{_n(height)}" role="img" font-family="system-ui, -apple-system, Segoe UI, '
            'Helvetica, Arial, sans-serif">',
            f"<title>{escape(title)}</title>",
            f"<style>{css()}</style>",
            '<defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" '
            'patternTransform="rotate(45)"><path class="hatch" d="M0 0V6"/></pattern></defs>',
            f'<rect class="ground" width="{WIDTH}" height="{_n(height)}"/>',
            *_head(report, found, title, scale),
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


def _head(report: FusionReport, found: Sequence[Row], title: str, scale: float) -> Iterator[str]:
    name = products.product(report.product).title
    said = [f"{name} {report.version}"]
    if report.additions:
        count = f"{report.totals.additions_fused} of {report.totals.additions}"
        said.append(f"{count} residual additions in a convolution's kernel")
    if report.totals.bytes_moved is not None:
        said.append(f"{size(report.totals.bytes_moved)} moved an image")
    if report.memory.weights is not None:
        said.append(f"{size(report.memory.weights)} of weights")
    yield _text("ink", 20, 36, title, 19, weight=600)
    yield _text("soft", 20, 57, " · ".join(said), 12)
    x = 20.0
    for kind in _types_in(report):
        yield f'<rect class="t-{kind}" x="{_n(x)}" y="71" width="14" height="14" rx="3"/>'
        yield _text("soft", x + 19, 82, kind, 11)
        x += 34 + len(kind) * 6.2
    if any(_idle(item) for item in report.kernels):
        yield f'<rect class="line" fill="url(#hatch)" x="{_n(x)}" y="71" width="14" height="14" rx="3"/>'
        yield _text("soft", x + 19, 82, "converts only", 11)
        x += 106
    for fused, word in ((True, "joins in a convolution's kernel"), (False, "joins outside of one")):
        if any(join.fused is fused for row in found for one in row.joins.values() for join in one):
            yield from _mark(x + 7, 78, fused, "add")
            yield _text("soft", x + 19, 82, word, 11)
            x += 34 + len(word) * 5.6
    if scale:
        unit = _unit(scale)
        end = WIDTH - 20
        yield f'<path class="line" d="M{_n(end - unit * scale)} 74v8h{_n(unit * scale)}v-8"/>'
        yield _text("soft", end - unit * scale - 6, 82, f"width: {size(unit)}", 11, "end")


def _unit(scale: float) -> int:
    """A round number of bytes that is some 60 to 150 pixels wide."""
    unit = 1
    while unit * scale < 60:
        unit = unit * 5 // 2 if str(unit)[0] == "2" else unit * 2
    return unit


def _types_in(report: FusionReport) -> list[str]:
    found = {one for item in report.kernels for one in (*item.reads_types, *item.writes_types)}
    return [kind for kind in COLOURS if kind in found]


def _idle(item: FusedKernel) -> bool:
    """Whether a kernel computes nothing that the network asks for."""
    return item.role in ("convert", "requantise")


def _row(row: Row, y: float, scale: float) -> Iterator[str]:
    middle = y + _BOX / 2
    if row.block and row.block != row.stage:
        yield _text("ink", _LEFT - 22, middle + 4, row.block, 11, "end")
    if row.times > 1:
        yield _text("soft", _LEFT - 22, middle + 16, f"{row.times} alike", 9, "end")
    widths = [max(_LEAST, weight(item) * scale) for item in row.kernels]
    if not scale:
        widths = [(_RIGHT - _LEFT) / len(widths) - _GAP] * len(widths)
    end = _LEFT + sum(widths) + _GAP * (len(widths) - 1)
    yield f'<path class="line" d="M{_n(_LEFT - 14)} {_n(middle)}H{_n(end + 8)}"/>'
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
    yield _text("soft", WIDTH - 20, middle + 4, " · ".join(totals), 10, "end")


def _box(
    item: FusedKernel, x: float, y: float, width: float, joins: Sequence[Join]
) -> Iterator[str]:
    read = (item.reads_types or item.writes_types or ("",))[0]
    written = (item.writes_types or (read,))[0]
    shape = f'x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(_BOX)}" rx="{_n(min(4, width / 3))}"'
    yield f"<g><title>{escape(_tip(item))}</title>"
    yield f'<rect class="{_colour(read)}" {shape}/>'
    if _idle(item):
        yield f'<rect fill="url(#hatch)" {shape}/>'
    if written != read:
        strip = min(6.0, width / 3)
        yield (
            f'<rect class="{_colour(written)}" x="{_n(x + width - strip)}" y="{_n(y)}" width="{_n(strip)}" '
            f'height="{_n(_BOX)}" rx="{_n(min(2, strip / 3))}"/>'
        )
    words = _words(item, width - (22 if joins else 8))
    if words:
        yield _text("word", x + 5, y + _BOX / 2 + 3.5, words, 10)
    yield "</g>"


def _words(item: FusedKernel, room: float) -> str:
    """As much of what a kernel computes as fits its box; of the first operation alone, its window or a word will do."""
    changes = (
        {"cast", "dequantise"} if item.role == "requantise" else {"cast", "quantise", "dequantise"}
    )
    found = [one for one in item.computes if one.kind not in changes] or list(item.computes)
    for count in range(len(found), 0, -1):
        words = " · ".join(one.label for one in found[:count])
        if len(words) * _LETTER <= room:
            return words
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
            f'<path class="skip" d="M{_n(source)} {_n(begin)}V{_n(y - 4)}q0 -4 4 -4H{_n(x - 4)}q4 0 4 4'
            f'V{_n(middle - 7)}"/>'
        )
    yield from _mark(x, middle, all(join.fused for join in joins), joins[-1].kind)


def _mark(x: float, y: float, fused: bool, kind: str) -> Iterator[str]:
    mode = "full" if fused else "open"
    yield f'<circle class="{mode}" cx="{_n(x)}" cy="{_n(y)}" r="7"/>'
    turn = f' transform="rotate(45 {_n(x)} {_n(y)})"' if kind == "multiply" else ""
    yield f'<path class="{mode}-sign" d="M{_n(x - 4)} {_n(y)}h8M{_n(x)} {_n(y - 4)}v8"{turn}/>'


def _bracket(stage: str, top: float, bottom: float) -> Iterator[str]:
    if not stage:
        return
    yield f'<path class="line" d="M26 {_n(top)}h-6V{_n(bottom)}h6"/>'
    yield _text("ink", 32, (top + bottom) / 2 + 4, stage, 12, weight=600)


def _end(report: FusionReport, y: float) -> Iterator[str]:
    first, last = report.kernels[0].kernel, report.kernels[-1].kernel
    for tensor, place in ((first.inputs[:1], _TOP - 14), (last.outputs[:1], y - 4)):
        for one in tensor:
            shape = "×".join("N" if item < 0 else str(item) for item in one.shape)
            yield _text("soft", _LEFT - 14, place, f"{one.name} {shape}", 10)


def _text(
    kind: str, x: float, y: float, words: str, points: int, anchor: str = "start", weight: int = 400
) -> str:
    more = "" if anchor == "start" else f' text-anchor="{anchor}"'
    more += "" if weight == 400 else f' font-weight="{weight}"'
    return f'<text class="{kind}" x="{_n(x)}" y="{_n(y)}" font-size="{points}"{more}>{escape(words)}</text>'


def _tip(item: FusedKernel) -> str:
    """What a reader sees over a box."""
    facts = [types(item)]
    facts += [] if item.bytes_moved is None else [f"{size(item.bytes_moved)} moved"]
    facts += [f"{size(item.weight_bytes)} of weights"] if item.weight_bytes else []
    facts += [f"{millions(item.macs)} MACs"] if item.macs else []
    names = ", ".join(one.name for one in item.computes)
    lines = (f"{item.number}  {computes(item)}", names, ", ".join(facts), item.kernel.name)
    return "\n".join(line for line in lines if line)


def _colour(kind: str) -> str:
    return f"t-{kind}" if kind in COLOURS else "t-other"


def _n(value: float) -> str:
    """A coordinate with one decimal at most."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text
