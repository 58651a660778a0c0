"""What an evaluation says: tables for people, the same as data, and as CSV. Accuracies and errors are in percent."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

MOST_ROWS = 40  # classes that a table lists; of more, the worst
MOST_CELLS = 20  # classes of a confusion matrix that is printed
MOST_IN_DATA = 100  # classes of one that is data; of more, the commonest confusions
_MOST_PAIRS = 100
_LONGEST_NAME = 24


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of the images are told right, and what is read off that."""

    right: int
    images: int

    @property
    def accuracy(self) -> float:
        return 100 * self.right / self.images if self.images else 0.0

    @property
    def error(self) -> float:
        return 100 - self.accuracy

    @property
    def standard_error(self) -> float:
        """Of the accuracy and of the error alike, as images are drawn at random (a binomial distribution)."""
        share = self.accuracy / 100
        return 100 * sqrt(share * (1 - share) / self.images) if self.images else 0.0

    def __str__(self) -> str:
        return f"{self.accuracy:.2f} %"


@dataclass(frozen=True, slots=True)
class Score:
    """A network, or several together: the mean loss, how often the best class is right, and how often one of the `top`
    best is; `within` is None where there are too few classes for that to say anything."""

    name: str
    loss: float
    best: Rate
    top: int
    within: Rate | None

    def as_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "loss": self.loss,
            "right": self.best.right,
            "accuracy": self.best.accuracy,
            "error": self.best.error,
            "standard_error": self.best.standard_error,
        }
        if self.within is not None:
            found["top"] = self.top
            found["top_accuracy"] = self.within.accuracy
            found["top_error"] = self.within.error
            found["top_standard_error"] = self.within.standard_error
        return found


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A class: how many of its images are told right, and the class that the others are told to be most often."""

    name: str
    rate: Rate
    confused_with: str | None
    times: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "images": self.rate.images,
            "right": self.rate.right,
            "accuracy": self.rate.accuracy if self.rate.images else None,
            "confused_with": self.confused_with,
            "times": self.times,
        }


def score_lines(scores: Sequence[Score]) -> list[str]:
    """One network as lines, several as a table."""
    if len(scores) == 1:
        (score,) = scores
        lines = [f"top-1     {_told(score.best)}"]
        if score.within is not None:
            lines.append(f"top-{score.top:<5} {_told(score.within)}")
        return [*lines, f"loss      {score.loss:.4f}"]
    head = ["", "top-1", "error", *([f"top-{scores[0].top}", "error"] * _has_top(scores)), "loss"]
    rows = [head]
    for score in scores:
        row = [score.name, str(score.best), _error(score.best)]
        if score.within is not None:
            row += [str(score.within), _error(score.within)]
        rows.append([*row, f"{score.loss:.4f}"])
    return columns(rows)


def class_rows(names: Sequence[str], confusion: Sequence[Sequence[int]]) -> list[ClassRow]:
    """A row a class, of how often its images (a row of `confusion`) were told to be of each."""
    found: list[ClassRow] = []
    for label, row in enumerate(confusion):
        others = [0 if other == label else count for other, count in enumerate(row)]
        times = max(others, default=0)
        confused = names[others.index(times)] if times else None
        found.append(ClassRow(names[label], Rate(row[label], sum(row)), confused, times))
    return found


def class_lines(rows: Sequence[ClassRow]) -> list[str]:
    """The table of classes; of very many, those that are told right least often."""
    shown = list(rows)
    lines: list[str] = []
    if len(rows) > MOST_ROWS:
        seen = [row for row in rows if row.rate.images]
        shown = sorted(seen, key=lambda row: row.rate.accuracy)[:MOST_ROWS]
        lines = [f"the {len(shown)} of {len(rows)} classes that are told right least often:"]
    table = [["class", "images", "right", "most confused with"]]
    for row in shown:
        confused = f"{_short(row.confused_with)} ({row.times})" if row.confused_with else ""
        right = str(row.rate) if row.rate.images else "-"
        table.append([_short(row.name), f"{row.rate.images:,}", right, confused])
    return lines + columns(table, left=(0, 3))


def confusion_lines(names: Sequence[str], confusion: Sequence[Sequence[int]]) -> list[str]:
    """The matrix of few classes: a row for what images are, a column for what they are told to be."""
    if len(names) > MOST_CELLS:
        return []
    head = ["is \\ told", *(name if len(name) <= 6 else f"{name[:5]}…" for name in names)]
    rows = [
        [_short(name), *(str(count) if count else "·" for count in row)]
        for name, row in zip(names, confusion, strict=True)
    ]
    return columns([head, *rows])


def pairs(names: Sequence[str], confusion: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """The commonest confusions, most often first."""
    found = [
        (count, label, told)
        for label, row in enumerate(confusion)
        for told, count in enumerate(row)
        if count and told != label
    ]
    found.sort(key=lambda item: (-item[0], item[1], item[2]))
    return [
        {"class": names[label], "told": names[told], "images": count}
        for count, label, told in found[:_MOST_PAIRS]
    ]


def confusion_csv(names: Sequence[str], confusion: Sequence[Sequence[int]]) -> str:
    """The matrix as CSV, with names at its sides."""
    return _csv([["", *names], *([name, *row] for name, row in zip(names, confusion, strict=True))])


def classes_csv(rows: Sequence[ClassRow]) -> str:
    """The table of classes as CSV."""
    keys = ("name", "images", "right", "accuracy", "confused_with", "times")
    return _csv([keys, *([row.as_dict()[key] for key in keys] for row in rows)])


def columns(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """Aligned text: numbers to the right, and the columns in `left` to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _told(rate: Rate) -> str:
    return f"{rate.accuracy:6.2f} %   error {_error(rate)}   {rate.right:,} of {rate.images:,}"


def _error(rate: Rate) -> str:
    return f"{rate.error:.2f} ± {rate.standard_error:.2f} %"


def _has_top(scores: Sequence[Score]) -> bool:
    return scores[0].within is not None


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
