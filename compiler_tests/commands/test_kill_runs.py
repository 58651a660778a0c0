"""Trainings that are killed at random moments; `just kill-test` does it fifty times."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from compiler_tests.commands import kill_runs
from compiler_tests.commands.kill_runs import BrokenError, Killed, check_whole
from compiler_tests.commands.running import SMALL


@pytest.mark.slow
def test_a_training_that_is_killed_three_times_ends_as_one_that_is_not(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    spec = tmp_path / "small.yaml"
    spec.write_text(SMALL.replace("train: digits", "train: {recipe: digits, epochs: 30}"))
    said: list[str] = []
    dice = random.Random(0)
    found = kill_runs.kill_runs(tmp_path, 3, words=[str(spec)], dice=dice, say=said.append)
    assert found.kills == 3, said
    assert found.differing == [], said
    assert found.finished >= 1


def test_a_run_without_a_whole_state_is_broken(tmp_path: Path) -> None:
    assert check_whole(tmp_path) is None
    (tmp_path / "state.pt").write_bytes(b"half")
    with pytest.raises(BrokenError, match="no state of a training"):
        check_whole(tmp_path)


def test_what_has_become_of_the_kills_is_said() -> None:
    good = Killed(kills=50, writing=16, finished=3)
    assert str(good).startswith("50 kills in 3 trainings, 16 of them in the middle of writing")
    assert "to the bit" in str(good)
    bad = Killed(kills=1, finished=1, differing=["training 1 has another metrics.jsonl"])
    assert str(bad).endswith("training 1 has another metrics.jsonl")
    assert "to the bit" not in str(bad)
