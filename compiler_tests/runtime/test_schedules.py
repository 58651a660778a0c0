"""Rates are those of torch's schedulers, and what is decided by errors goes on after a resume."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from resnet_dsl.runtime.schedules import ErrorWarmUp, Plateau, climb, cosine, linear, stepped

SCHEDULES: dict[str, tuple[Callable[[float], float], Callable[[Any], Any]]] = {
    "cosine": (lambda time: cosine(time, 12), lambda o: lr_scheduler.CosineAnnealingLR(o, 12)),
    "linear": (
        lambda time: linear(time, 12),
        lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, total_iters=12),
    ),
    "stepped": (
        lambda time: stepped(time, (3, 7), 0.2),
        lambda o: lr_scheduler.MultiStepLR(o, [3, 7], 0.2),
    ),
    "climb": (
        lambda time: climb(time, 5, 0.25, 1.0) if time < 5 else 1.0,
        lambda o: lr_scheduler.LinearLR(o, 0.25, 1.0, total_iters=5),
    ),
}


def optimiser() -> torch.optim.SGD:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_torchs_at_whole_times(name):
    factor, reference = SCHEDULES[name]
    sgd = optimiser()
    scheduler = reference(sgd)
    for time in range(12):
        assert factor(time) == pytest.approx(sgd.param_groups[0]["lr"], abs=1e-9)
        sgd.step()
        scheduler.step()


@given(end=st.floats(0.5, 1e6), part=st.floats(0, 1))
def test_schedules_fall_from_one_to_nothing_and_do_not_know_the_unit_of_time(end, part):
    assert cosine(0, end) == linear(0, end) == 1
    assert cosine(end, end) == linear(end, end) == 0
    assert cosine(part * end, end) == pytest.approx(cosine(part, 1), abs=1e-9)
    assert linear(part * end, end) == pytest.approx(1 - part, abs=1e-9)
    assert cosine(end - part * end, end) == pytest.approx(1 - cosine(part * end, end), abs=1e-9)


def test_a_milestone_counts_from_its_own_time_on():
    assert stepped(31_999.5, (32_000, 48_000), 0.1) == 1
    assert stepped(32_000, (32_000, 48_000), 0.1) == 0.1
    assert stepped(63_999, (32_000, 48_000), 0.1) == pytest.approx(0.01)
    assert stepped(5, (), 0.1) == 1


@given(
    errors=st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0, math.nan]), max_size=40),
    patience=st.integers(0, 4),
    stop=st.integers(0, 40),
)
def test_a_plateau_is_torchs_and_goes_on_from_its_state(errors, patience, stop):
    sgd = optimiser()
    reference = lr_scheduler.ReduceLROnPlateau(sgd, factor=0.5, patience=patience, threshold=0)
    plateau = Plateau(0.5, patience)
    for index, error in enumerate(errors):
        if index == stop:
            state = json.loads(json.dumps(plateau.state_dict()))
            plateau = Plateau(0.5, patience)
            plateau.load_state_dict(state)
        plateau.look(error)
        reference.step(error)
        rate = sgd.param_groups[0]["lr"]
        assert plateau.factor == pytest.approx(rate) or rate < 1e-7  # torch lowers no further


def warmed(
    hits: list[int], limit: float, stop: int | None = None, kind: torch.dtype = torch.float32
) -> list[bool]:
    """Whether the warm-up was over after each step of 10 images; a new one goes on at `stop`."""
    device = torch.device("cpu")
    warm_up, found = ErrorWarmUp(limit, device), []
    for index, right in enumerate(hits):
        if index == stop:
            state = json.loads(json.dumps(warm_up.state_dict()))
            warm_up = ErrorWarmUp(limit, device)
            warm_up.load_state_dict(state)
        warm_up.look(torch.tensor(right, dtype=kind), 10)
        found.append(warm_up.over)
    return found


def test_the_warm_up_ends_after_fifty_steps_with_an_error_below_the_limit():
    hits = [1] * 50 + [2] * 50 + [2] * 49 + [3] + [0] * 60
    over = warmed(hits, 80.0)  # errors of 90, 80, and 79.8 %
    assert over.index(True) == 149
    assert all(over[149:])


@given(
    hits=st.lists(st.integers(0, 10), min_size=100, max_size=160),
    limit=st.floats(0, 100),
    stop=st.integers(0, 159),
)
def test_the_warm_up_looks_at_fifty_steps_at_a_time_and_goes_on_from_its_state(hits, limit, stop):
    over = warmed(hits, limit)
    assert over == warmed(hits, limit, stop, torch.int64)
    for start in range(0, len(hits) // 50 * 50, 50):
        below = 100 * (1 - sum(hits[start : start + 50]) / 500) < limit
        assert over[start + 49] == (below or (start > 0 and over[start - 1]))
        assert not any(over[start : start + 49]) or over[start - 1]
