from __future__ import annotations

import re
import sys
from collections.abc import Sequence

import pytest

from compiler_tests.benching.fakes import FAKE, candidate, load, results
from resnet_dsl.bench.candidates import Absent, Candidate
from resnet_dsl.bench.messages import Load
from resnet_dsl.bench.outcome import Results, Row
from resnet_dsl.bench.rounds import Plan, run
from resnet_dsl.errors import CompileError, Diagnostic

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX systems")
PLAN = Plan(seconds=0.3, rounds=3, warm_up_s=0.0)


def measure(
    *names: str, batches: Sequence[int] = (1, 8), said: list[str] | None = None, plan: Plan = PLAN
) -> Results:
    """Fake backends of these names, measured in turn."""
    rows = [Row(candidate(place)) for place, _ in enumerate(names)]
    found, told = results(rows, batches), [] if said is None else said
    of = {rows[place].candidate: name for place, name in enumerate(names)}
    run(found, lambda item: load(of[item]), [], plan, told.append, FAKE)
    return found


def test_each_batch_size_is_measured_once_a_round() -> None:
    found = measure("fast", "slow")
    assert found.complete
    assert found.rounds == 3
    fast, slow = found.rows
    assert fast.points[8].rates == [pytest.approx(1000.0)] * 3
    assert len(slow.points[1].times) == 4 * 3
    ratio = found.ratio(slow, 8)
    assert ratio is not None
    assert ratio.value == pytest.approx(0.5)
    assert (fast.load_s, fast.about) == (0.25, {"fake": "1.0"})


def test_no_backend_is_always_the_first() -> None:
    said: list[str] = []
    measure("fast", "slow", batches=(4,), said=said)
    titles = [re.split(", | \\(", line)[1] for line in said if line.startswith("round")]
    first, second = candidate(0).title, candidate(1).title
    assert titles == [first, second, second, first, first, second]


@pytest.mark.parametrize("failure", ["crash", "killed", "hang"])
def test_what_ends_one_process_leaves_the_others(failure: str) -> None:
    plan = Plan(
        seconds=0.3, rounds=2, warm_up_s=0.0, prepare_limit_s=10.0 if failure != "hang" else 1.0
    )
    found = measure("fast", f"{failure}@8", "slow", batches=(1, 8, 32), plan=plan)
    fast, failed, slow = found.rows
    assert found.complete
    assert list(failed.failures) == [8]
    assert sorted(fast.points) == sorted(slow.points) == [1, 8, 32]
    assert all(point.measured for row in (fast, slow) for point in row.points.values())
    assert not failed.measured


def test_a_batch_size_that_does_not_fit_leaves_the_others() -> None:
    found = measure("memory@8", batches=(1, 8, 32))
    (row,) = found.rows
    assert row.failures == {8: "not enough of it"}
    assert sorted(batch for batch, point in row.points.items() if point.measured) == [1, 32]


def test_what_cannot_be_loaded_says_why() -> None:
    found = measure("broken", "unsupported", "fast")
    broken, unsupported, fast = found.rows
    assert broken.failures == {0: "the file is of another kind"}
    assert unsupported.absent == Absent("this processor has no such instructions")
    assert found.baseline is fast


def test_what_has_no_files_says_why_and_what_is_absent_is_not_started() -> None:
    rows = [Row(candidate(0)), Row(candidate(1), absent=Absent("not here"))]
    found = results(rows)

    def make(_candidate: Candidate) -> Load:
        raise CompileError(Diagnostic("RD641", "the size must be known"))

    said: list[str] = []
    run(found, make, [], PLAN, said.append, FAKE)
    assert [row.absent for row in rows] == [Absent("the size must be known"), Absent("not here")]
    assert said == [f"{candidate(0).title}: loading"]
    assert found.baseline is None


def test_products_of_matrices_are_measured_in_the_same_rounds() -> None:
    rows = [Row(candidate(0))]
    found = results(rows)
    peaks = [load("fast"), load("unsupported")]
    run(found, lambda _: load("fast"), peaks, PLAN, lambda _: None, FAKE)
    peak = found.peaks["fp32"]
    assert peak.rates == [pytest.approx(1000.0)] * 3  # calls a second, of one operation each
    assert found.of_peak(rows[0], 1) == pytest.approx(found.operations)


def test_an_interrupt_keeps_what_was_measured_and_ends_every_process() -> None:
    rows = [Row(candidate(place)) for place in range(2)]
    found = results(rows)

    def say(text: str) -> None:
        if text.startswith("round 2 of 3: batch 8"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(found, lambda _: load("fast"), [], PLAN, say, FAKE)
    assert not found.complete
    assert found.rounds == 2
    assert [len(point.rates) for point in rows[0].points.values()] == [2, 1]
