"""The figures for people: aligned text of at most 100 columns, and the same as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from resnet_dsl.bench.outcome import Point, Results, Row
from resnet_dsl.bench.statistics import Ratio

_GAP = "  "
_NONE = "–"


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    cell: Callable[[Results, Row, Point], str]


_COLUMNS = (
    _Column("p50 ms", lambda _, _row, point: milliseconds(point.latency(0.5))),
    _Column("p90 ms", lambda _, _row, point: milliseconds(point.latency(0.9))),
    _Column("p99 ms", lambda _, _row, point: milliseconds(point.latency(0.99))),
    _Column("images/s", lambda _, _row, point: number(point.throughput)),
    _Column("× base", lambda found, row, point: times(found.ratio(row, point.batch))),
    _Column("of peak", lambda found, row, point: percent(found.of_peak(row, point.batch))),
    _Column("memory", lambda _, _row, point: _memory(point.prepared.memory)),
    _Column("ready in", lambda _, row, point: _ready(row, point)),
)


def lines(results: Results) -> list[str]:
    """A table for each batch size, what was not run, and what the columns mean where it matters."""
    found = [*_heading(results)]
    width = max((len(row.candidate.title) for row in results.rows), default=0)
    for batch in results.batches:
        rows = [row for row in results.rows if _measured(row, batch)]
        if rows:
            found += ["", *_table(results, batch, rows, width)]
    missing = _missing(results, width)
    return [*found, *(["", "not run", *missing] if missing else []), *_remarks(results)]


def markdown(results: Results) -> str:
    """A page with the same tables."""
    found = [f"# {results.name}: how fast", "", *(f"- {line}" for line in _heading(results))]
    for batch in results.batches:
        rows = [row for row in results.rows if _measured(row, batch)]
        if rows:
            found += ["", f"## Batch {batch}", ""]
            found += _markdown_table(["", *(column.title for column in _COLUMNS)])
            for row in rows:
                cells = [row.candidate.title.strip(), *_cells(results, row, batch)]
                found.append(f"| {' | '.join(cells)} |")
    missing = _missing(results, 0)
    if missing:
        found += ["", "Not run:", "", *(f"- {' '.join(line.split())}" for line in missing)]
    remarks = [line for line in _remarks(results) if line]
    return "\n".join([*found, *(["", *remarks] if remarks else [])]) + "\n"


def milliseconds(seconds: float | None) -> str:
    """Milliseconds in three figures or more; a dash for none."""
    return number(None if seconds is None else 1e3 * seconds)


def number(value: float | None) -> str:
    """Three figures or more."""
    if value is None:
        return _NONE
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def times(found: Ratio | None) -> str:
    """A ratio with its noise; `≈` before it where the rounds do not agree on which is faster."""
    if found is None:
        return _NONE
    return f"{'≈' if found.within_noise else ''}{found.value:.2f} ±{found.noise:.2f}"


def percent(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.0f} %"


def rate(operations: float | None) -> str:
    """Operations in a second."""
    if operations is None:
        return _NONE
    scale, unit = (1e12, "T") if operations >= 1e12 else (1e9, "G")
    return f"{number(operations / scale)} {unit}op/s"


def _measured(row: Row, batch: int) -> bool:
    return batch in row.points and row.points[batch].measured


def _heading(results: Results) -> list[str]:
    channels, height, width = results.shape
    place = results.machine.get(results.device, results.device)
    if results.device == "cpu":
        place += f", {results.threads} thread" + "s" * (results.threads > 1)
    network = f"{channels}×{height}×{width}, {number(results.operations / 2e9)} G multiply-adds"
    found = [f"network   {results.name}, {network}", f"on        {place}"]
    peaks = [f"{one.precision} {rate(one.rate)}" for one in results.peaks.values() if one.rate]
    if peaks:
        found.append(f"peak      {', '.join(peaks)}: products of matrices, in the same rounds")
    return found


def _table(results: Results, batch: int, rows: Sequence[Row], width: int) -> list[str]:
    titles = [column.title for column in _COLUMNS]
    body = [_cells(results, row, batch) for row in rows]
    widths = [max(map(len, column)) for column in zip(titles, *body, strict=True)]
    first = f"batch {batch}"
    width = max(width, len(first))

    def line(name: str, cells: Sequence[str]) -> str:
        padded = (cell.rjust(wide) for cell, wide in zip(cells, widths, strict=True))
        return _GAP.join([name.ljust(width), *padded]).rstrip()

    made = [line(first, titles)]
    made.append("─" * max(map(len, made)))
    return made + [line(row.candidate.title, cells) for row, cells in zip(rows, body, strict=True)]


def _cells(results: Results, row: Row, batch: int) -> list[str]:
    point = row.points[batch]
    made = [column.cell(results, row, point) for column in _COLUMNS]
    if results.baseline is row:
        made[4] = "1"
    return made


def _markdown_table(titles: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(titles)} |", f"| --- | {' | '.join(['---:'] * (len(titles) - 1))} |"]


def _missing(results: Results, width: int) -> list[str]:
    found = []
    for row in results.rows:
        if row.absent is not None:
            command = f"; {row.absent.command}" if row.absent.command else ""
            found.append(f"{row.candidate.title:<{width}}{_GAP}{row.absent.why}{command}")
        for batch, why in row.failures.items():
            where = f"batch {batch}: " if batch else ""
            found.append(f"{row.candidate.title:<{width}}{_GAP}failed: {where}{why}")
    return found


def _remarks(results: Results) -> list[str]:
    base, found = results.baseline, []
    if base is None:
        return []
    found.append(
        f"base      {base.candidate.title}; ± and ≈ (within the noise) are from round to round"
    )
    for row in results.differing():
        off = f"{results.difference(row) or 0.0:.0%} from {base.candidate.title}'s"
        found.append(
            f"differs   {row.candidate.title}: its outputs are {off}: not the same network"
        )
    unsteady = [
        f"{row.candidate.title} at {batch}"
        for row in results.rows
        for batch, point in row.points.items()
        if point.measured and not point.prepared.steady
    ]
    if unsteady:
        found.append(f"unsteady  still changing when its warm-up ended: {', '.join(unsteady)}")
    return ["", *found]


def _memory(count: int | None) -> str:
    if count is None:
        return _NONE
    return f"{count / 1e9:.1f} GB" if count >= 999.5e6 else f"{count / 1e6:.0f} MB"


def _ready(row: Row, point: Point) -> str:
    ready = (row.load_s or 0.0) + point.prepared.compile_s + point.prepared.first_s
    return f"{ready:.1f} s" if ready < 99.5 else f"{ready:.0f} s"
