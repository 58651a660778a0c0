"""The search for what stays wide: within the budget, as little as there can be, on networks of made-up errors."""

from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_tests.graphs import residual_net
from resnet_dsl.calibrate.search import Measured, Unit, search, steps_of, units_of

IMAGES = 10_000
REFERENCE = Measured(9_000, IMAGES, 0.0)


class Network:
    """Each unit has an error; errors add up as variances, and cost accuracy in proportion."""

    def __init__(self, errors: list[float], macs: list[int]) -> None:
        self.units = [
            Unit(f"layer{i}", frozenset({f"layer{i}.conv", f"layer{i}.add"}), count)
            for i, count in enumerate(macs)
        ]
        self.errors = dict(zip((unit.name for unit in self.units), errors, strict=True))
        self.asked: list[frozenset[str]] = []

    def measure(self, wide: frozenset[str]) -> Measured:
        self.asked.append(wide)
        narrow = [unit.name for unit in self.units if not unit.nodes <= wide]
        distance = sqrt(sum(self.errors[name] ** 2 for name in narrow))
        return Measured(REFERENCE.right - round(1000 * distance**2), IMAGES, distance)


def test_a_network_that_is_within_the_budget_is_narrow_as_a_whole_and_measured_once():
    net = Network([0.01] * 5, [10] * 5)
    found = search(net.units, 0.5, net.measure, REFERENCE)
    assert found.wide == ()
    assert found.measurements == len(net.asked) == 1


def test_the_one_unit_that_costs_accuracy_stays_wide():
    net = Network([0.01, 0.01, 2.0, 0.01], [10, 10, 10, 10])
    found = search(net.units, 0.5, net.measure, REFERENCE)
    assert [unit.name for unit in found.wide] == ["layer2"]
    assert found.loss <= 0.5
    assert max(found.sensitivity, key=lambda name: found.sensitivity[name]) == "layer2"
    assert found.narrow.accuracy < 90 - 30


def test_of_equal_errors_the_unit_with_fewer_operations_stays_wide():
    net = Network([0.6, 0.6], [1000, 10])
    found = search(net.units, 5.0, net.measure, REFERENCE)
    assert [unit.name for unit in found.wide] == ["layer1"]


def test_where_nothing_can_be_narrow_all_is_wide():
    net = Network([3.0, 3.0, 3.0], [1, 1, 1])
    found = search(net.units, 0.1, net.measure, REFERENCE)
    assert len(found.wide) == 3
    assert found.loss == 0


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.floats(0, 2), st.integers(1, 10**9)), min_size=1, max_size=12),
    st.floats(0, 5),
)
def test_the_budget_holds_and_nothing_wide_could_be_narrow(parts, budget):
    net = Network([error for error, _ in parts], [macs for _, macs in parts])
    found = search(net.units, budget, net.measure, REFERENCE)
    assert found.loss <= budget + 1e-6
    assert found.measurements == len(net.asked) == len(set(net.asked)) <= steps_of(len(parts))
    for unit in found.wide:
        rest = frozenset().union(*(item.nodes for item in found.wide if item is not unit))
        assert REFERENCE.accuracy - net.measure(rest).accuracy > budget


def test_units_are_blocks_and_what_stands_outside_of_them():
    graph = residual_net()
    units = units_of(graph)
    assert [unit.name for unit in units] == ["stem", "layer1", "layer2", "head"]
    names = [name for unit in units for name in unit.nodes]
    assert len(names) == len(set(names)) == len(graph.nodes)


def test_units_of_a_bundled_network_are_its_blocks():
    from resnet_dsl.catalogue import find_spec
    from resnet_dsl.compiler import compile_spec

    units = units_of(compile_spec(find_spec("resnet18")).inference_graph())
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
    assert [unit.name for unit in units] == ["stem", *blocks, "head"]
    assert "layer1.0.conv1" in next(unit for unit in units if unit.name == "layer1.0").nodes


@pytest.mark.parametrize("right", [0, 10_000])
def test_an_accuracy_is_a_percentage(right):
    assert Measured(right, 10_000, 0.0).accuracy == right / 100
