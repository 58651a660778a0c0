"""The figures for people: aligned text of at most 100 columns, and the same as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from textwrap import wrap

from resnet_dsl.bench.outcome import Point, Results, Row
from resnet_dsl.bench.statistics import Ratio

WIDTH = 100
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
    tables = {
        batch: {row.candidate.title: _cells(results, row, batch) for row in rows}
        for batch in results.batches
        if (rows := _rows(results, batch))
    }
    names = [row.candidate.title for row in results.rows] + [f"batch {batch}" for batch in tables]
    titles = [column.title for column in _COLUMNS]
    body = [cells for table in tables.values() for cells in table.values()]
    columns = [names, *map(list, zip(titles, *body, strict=True))]
    widths = [max(map(len, column), default=0) for column in columns]
    gap = _GAP if sum(widths) + len(_GAP) * (len(widths) - 1) <= WIDTH else " "
    found = [*_heading(results)]
    for batch, table in tables.items():
        head = _line(f"batch {batch}", titles, widths, gap)
        found += ["", head, "─" * len(head)]
        found += [_line(name, cells, widths, gap) for name, cells in table.items()]
    if missing := _missing(results):
        found += ["", *(_said(name, why, widths[0] + len(_GAP)) for name, why in missing)]
    if remarks := _remarks(results):
        found += ["", *(_said(label, text) for label, text in remarks)]
    return found


def markdown(results: Results) -> str:
    """A page with the same tables."""
    found = [f"# {results.name}: how fast", "", *(f"- {line}" for line in _heading(results))]
    for batch in results.batches:
        rows = _rows(results, batch)
        if rows:
            found += ["", f"## Batch {batch}", ""]
            found += _markdown_table(["", *(column.title for column in _COLUMNS)])
            for row in rows:
                cells = [row.candidate.title, *_cells(results, row, batch)]
                found.append(f"| {' | '.join(cells)} |")
    told = [*_missing(results), *_remarks(results)]
    found += ["", *(f"- {name}: {text}" for name, text in told)] if told else []
    return "\n".join(found) + "\n"


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
    """A ratio with the range over the rounds; `≈` before it where they do not agree on which is faster."""
    if found is None:
        return _NONE
    sign = "≈" if found.within_noise else ""
    return f"{sign}{number(found.value)} ({number(found.low)}–{number(found.high)})"


def percent(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.0f} %"


def rate(operations: float | None) -> str:
    """Operations in a second."""
    if operations is None:
        return _NONE
    scale, unit = (1e12, "T") if operations >= 1e12 else (1e9, "G")
    return f"{number(operations / scale)} {unit}op/s"


def _rows(results: Results, batch: int) -> list[Row]:
    """The rows that were measured at a batch size."""
    return [row for row in results.rows if batch in row.points and row.points[batch].measured]


def _macs(count: float) -> str:
    """A number of multiply-adds as people read it."""
    unit, size = ("G", 1e9) if count >= 1e9 else ("M", 1e6)
    return f"{number(count / size)} {unit} multiply-adds"


def _heading(results: Results) -> list[str]:
    channels, height, width = results.shape
    place = results.machine.get(results.device, results.device)
    if results.device == "cpu":
        place += f", {results.threads} thread" + "s" * (results.threads > 1)
    network = f"{channels}×{height}×{width}, {_macs(results.operations / 2)}"
    found = [f"network   {results.name}, {network}", f"on        {place}"]
    peaks = [f"{one.precision} {rate(one.rate)}" for one in results.peaks.values() if one.rate]
    if peaks:
        found.append(f"peak      {', '.join(peaks)}: products of matrices, in the same rounds")
    return found


def _line(name: str, cells: Sequence[str], widths: Sequence[int], gap: str) -> str:
    padded = (cell.rjust(wide) for cell, wide in zip(cells, widths[1:], strict=True))
    return gap.join([name.ljust(widths[0]), *padded])


def _cells(results: Results, row: Row, batch: int) -> list[str]:
    point = row.points[batch]
    made = [column.cell(results, row, point) for column in _COLUMNS]
    if results.baseline is row:
        made[4] = "1"
    return made


def _markdown_table(titles: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(titles)} |", f"| --- | {' | '.join(['---:'] * (len(titles) - 1))} |"]


def _missing(results: Results) -> list[tuple[str, str]]:
    """What was not run or failed, and why."""
    found = []
    for row in results.rows:
        if row.absent is not None:
            command = f": {row.absent.command}" if row.absent.command else ""
            found.append((row.candidate.title, f"{row.absent.why}{command}"))
        for batch, why in row.failures.items():
            where = f" at batch {batch}" if batch else ""
            found.append((row.candidate.title, f"failed{where}: {why}"))
    return found


def _remarks(results: Results) -> list[tuple[str, str]]:
    """What the tables are to be read with."""
    base = results.baseline
    if base is None:
        return []
    count = max(len(point.rates) for point in base.points.values())
    rounds = f"of {count} rounds" if count > 1 else "of one round"
    ranges = f"in brackets the least and the greatest {rounds}, ≈ where 1 is between them"
    found = [("base", f"{base.candidate.title}; {ranges}")]
    for row in results.differing():
        off = results.difference(row) or 0.0
        far = f"{off:.0%} from {base.candidate.title}'s" if isfinite(off) else "no numbers"
        found.append(("differs", f"{row.candidate.title}: its outputs are {far}"))
    unsteady = [
        f"{row.candidate.title} at {batch}"
        for row in results.rows
        for batch, point in row.points.items()
        if point.measured and point.prepared.steady is False
    ]
    if unsteady:
        found.append(("unsteady", f"when its warm-up ended: {', '.join(unsteady)}"))
    if not results.complete:
        found.append(("partial", f"it was interrupted in round {results.rounds}"))
    return found


def _said(label: str, text: str, indent: int = 10) -> str:
    """A label and a text in as many lines as it takes."""
    return "\n".join(
        wrap(
            text,
            WIDTH,
            initial_indent=label.ljust(indent),
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
        )
    )


def _memory(count: int | None) -> str:
    if count is None:
        return _NONE
    return f"{count / 1e9:.1f} GB" if count >= 999.5e6 else f"{count / 1e6:.0f} MB"


def _ready(row: Row, point: Point) -> str:
    ready = (row.load_s or 0.0) + point.prepared.compile_s + point.prepared.first_s
    return f"{1e3 * ready:.0f} ms" if ready < 0.9995 else f"{number(ready)} s"
