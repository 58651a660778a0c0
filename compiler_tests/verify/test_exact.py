"""Constants: folding and rounding computed once more, and mistakes in either found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from compiler_tests.verify import nets
from resnet_dsl.ir.graph import Constant, FoldedWeight, Graph
from resnet_dsl.passes.numbers import Numbers
from resnet_dsl.verify import exact
from resnet_dsl.weights.store import Weights, materialise

Materialise = Callable[[Constant, Weights], np.ndarray]


def quantised(precision: str) -> Graph:
    """A quantised graph, every range of which is 4."""
    compilation = nets.compiled(nets.PLAIN)
    plain = Numbers(precision)  # type: ignore[arg-type]
    plan = plain.plan(compilation.inference_graph())
    assert plan is not None
    numbers = Numbers(plain.precision, ranges=dict.fromkeys(plan.ranges, 4.0))
    return compilation.inference_graph(numbers=numbers)


GRAPHS: dict[str, Callable[[], Graph]] = {
    "fp32": lambda: nets.compiled(nets.PLAIN).inference_graph(),
    "unfolded": lambda: nets.compiled(nets.PLAIN).inference_graph(fold=False),
    "fp16": lambda: nets.compiled(nets.PLAIN).inference_graph(numbers=Numbers("fp16")),
    "bf16": lambda: nets.compiled(nets.PLAIN).inference_graph(numbers=Numbers("bf16")),
    "int8": lambda: quantised("int8"),
    "fp8": lambda: quantised("fp8"),
}
EVERY = pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS.keys())


@EVERY
def test_constants_as_they_are_made_hold(graph: Callable[[], Graph]) -> None:
    assert exact.departures(graph(), nets.weights(nets.PLAIN)) == []


@EVERY
def test_constants_that_are_off_by_two_steps_do_not(
    graph: Callable[[], Graph], monkeypatch: pytest.MonkeyPatch
) -> None:
    def worse(constant: Constant, weights: Weights) -> np.ndarray:
        numbers = materialise(constant, weights)
        if constant.name != "layer2.0.conv2.weight":
            return numbers
        if constant.encoding is not None:
            numbers = numbers.copy()
            channel = numbers.reshape(len(numbers), -1)[3]
            channel[0] += np.abs(channel).max() * (0.02 if constant.encoding == "int8" else 0.2)
            return numbers
        flat = numbers.reshape(-1).view({2: np.uint16, 4: np.uint32}[numbers.itemsize]).copy()
        flat[5] += 8 if numbers.itemsize == 4 else 2
        return flat.view(numbers.dtype).reshape(numbers.shape)

    monkeypatch.setattr(exact, "materialise", worse)
    (found,) = exact.departures(graph(), nets.weights(nets.PLAIN))
    assert (found.name, found.block, found.wrong) == ("layer2.0.conv2.weight", "layer2.0", 1)
    assert found.ratio > 1


@pytest.mark.parametrize("mistake", [1e-5, 2e-5])
def test_an_epsilon_that_is_lost_or_doubled_is_found(
    mistake: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fold that forgets the epsilon, or adds it twice, changes weights by a part in 10^5 or less."""
    from dataclasses import replace

    def wrong(constant: Constant, weights: Weights) -> np.ndarray:
        match constant.source:
            case FoldedWeight(_, norm) as source:
                eps = norm.eps + mistake
                other = replace(source, norm=replace(norm, eps=eps))
                return materialise(replace(constant, source=other), weights)
            case _:
                return materialise(constant, weights)

    monkeypatch.setattr(exact, "materialise", wrong)
    found = exact.departures(GRAPHS["fp32"](), nets.weights(nets.PLAIN))
    assert {item.name for item in found} >= {"conv1.weight", "layer1.0.conv1.weight"}
