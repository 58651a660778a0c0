"""What the runs of a study would cost, and how far each of them is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from resnet_dsl.studies.outcomes import Outcome, Row
from resnet_dsl.studies.table import as_text


def as_lines(rows: Sequence[Row]) -> list[str]:
    """A line for each run, and their sum."""
    cells = [["run", "state", "parameters", "MACs", "MACs of the training"]]
    for row, one in _runs(rows):
        cost = row.case.training_macs
        shown = "not known" if cost is None else f"{cost:.2e}"
        costs = [f"{row.case.parameters:,}", f"{row.case.macs:,}", shown]
        cells.append([one.run.label, _state(one), *costs])
    data = as_data(rows)
    to_do = [run["training_macs"] for run in data if run["state"] != "finished"]
    known = [macs for macs in to_do if macs is not None]
    total = f": {sum(known):.2e} MACs" if known else ""
    some = f" in {len(known)} of them" if len(known) < len(to_do) else ""
    return [
        *as_text(cells),
        "",
        f"{len(data)} runs, {len(to_do)} of them to do{total}{some if known else ''}",
        "MACs of a training: three times those of its images, a third of it forward.",
    ]


def as_data(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The same for a program."""
    return [
        {
            "id": one.run.id,
            "axes": dict(row.case.at),
            "seed": one.run.seed,
            "state": one.state,
            "reason": None if one.failure is None else one.failure.reason,
            "folder": str(one.folder.path),
            "spec_sha256": one.run.spec_hash,
            "parameters": row.case.parameters,
            "macs": row.case.macs,
            "training_macs": row.case.training_macs,
        }
        for row, one in _runs(rows)
    ]


def _state(one: Outcome) -> str:
    if one.state == "running":
        return f"running, {one.folder.claims.holder() or 'elsewhere'}"
    return one.state if one.failure is None else f"failed: {one.failure.reason}"


def _runs(rows: Sequence[Row]) -> Iterator[tuple[Row, Outcome]]:
    return ((row, one) for row in rows for one in row.outcomes)
