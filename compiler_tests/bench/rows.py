"""The rows of the benchmark, and the three forms they are printed in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class Target:
    """A limit on our own figure (`at most`), or on how many times the peer takes as much (`times less`)."""

    kind: Literal["at most", "times less"]
    value: float

    def __str__(self) -> str:
        return f"≤ {self.value:g}" if self.kind == "at most" else f"≥ {self.value:g}×"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, the same figure of a peer, and the target. Less is better in all of them.

    `ratio` is peer / ours, worked out from the two unless given (as a median over pairs of runs, say).
    """

    case: str
    what: str
    unit: str
    ours: float
    peer: float | None = None
    peer_name: str = ""
    target: Target | None = None
    paired_ratio: float | None = None

    @property
    def ratio(self) -> float | None:
        if self.paired_ratio is not None or self.peer is None or self.ours == 0:
            return self.paired_ratio
        return self.peer / self.ours

    @property
    def passed(self) -> bool | None:
        """Whether the target is met; None where there is none, or the peer was not run."""
        if self.target is None:
            return None
        if self.target.kind == "at most":
            return self.ours <= self.target.value
        return None if self.ratio is None else self.ratio >= self.target.value


HEADINGS = ("what", "ours", "peer", "peer / ours", "target", "")


def cells(row: Row) -> tuple[str, ...]:
    peer = "–" if row.peer is None else _figure(row.peer, row.unit)
    if row.peer_name:
        peer += f" ({row.peer_name})"
    ratio = "–" if row.ratio is None else f"{_number(row.ratio)}×"
    target = "–" if row.target is None else str(row.target)
    verdict = {True: "met", False: "missed", None: ""}[row.passed]
    return row.what, _figure(row.ours, row.unit), peer, ratio, target, verdict


def table(rows: Iterable[Row]) -> Table:
    from rich.table import Table

    made = Table(title="resnet_dsl and its peers", title_justify="left")
    for heading in HEADINGS:
        numeric = heading in ("ours", "peer / ours", "target")
        made.add_column(heading, justify="right" if numeric else "left")
    styles = {True: "green", False: "bold red", None: ""}
    for row in rows:
        *plain, verdict = cells(row)
        style = styles[row.passed]
        made.add_row(*plain, f"[{style}]{verdict}[/]" if style else verdict)
    return made


def to_json(rows: Iterable[Row], machine: dict[str, str], failures: dict[str, str]) -> str:
    found = [
        {
            "case": row.case,
            "what": row.what,
            "unit": row.unit,
            "ours": row.ours,
            "peer": row.peer,
            "peer_name": row.peer_name or None,
            "peer_over_ours": row.ratio,
            "target": row.target and {"kind": row.target.kind, "value": row.target.value},
            "passed": row.passed,
        }
        for row in rows
    ]
    return json.dumps({"machine": machine, "rows": found, "failures": failures}, indent=2) + "\n"


def to_markdown(rows: Sequence[Row], machine: dict[str, str], notes: str) -> str:
    """The page docs/benchmarks.md."""
    lines = ["# Benchmarks", "", notes.strip(), ""]
    lines += ["Measured on:", "", *(f"- {name}: {value}" for name, value in machine.items()), ""]
    right_aligned = ("---", "---:", "---", "---:", "---:", "---")
    lines += [f"| {' | '.join(HEADINGS).rstrip()} |", f"| {' | '.join(right_aligned)} |"]
    lines += [f"| {' | '.join(cells(row)).rstrip()} |" for row in rows]
    return "\n".join(lines) + "\n"


def _figure(value: float, unit: str) -> str:
    return f"{_number(value)} {unit}".rstrip()


def _number(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
