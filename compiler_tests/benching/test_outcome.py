from __future__ import annotations

import json
from math import inf, nan

import pytest

from compiler_tests.benching.fakes import measured, point, results, row
from resnet_dsl.bench.outcome import Row


def test_the_first_that_was_measured_is_the_baseline() -> None:
    found = results([row(0), row(1, point(1, [10.0])), row(2, point(1, [20.0]))])
    assert found.baseline is found.rows[1]
    assert found.ratio(found.rows[1], 1) is None
    ratio = found.ratio(found.rows[2], 1)
    assert ratio is not None
    assert ratio.value == 2.0


def test_the_share_of_the_peak_is_taken_round_by_round() -> None:
    found = measured()
    share = found.of_peak(found.rows[0], 1)  # 10, 11, 9 images of 2e9 of 1e11, 1.1e11, 0.9e11
    assert share == pytest.approx(0.2)
    assert found.of_peak(Row(found.rows[0].candidate), 1) is None


def test_every_figure_is_in_the_data() -> None:
    found = measured().as_dict()
    json.dumps(found, allow_nan=False)
    assert found["baseline"] == "torch fp32"
    assert found["peak"] == [{"precision": "fp32", "by": "NumPy", "operations_per_second": 1e11}]
    first, second, third = (item["points"][0] for item in found["backends"])
    assert first["ratio"] is None
    assert (second["ratio"], second["within_noise"]) == (2.0, False)
    assert third["within_noise"]
    assert first["p50_ms"] == pytest.approx(100.0)
    assert first["p99_ms"] is None
    assert first["memory_bytes"] == 5_000_000


@pytest.mark.parametrize(
    ("output", "difference", "differs"),
    [
        ((1.0, 2.0), 0.0, False),
        ((1.0, 2.05), 0.025, False),
        ((1.0, 1.0), 0.5, True),
        ((nan, 2.0), inf, True),
        ((1.0,), inf, True),
    ],
)
def test_outputs_are_compared_with_the_baselines(
    output: tuple[float, ...], difference: float, differs: bool
) -> None:
    found = results([row(0, point(1, [1.0])), row(1, point(1, [1.0], output))])
    other = found.rows[1]
    assert found.difference(other) == pytest.approx(difference)
    assert (other in found.differing()) is differs
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_baseline_without_numbers_judges_nobody() -> None:
    found = results([row(0, point(1, [1.0], (nan, 1.0))), row(1, point(1, [1.0]))])
    assert found.difference(found.rows[1]) is None
    assert found.differing() == []
