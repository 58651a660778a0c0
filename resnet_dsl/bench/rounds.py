"""The order of things: every backend gets ready, one after the other; then they are measured in turn, round by round.

A machine that is slower for a while is so for all of them in the same round, and ratios are taken within rounds. While
one is measured the others wait without a thread at work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import monotonic
from typing import TypeAlias

from resnet_dsl.bench.candidates import Absent, Candidate
from resnet_dsl.bench.child import WORKER, Child
from resnet_dsl.bench.messages import (
    Answer,
    Failed,
    Load,
    Loaded,
    Measure,
    Measured,
    Prepare,
    Prepared,
)
from resnet_dsl.bench.outcome import Peak, Point, Results, Row
from resnet_dsl.errors import CompileError

Say: TypeAlias = Callable[[str], None]
MakeLoad: TypeAlias = Callable[[Candidate], Load]
"""The request that loads a candidate, once its files are there. Raises CompileError where they cannot be made."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how often: seconds of measuring a point, in so many rounds; of warming up at most; and how long a
    process may take to answer."""

    seconds: float = 2.0
    rounds: int = 5
    warm_up_s: float = 5.0
    load_limit_s: float = 300.0
    prepare_limit_s: float = 1200.0
    measure_limit_s: float = 300.0


def run(
    results: Results,
    make: MakeLoad,
    peaks: Sequence[Load],
    plan: Plan,
    say: Say,
    worker: Sequence[str] = WORKER,
) -> None:
    """Measure what is not absent, into `results`: what is there after an interrupt was measured."""
    with ExitStack() as stack:
        running: list[tuple[Row, Child]] = []
        for row in results.rows:
            if row.absent is None:
                say(f"{row.candidate.title}: loading")
                child = _start(stack, results.threads, worker)
                if _load(row, child, make, plan):
                    running.append((row, child))
                    _prepare(row, child, results.batches, plan, say)
        products = []
        for load in peaks:
            say(f"matrix product {load.precision}: getting ready")
            product = _product(_start(stack, results.threads, worker), load, plan)
            if product is not None:
                products.append(product)
                results.peaks[load.precision] = product.peak
        begun = monotonic()
        for turn in range(plan.rounds):
            passed = monotonic() - begun
            end = begun + passed * plan.rounds / turn if turn else None
            results.rounds = turn + 1

            def tell(what: str, turn: int = turn, end: float | None = end) -> None:
                left = "" if end is None else f" ({max(0.0, end - monotonic()):.0f} s left)"
                say(f"round {turn + 1} of {plan.rounds}: {what}{left}")

            for product in products:
                tell(f"matrix product {product.peak.precision}")
                product.measure(plan)
            for batch in results.batches:
                for place in range(len(running)):
                    row, child = running[(place + turn) % len(running)]  # no one is always first
                    if batch in row.points:
                        tell(f"batch {batch}, {row.candidate.title}")
                        _measure(row, batch, child, plan)
        results.complete = True


def _start(stack: ExitStack, threads: int, worker: Sequence[str]) -> Child:
    child = Child(threads, worker)
    stack.callback(child.end)
    return child


def _load(row: Row, child: Child, make: MakeLoad, plan: Plan) -> bool:
    """Whether the candidate is loaded; if not, the row says why."""
    try:
        load = make(row.candidate)
    except CompileError as error:
        row.absent = Absent(error.diagnostics[0].message)
        return False
    match child.ask(load, plan.load_limit_s):
        case Loaded(seconds=seconds, about=about):
            row.load_s, row.about = seconds, about
            return True
        case Failed(kind="unsupported", why=why):
            row.absent = Absent(why)
        case Failed(why=why):
            row.failures[0] = why
        case unexpected:
            row.failures[0] = f"answered {type(unexpected).__name__}"
    child.end()
    return False


def _prepare(row: Row, child: Child, batches: Sequence[int], plan: Plan, say: Say) -> None:
    """Compile and warm up every batch size, from the least: what fails for one may be done for another."""
    for batch in sorted(batches):
        say(f"{row.candidate.title}: batch {batch}, getting ready")
        answer = child.ask(Prepare(batch, plan.warm_up_s), plan.prepare_limit_s)
        if isinstance(answer, Prepared):
            row.points[batch] = Point(batch, answer)
        else:
            row.failures[batch] = _why(answer)
        if child.gone is not None:
            break


def _measure(row: Row, batch: int, child: Child, plan: Plan) -> None:
    if child.gone is not None:
        return
    answer = child.ask(Measure(batch, plan.seconds / plan.rounds), plan.measure_limit_s)
    point = row.points[batch]
    if isinstance(answer, Measured):
        point.times += answer.times
        point.rates.append(answer.rate * batch)
    else:
        point.rates.append(None)
        row.failures[batch] = _why(answer)


@dataclass(frozen=True, slots=True)
class _Product:
    """A product of matrices that is ready: its figures, the operations of a call, its process."""

    peak: Peak
    operations: float
    child: Child

    def measure(self, plan: Plan) -> None:
        answer = self.child.ask(Measure(1, plan.seconds / plan.rounds), plan.measure_limit_s)
        self.peak.rates.append(
            answer.rate * self.operations if isinstance(answer, Measured) else None
        )


def _product(child: Child, load: Load, plan: Plan) -> _Product | None:
    """The matrices in memory; None where this machine has no product in that precision."""
    loaded = child.ask(load, plan.load_limit_s)
    if isinstance(loaded, Loaded):
        ready = child.ask(Prepare(1, plan.warm_up_s), plan.prepare_limit_s)
        if isinstance(ready, Prepared):
            by = ready.about.get("by", "")
            return _Product(Peak(load.precision, by), ready.output[0], child)
    child.end()
    return None


def _why(answer: Answer) -> str:
    return answer.why if isinstance(answer, Failed) else f"answered {type(answer).__name__}"
