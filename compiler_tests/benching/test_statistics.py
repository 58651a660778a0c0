import pytest

from resnet_dsl.bench.statistics import middle, percentile, ratio


@pytest.mark.parametrize(
    ("times", "share", "expected"),
    [
        ([3.0, 1.0, 2.0], 0.5, 2.0),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 2.5),
        ([float(i) for i in range(11)], 0.9, 9.0),
        ([float(i) for i in range(101)], 0.99, 99.0),
    ],
)
def test_a_percentile_lies_between_its_neighbours(
    times: list[float], share: float, expected: float
) -> None:
    assert percentile(times, share) == pytest.approx(expected)


@pytest.mark.parametrize(("calls", "share"), [(1, 0.5), (9, 0.9), (99, 0.99)])
def test_a_percentile_beyond_which_no_call_is_expected_is_not_told(
    calls: int, share: float
) -> None:
    assert percentile([1.0] * calls, share) is None
    assert percentile([1.0] * (calls + 1), share) == 1.0


def test_a_ratio_is_the_median_over_rounds_that_have_both() -> None:
    found = ratio([10.0, None, 30.0, 8.0], [5.0, 5.0, 10.0, 8.0])
    assert found is not None
    assert (found.value, found.low, found.high) == (2.0, 1.0, 3.0)


@pytest.mark.parametrize(
    ("ours", "within"), [([0.9, 1.1, 1.2], True), ([1.1, 1.2, 1.3], False), ([0.7], False)]
)
def test_a_ratio_is_within_the_noise_where_rounds_do_not_agree_on_who_is_faster(
    ours: list[float], within: bool
) -> None:
    found = ratio(ours, [1.0] * 3)
    assert found is not None
    assert found.within_noise is within


def test_no_round_gives_no_ratio() -> None:
    assert ratio([None, 1.0], [1.0, None]) is None
    assert ratio([], []) is None
    assert middle([None, None]) is None
