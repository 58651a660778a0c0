"""What came of it: points, one for each candidate and batch size, and the whole as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite
from typing import Any

from resnet_dsl.bench.candidates import Absent, Candidate
from resnet_dsl.bench.messages import Device, Prepared
from resnet_dsl.bench.statistics import Ratio, middle, percentile, ratio

SHARES = (0.5, 0.9, 0.99)
DIFFERS = 0.05
"""Outputs further than this from the baseline's, as a part of its largest, are of another network, or a broken one;
half types stay well below. Quantised ones are told of, and not judged: they depend on their scales."""


@dataclass(slots=True)
class Point:
    """A candidate at a batch size: the times of all calls in seconds, and of each round the images in a second (None
    where it was not measured)."""

    batch: int
    prepared: Prepared
    times: list[float] = field(default_factory=list)
    rates: list[float | None] = field(default_factory=list)

    @property
    def measured(self) -> bool:
        return bool(self.times)

    def latency(self, share: float) -> float | None:
        """In seconds."""
        return percentile(self.times, share)

    @property
    def throughput(self) -> float | None:
        """Images in a second: the median over the rounds."""
        return middle(self.rates)


@dataclass(slots=True)
class Row:
    """A candidate: what was measured of it, or why it was not."""

    candidate: Candidate
    absent: Absent | None = None
    about: dict[str, str] = field(default_factory=dict)
    load_s: float | None = None
    points: dict[int, Point] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)

    @property
    def measured(self) -> bool:
        return any(point.measured for point in self.points.values())


@dataclass(slots=True)
class Peak:
    """The machine's rate of operations in a precision, by a product of matrices: of each round."""

    precision: str
    by: str
    rates: list[float | None] = field(default_factory=list)

    @property
    def rate(self) -> float | None:
        return middle(self.rates)


@dataclass(slots=True)
class Results:
    """Everything that was measured. `operations` are two for each multiply-add of one image."""

    name: str
    spec_sha256: str
    shape: tuple[int, int, int]
    operations: float
    device: Device
    threads: int
    batches: tuple[int, ...]
    seconds: float
    machine: Mapping[str, str]
    rows: list[Row] = field(default_factory=list)
    peaks: dict[str, Peak] = field(default_factory=dict)
    rounds: int = 0
    complete: bool = False

    @property
    def baseline(self) -> Row | None:
        """What the others are compared with: the first that was measured."""
        return next((row for row in self.rows if row.measured), None)

    def ratio(self, row: Row, batch: int) -> Ratio | None:
        """How many times the baseline's images in a second."""
        base, point = self.baseline, row.points.get(batch)
        if base is None or base is row or point is None or batch not in base.points:
            return None
        return ratio(point.rates, base.points[batch].rates)

    def of_peak(self, row: Row, batch: int) -> float | None:
        """The share of the machine's rate for the row's precision, round by round."""
        peak, point = self.peaks.get(row.candidate.precision), row.points.get(batch)
        if peak is None or point is None:
            return None
        found = ratio(point.rates, peak.rates)
        return None if found is None else found.value * self.operations

    def difference(self, row: Row) -> float | None:
        """The largest difference of outputs from the baseline's, as a part of its largest output."""
        base = self.baseline
        if base is None or base is row:
            return None
        for batch, point in row.points.items():
            if batch in base.points:
                theirs, ours = base.points[batch].prepared.output, point.prepared.output
                return _difference(ours, theirs)
        return None

    def differing(self) -> list[Row]:
        """Rows that do not compute what the baseline does; those in int8 and fp8 are not judged."""
        judged = [row for row in self.rows if row.candidate.precision not in ("int8", "fp8")]
        return [row for row in judged if (self.difference(row) or 0.0) > DIFFERS]

    def as_dict(self) -> dict[str, Any]:
        """For programs: times in milliseconds, memory in bytes."""
        base = self.baseline
        return {
            "name": self.name,
            "spec_sha256": self.spec_sha256,
            "input": list(self.shape),
            "operations": self.operations,
            "device": self.device,
            "threads": self.threads,
            "batches": list(self.batches),
            "rounds": self.rounds,
            "seconds": self.seconds,
            "complete": self.complete,
            "baseline": base.candidate.name if base is not None else None,
            "machine": dict(self.machine),
            "peak": [
                {"precision": peak.precision, "by": peak.by, "operations_per_second": peak.rate}
                for peak in self.peaks.values()
            ],
            "backends": [self._row(row) for row in self.rows],
        }

    def _row(self, row: Row) -> dict[str, Any]:
        absent = row.absent
        return {
            "backend": row.candidate.backend.name,
            "precision": row.candidate.precision,
            "not_run": None if absent is None else {"why": absent.why, "command": absent.command},
            "about": row.about,
            "load_ms": _ms(row.load_s),
            "difference": _finite(self.difference(row)),
            "points": [self._point(row, point) for point in row.points.values()],
            "failures": [{"batch": key, "why": why} for key, why in row.failures.items()],
        }

    def _point(self, row: Row, point: Point) -> dict[str, Any]:
        found, ready = self.ratio(row, point.batch), point.prepared
        return {
            "batch": point.batch,
            "calls": len(point.times),
            **{f"p{round(100 * share)}_ms": _ms(point.latency(share)) for share in SHARES},
            "images_per_second": point.throughput,
            "rounds": point.rates,
            "ratio": None if found is None else found.value,
            "ratio_range": None if found is None else [found.low, found.high],
            "within_noise": None if found is None else found.within_noise,
            "share_of_peak": self.of_peak(row, point.batch),
            "memory_bytes": ready.memory,
            "compile_ms": _ms(ready.compile_s),
            "first_call_ms": _ms(ready.first_s),
            "warm_up_calls": ready.warm_up,
            "steady": ready.steady,
            "about": ready.about,
        }


def _difference(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """The largest difference as a part of the largest of theirs; None where theirs say nothing, infinite where ours are
    no numbers."""
    scale = max(map(abs, theirs), default=0.0)
    if not scale or not all(map(isfinite, theirs)):
        return None
    if not all(map(isfinite, ours)) or len(ours) != len(theirs):
        return inf
    return max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) / scale


def _finite(value: float | None) -> float | None:
    """JSON has no word for infinity."""
    return value if value is not None and isfinite(value) else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds
