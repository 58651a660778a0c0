"""What the runs of a study have come to: means and deviations over the seeds, and curves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from resnet_dsl.studies.folder import Failure, RunFolder, State
from resnet_dsl.studies.plan import Case, Run

MEASURES = {
    "last_error": "test error, last epoch (%)",
    "best_error": "test error, best epoch (%)",
    "train_error": "training error, last epoch (%)",
    "seconds": "time (s)",
}
"""What is measured of every run, and what it is called."""


@dataclass(frozen=True, slots=True)
class Statistic:
    """The mean over `count` seeds, and the sample standard deviation: none of a single one."""

    mean: float
    deviation: float | None
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Statistic | None:
        """None of no values."""
        if not values:
            return None
        return cls(fmean(values), stdev(values) if len(values) > 1 else None, len(values))


@dataclass(frozen=True, slots=True)
class Curve:
    """Errors in percent after so many iterations, an epoch each."""

    iterations: tuple[float, ...]
    train: tuple[float, ...]
    test: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A run, its state, and what it came to if it is finished."""

    run: Run
    folder: RunFolder
    state: State
    measures: dict[str, float]
    result: dict[str, Any]

    @classmethod
    def of(cls, runs: Path, run: Run) -> Outcome:
        """What its folder says."""
        folder = RunFolder(runs, run)
        state = folder.state()
        result = (folder.result() or {}) if state == "finished" else {}
        return cls(run, folder, state, _measures(folder, result), result)

    @property
    def failure(self) -> Failure | None:
        """Why it failed; None where it did not."""
        return self.folder.failure() if self.state == "failed" else None

    def curve(self) -> Curve | None:
        """Its errors epoch by epoch; None where they are not told."""
        lines = [
            tuple(_number(line.get(key)) for key in ("iteration", "train_error", "test_error"))
            for line in self.folder.metrics()
        ]
        whole = [line for line in lines if None not in line]
        if not whole:
            return None
        iterations, train, test = zip(*whole, strict=True)
        return Curve(iterations, train, test)


@dataclass(frozen=True, slots=True)
class Row:
    """A case with the outcomes of its seeds."""

    case: Case
    outcomes: tuple[Outcome, ...]

    @property
    def finished(self) -> tuple[Outcome, ...]:
        """Those that are finished."""
        return tuple(one for one in self.outcomes if one.state == "finished")

    def statistic(self, measure: str) -> Statistic | None:
        """The mean of a measure over the seeds that are finished and have it."""
        found = [one.measures[measure] for one in self.finished if measure in one.measures]
        return Statistic.of(found)

    def curve(self) -> tuple[Curve, Curve | None] | None:
        """The means of the seeds' curves up to the end of the shortest, and, of more than one, their deviations."""
        curves = [curve for one in self.finished if (curve := one.curve()) is not None]
        if not curves:
            return None
        length = min(len(curve.iterations) for curve in curves)
        iterations = curves[0].iterations[:length]
        train, test = (
            [
                Statistic.of([getattr(curve, name)[index] for curve in curves])
                for index in range(length)
            ]
            for name in ("train", "test")
        )
        mean = Curve(iterations, _means(train), _means(test))
        spread = Curve(iterations, _deviations(train), _deviations(test))
        return mean, spread if len(curves) > 1 else None


def rows(out: Path, runs: Iterable[Run]) -> list[Row]:
    """A row for each case, in the order of the runs, by what is finished now."""
    cases: dict[tuple[tuple[str, str], ...], list[Run]] = {}
    for run in runs:
        cases.setdefault(run.case.at, []).append(run)
    return [
        Row(found[0].case, tuple(Outcome.of(out / "runs", run) for run in found))
        for found in cases.values()
    ]


def _measures(folder: RunFolder, result: dict[str, Any]) -> dict[str, float]:
    if not result:
        return {}
    found = {
        "last_error": 100 - float(result["test_accuracy"]),
        "best_error": 100 - float(result["best_test_accuracy"]),
        "seconds": _number(result.get("seconds")),
    }
    metrics = folder.metrics()
    found["train_error"] = _number(metrics[-1].get("train_error")) if metrics else None
    return {name: value for name, value in found.items() if value is not None}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _means(statistics: Iterable[Statistic | None]) -> tuple[float, ...]:
    return tuple(one.mean for one in statistics if one is not None)


def _deviations(statistics: Iterable[Statistic | None]) -> tuple[float, ...]:
    return tuple(one.deviation or 0.0 for one in statistics if one is not None)
