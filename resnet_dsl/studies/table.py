"""The outcome of a study as a table: for a terminal, as Markdown, as CSV, and as data."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from resnet_dsl.studies.outcomes import MEASURES, Row, Statistic
from resnet_dsl.studies.schema import Study

Cells = list[list[str]]
"""Rows of text, the first of which is the head."""


def crossed(study: Study, rows: Sequence[Row]) -> Cells:
    """The table's measure, the values of one axis side by side; nothing where the study names none."""
    columns = study.table.columns
    if columns is None:
        return []
    heads = list(dict.fromkeys(dict(row.case.at)[columns] for row in rows))
    axes = [axis for axis in study.axes if axis != columns]
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows:
        at = dict(row.case.at)
        cell = _cell(row, study.table.measure)
        lines.setdefault(tuple(at[axis] for axis in axes), {})[at[columns]] = cell
    body = [[*at, *(cells.get(head, "") for head in heads)] for at, cells in lines.items()]
    return [[*axes, *heads], *body]


def listed(study: Study, rows: Sequence[Row]) -> Cells:
    """Every measure, a row a case."""
    shown = [name for name in MEASURES if any(row.statistic(name) for row in rows)]
    head = [*study.axes, "seeds", "parameters", "MACs", *(MEASURES[name] for name in shown)]
    body = [
        [
            *(label for _, label in row.case.at),
            _seeds(row),
            f"{row.case.parameters:,}",
            f"{row.case.macs:,}",
            *(_cell(row, name) for name in shown),
        ]
        for row in rows
    ]
    return [head, *body]


def as_text(cells: Cells) -> list[str]:
    """Aligned columns: words to the left, numbers to the right."""
    if not cells:
        return []
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    right = [_is_numeric(column[1:]) for column in zip(*cells, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in cells
    ]


def as_markdown(study: Study, rows: Sequence[Row], figures: Sequence[str] = ()) -> str:
    """Both tables and the figure, with what the study says of itself and what the numbers are."""
    parts = [f"# {study.name}", study.doc, *(f"![{study.name}]({file})" for file in figures)]
    if grid := crossed(study, rows):
        parts += [f"{_capital(MEASURES[study.table.measure])}:", _markdown(grid)]
    parts += [_markdown(listed(study, rows)), *notes(rows)]
    return "\n\n".join(filter(None, parts)) + "\n"


def as_csv(study: Study, rows: Sequence[Row]) -> str:
    """A line a case, each number in a column of its own."""
    head = [*study.axes, "seeds", "finished", "failed", "parameters", "macs"]
    for name in MEASURES:
        head += [f"{name}_mean", f"{name}_std"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        cells: list[Any] = [label for _, label in row.case.at]
        cells += [len(row.outcomes), len(row.finished), _count(row, "failed")]
        cells += [row.case.parameters, row.case.macs]
        for name in MEASURES:
            found = row.statistic(name)
            cells += [None, None] if found is None else [found.mean, found.deviation]
        writer.writerow(cells)
    return text.getvalue()


def as_data(study: Study, rows: Sequence[Row]) -> dict[str, Any]:
    """The same for a program, with every run."""
    return {
        "study": study.name,
        "doc": study.doc,
        "cases": [
            {
                "axes": dict(row.case.at),
                "parameters": row.case.parameters,
                "macs": row.case.macs,
                "measures": {name: _data(row.statistic(name)) for name in MEASURES},
                "runs": [
                    {
                        "id": one.run.id,
                        "seed": one.run.seed,
                        "spec_sha256": one.run.spec_hash,
                        "folder": str(one.folder.path),
                        "state": one.state,
                        "measures": one.measures,
                        "device": one.result.get("device"),
                    }
                    for one in row.outcomes
                ],
            }
            for row in rows
        ],
    }


def notes(rows: Sequence[Row]) -> list[str]:
    """What one has to know to read the numbers."""
    said = [
        "Means over the seeds, ± their sample standard deviation. MACs are of one image, forward."
    ]
    chosen = {one.result.get("selected_on") for row in rows for one in row.finished}
    if "test" in chosen:
        said.append(
            "The best epoch was chosen on the test images, so its error is an optimistic one."
        )
    if open_ := sum(len(row.outcomes) - len(row.finished) for row in rows):
        total = sum(len(row.outcomes) for row in rows)
        said.append(f"{total - open_} of {total} runs are finished.")
    return said


def _cell(row: Row, measure: str) -> str:
    found = row.statistic(measure)
    if found is None:
        return "failed" if _count(row, "failed") else "–"
    places = 2 if measure != "seconds" else int(found.mean < 100)
    text = f"{found.mean:,.{places}f}"
    return text if found.deviation is None else f"{text} ± {found.deviation:,.{places}f}"


def _seeds(row: Row) -> str:
    """How many of how many are finished."""
    done, all_ = len(row.finished), len(row.outcomes)
    return str(all_) if done == all_ else f"{done} of {all_}"


def _count(row: Row, state: str) -> int:
    return sum(one.state == state for one in row.outcomes)


def _data(found: Statistic | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"mean": found.mean, "std": found.deviation, "seeds": found.count}


def _is_numeric(cells: Sequence[str]) -> bool:
    return all(
        not cell or cell[0].isdigit() or cell[0] in "–.-" or cell == "failed" for cell in cells
    )


def _markdown(cells: Cells) -> str:
    head, *body = cells
    right = [_is_numeric(column[1:]) for column in zip(*cells, strict=True)]
    rule = ["---:" if to_right else "---" for to_right in right]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *body))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
