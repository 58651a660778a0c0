"""What `describe` prints: a summary as text for people. The only module that lays out summaries,
with rich.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from resnet_dsl.analysis.receptive import ReceptiveField
from resnet_dsl.analysis.summary import Row, Summary
from resnet_dsl.render import safe

_GAP = 2


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    cell: Callable[[Row], str]


def table(summary: Summary) -> SummaryTable:
    """A rich renderable: one table where the terminal is wide enough for it, else two, else a list.
    It never cuts or wraps a number, and holds no colour, so that a pipe gets plain text.
    """
    return SummaryTable(summary)


@dataclass(frozen=True, slots=True)
class SummaryTable:
    summary: Summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        summary = self.summary
        plain = options.ascii_only
        yield _line(f"{summary.name}   input {_shape(summary.input)}", plain, bold=True)
        if summary.doc:
            lines = map(safe, summary.doc.split("\n"))
            yield from _wrapped(_characters("\n".join(lines), plain), console, options)
        yield Text("")
        for columns in _layout(summary, options.max_width):
            if columns:
                yield _table(summary, columns, plain)
            else:
                yield from _list(summary, plain)
            yield Text("")
        for note in _notes(summary):
            yield from _wrapped(_characters(note, plain), console, options)


_STAGE = _Column("stage", lambda row: row.name or "-")
_STRUCTURE = (
    _Column("output", lambda row: _shape(row.output)),
    _Column("blocks", lambda row: str(row.blocks) if row.blocks else "-"),
    _Column("layers", lambda row: str(row.layers)),
    _Column("receptive field", lambda row: _receptive(row.receptive_field)),
)
_COST = (
    _Column("parameters", lambda row: f"{row.parameters:,}"),
    _Column("MACs", lambda row: f"{row.macs:,}"),
    _Column("memory (train)", lambda row: _bytes(row.activation_bytes_training)),
    _Column("memory (infer)", lambda row: _bytes(row.activation_bytes_inference_peak)),
)


def _layout(summary: Summary, width: int) -> Iterator[tuple[_Column, ...]]:
    """The columns of each table; no columns at all stand for the list."""
    everything = (_STAGE, *_STRUCTURE, *_COST)
    structure, cost = (_STAGE, *_STRUCTURE), (_STAGE, *_COST)
    if _width(summary, everything) <= width:
        yield everything
    elif max(_width(summary, structure), _width(summary, cost)) <= width:
        yield structure
        yield cost
    else:
        yield ()


def _cells(summary: Summary, column: _Column) -> list[str]:
    total = "total" if column is _STAGE else column.cell(summary.total)
    return [*(column.cell(row) for row in summary.rows), total]


def _width(summary: Summary, columns: tuple[_Column, ...]) -> int:
    widest = (max(map(len, [column.title, *_cells(summary, column)])) for column in columns)
    return sum(widest) + _GAP * (len(columns) - 1)


def _table(summary: Summary, columns: tuple[_Column, ...], plain: bool) -> Table:
    result = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        words = column in (_STAGE, _STRUCTURE[0])
        result.add_column(column.title, justify="left" if words else "right", no_wrap=True)
    *rows, total = zip_longest(*(_cells(summary, column) for column in columns))
    for row in rows:
        result.add_row(*(_characters(cell, plain) for cell in row))
    result.add_row(*(_characters(cell, plain) for cell in total), style="bold")
    return result


def _list(summary: Summary, plain: bool) -> Iterator[Text]:
    """For terminals too narrow for any table: a paragraph a stage, one figure a line."""
    for row in (*summary.rows, summary.total):
        yield _line("total" if row is summary.total else _STAGE.cell(row), plain, bold=True)
        for column in (*_STRUCTURE, *_COST):
            yield _line(f"  {column.title} {column.cell(row)}", plain)


def _notes(summary: Summary) -> Iterator[str]:
    total = summary.total
    yield "Layers: convolutions and linear layers on the longest path."
    yield (
        "MACs: multiply-adds of convolutions and linear layers at batch 1, "
        f"which the paper prints as FLOPs. FLOPs at 2 × MACs: {total.flops_2x_macs:,}."
    )
    yield (
        "Memory: bytes of activations at batch 1, kept for the backward pass (train) "
        "and at the peak of a forward pass (infer)."
    )
    yield (
        f"Weights: {_bytes(total.weight_bytes)}, {total.buffers:,} numbers of which are buffers "
        "(running statistics)."
    )


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _receptive(field: ReceptiveField) -> str:
    if field.whole:
        return "all"
    height, width = field.size
    return f"{height:,}" if height == width else f"{height:,}×{width:,}"


def _bytes(count: int) -> str:
    """In binary units with three digits, rounded: 392 KiB, 3.06 MiB, 1.2 GiB; a whole number below
    1 KiB.
    """
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if size < 1000:
            break
        size, unit = size / 1024, larger
    digits = 0 if unit == "B" or size >= 100 else 1 if size >= 10 else 2
    return f"{size:.{digits}f} {unit}"


def _wrapped(text: str, console: Console, options: ConsoleOptions) -> Iterator[Text]:
    """The lines of a text, none of which ends in spaces."""
    for line in Text(text).wrap(console, options.max_width):
        line.rstrip()
        yield line


def _line(text: str, plain: bool, *, bold: bool = False) -> Text:
    return Text(_characters(text, plain), style="bold" if bold else "", overflow="fold")


def _characters(text: str, plain: bool) -> str:
    """Terminals and pipes that are not Unicode get an x for the multiplication sign."""
    return text.replace("×", "x") if plain else text
