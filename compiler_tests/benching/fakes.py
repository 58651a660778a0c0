"""What tests of the measuring share: fake backends, and results without a machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from resnet_dsl.bench.candidates import BACKENDS, Candidate
from resnet_dsl.bench.messages import Load, Prepared
from resnet_dsl.bench.outcome import Peak, Point, Results, Row

FAKE = (sys.executable, "-m", "compiler_tests.benching.fake_worker")


def load(name: str) -> Load:
    return Load("fake", "fp32", "cpu", 1, name, [3, 8, 8])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def candidate(place: int) -> Candidate:
    """Any, of a backend of its own."""
    return Candidate(BACKENDS[place], "fp32")


def results(rows: Sequence[Row], batches: Sequence[int] = (1, 8)) -> Results:
    return Results(
        name="net",
        spec_sha256="0" * 64,
        shape=(3, 8, 8),
        operations=2e9,
        device="cpu",
        threads=2,
        batches=tuple(batches),
        seconds=1.0,
        machine={"cpu": "a processor, 2 cores"},
        rows=list(rows),
    )


def point(batch: int, rates: Sequence[float | None], output: Sequence[float] = (1.0, 2.0)) -> Point:
    """A point with ten calls a round at each of the rates (images in a second)."""
    ready = Prepared(0.5, 0.25, 10, True, 5_000_000, list(output))
    times = [batch / rate for rate in rates if rate for _ in range(10)]
    return Point(batch, ready, times, list(rates))


def row(place: int, *points: Point) -> Row:
    return Row(candidate(place), load_s=0.1, points={item.batch: item for item in points})


def measured() -> Results:
    """A baseline, one that is twice as fast, and one that cannot be told from the baseline."""
    found = results(
        [
            row(0, point(1, [10.0, 11.0, 9.0]), point(8, [20.0, 20.0, 20.0])),
            row(1, point(1, [20.0, 22.0, 18.0]), point(8, [50.0, 50.0, 60.0])),
            row(6, point(1, [9.0, 12.0, 9.5]), point(8, [20.0, 19.0, 21.0])),
        ]
    )
    found.peaks["fp32"] = Peak("fp32", "NumPy", [1e11, 1.1e11, 0.9e11])
    found.rounds, found.complete = 3, True
    return found
