"""A study with the real trainer: interrupted, gone on with, and the same as if it had not been."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from compiler_tests.commands.running import begin, run, wait_for
from compiler_tests.studies.fakes import SPEC, STUDY, write

ONE = STUDY.replace("[6, 10]", "[6]").replace("seeds: [0, 1]", "seeds: [3]")


@pytest.mark.slow
def test_a_study_that_is_interrupted_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    write(tmp_path, ONE, SPEC.replace("epochs: 3", "epochs: 16"))
    command = ("study", "tiny.yaml", "--out", "out", "--set", "train.threads=1")
    with begin(*command, cwd=tmp_path) as running:
        wait_for(lambda: list((tmp_path / "out").glob("runs/*/run/state.pt")))
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    plan = json.loads(run(*command, "--plan", "--json", cwd=tmp_path).stdout)
    assert [one["state"] for one in plan["runs"]] == ["interrupted", "waiting"]

    done = run(*command, "--axis", "net=plain", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = Path(plan["runs"][0]["folder"])
    assert f"net=plain depth=6 seed=3: goes on in {folder}" in done.stderr
    assert "1 of 1 runs are finished" not in done.stdout
    assert (tmp_path / "out" / "tiny.csv").exists()

    alone = run("train", folder / "spec.yaml", "--out", "alone", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    weights = [
        path / "run" / "last.safetensors" for path in (tmp_path / folder, tmp_path / "alone")
    ]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.slow
def test_a_training_that_cannot_be_done_is_told_with_what_the_trainer_says(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    write(tmp_path, ONE)
    settings = ("--set", "train.data=folder", "--set", "train.path=nowhere")
    done = run("study", "tiny.yaml", *settings, "--axis", "net=plain", cwd=tmp_path)
    assert done.returncode == 2
    assert "error[RD662]: net=plain depth=6 seed=3 has failed" in done.stderr
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr
