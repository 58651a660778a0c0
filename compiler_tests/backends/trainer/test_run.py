"""The emitted script, run as users run it: in a process of its own."""

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

from safetensors.torch import load_file

from compiler_tests.commands.running import wait_for

pytestmark = pytest.mark.slow


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


@pytest.fixture(scope="module")
def trained(script, tmp_path_factory):
    """A run of 12 epochs that nothing interrupts; others are compared with it."""
    made = script(tmp_path_factory.mktemp("trained"), epochs=12)
    done = made.run("--out", "whole")
    assert done.returncode == 0, done.stderr
    return made, done.stdout


def test_a_run_writes_weights_metrics_and_its_outcome(trained):
    made, said = trained
    out = made.folder / "whole"
    assert sorted(path.name for path in out.iterdir()) == [
        "best.safetensors",
        "last.safetensors",
        "metrics.jsonl",
        "result.json",
        "state.pt",
    ]
    assert {"conv1.weight", "bn1.running_var", "fc.bias"} <= load_file(
        out / "last.safetensors"
    ).keys()
    metrics, result = lines(out / "metrics.jsonl"), json.loads((out / "result.json").read_text())
    assert [epoch["epoch"] for epoch in metrics] == list(range(1, 13))
    assert result["test_accuracy"] == metrics[-1]["test_accuracy"]
    assert result["best_test_accuracy"] == max(epoch["test_accuracy"] for epoch in metrics)
    assert result["test_accuracy"] > 60  # 700 parameters and a second
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    assert "next: resnet-dsl build specs/tiny.yaml --target onnx --weights" in said


def test_a_pipe_gets_one_plain_line_an_epoch(trained):
    _, said = trained
    assert "\x1b" not in said
    assert "\r" not in said
    told = [line for line in said.splitlines() if line.startswith("epoch")]
    assert len(told) == 12
    for part in ("images/s", "loss", "test", "%", "eta"):
        assert part in told[0]


def test_one_seed_gives_one_result(trained):
    made, _ = trained
    assert made.run("--out", "again").returncode == 0
    here = made.folder
    assert same(here / "again/last.safetensors", here / "whole/last.safetensors")


def test_a_new_run_in_a_folder_keeps_the_state_of_the_one_before(trained):
    made, _ = trained
    out, whole = made.folder / "twice", made.folder / "whole"
    shutil.copytree(whole, out)
    done = made.run("--epochs", "1", "--seed", "1", "--out", "twice")
    assert done.returncode == 0
    assert "kept as twice/state.old.pt" in done.stdout
    assert (out / "state.old.pt").read_bytes() == (whole / "state.pt").read_bytes()
    assert [epoch["epoch"] for epoch in lines(out / "metrics.jsonl")] == [1]
    assert lines(out / "metrics.jsonl")[0]["loss"] != lines(whole / "metrics.jsonl")[0]["loss"]


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)],
    ids=["interrupt", "terminate", "kill"],
)
def test_a_run_that_is_stopped_and_resumed_equals_one_that_is_not(trained, number, status):
    made, _ = trained
    name = f"stopped{int(number)}"
    out = made.folder / name
    metrics = out / "metrics.jsonl"
    for _ in range(5):  # a machine that is busy with other work may stop a run too late
        with made.start("--out", name) as running:
            wait_for(lambda: metrics.exists() and len(metrics.read_text().splitlines()) >= 2)
            running.send_signal(number)
            said, _ = running.communicate(timeout=60)
        if len(lines(metrics)) < 12:
            break
        shutil.rmtree(out)
    assert running.returncode == status, said
    assert load_file(out / "last.safetensors").keys()
    if number != signal.SIGKILL:
        assert "to go on: python train.py --resume --out" in said

    resumed = made.run("--resume", "--out", name)
    assert resumed.returncode == 0, resumed.stderr
    whole = made.folder / "whole"
    assert same(out / "last.safetensors", whole / "last.safetensors")
    assert same(out / "best.safetensors", whole / "best.safetensors")
    kept = ("epoch", "lr", "loss", "test_loss", "test_accuracy")
    for one, other in zip(lines(metrics), lines(whole / "metrics.jsonl"), strict=True):
        assert [one[key] for key in kept] == [other[key] for key in kept]


def test_a_finished_run_can_go_on_for_longer(trained):
    made, _ = trained
    shutil.copytree(made.folder / "whole", made.folder / "longer")
    assert made.run("--epochs", "13", "--out", "longer", "--resume").returncode == 0
    assert len(lines(made.folder / "longer/metrics.jsonl")) == 13


def test_numbers_that_explode_stop_the_run_and_leave_the_last_good_weights(script, tmp_path):
    # From the second epoch on the rate is 1e37.
    made = script(
        tmp_path, epochs=4, schedule="milestones", milestones=(1,), gamma=1e38, warmup_epochs=0
    )
    done = made.run("--out", "run")
    assert done.returncode == 1
    assert "the loss is not finite at step" in done.stderr
    assert "of epoch 2; run/last.safetensors holds the weights before" in done.stderr
    assert all(
        value.isfinite().all() for value in load_file(tmp_path / "run/last.safetensors").values()
    )
    assert len(lines(tmp_path / "run/metrics.jsonl")) == 1


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--resume", "--out", "nothing"], 2, "there is no nothing/state.pt"),
        (["--resume", "--out", "damaged"], 2, "damaged/state.pt cannot be read"),
        (["--resume", "--out", "whole", "--seed", "7"], 2, "that run has the seed 0"),
        (["--epochs", "0"], 2, "--epochs must be at least 1"),
        (["--out", "train.py/run"], 1, "train.py: "),
    ],
)
def test_what_cannot_begin_says_why_in_a_line(trained, arguments, status, message):
    made, _ = trained
    damaged = made.folder / "damaged"
    damaged.mkdir(exist_ok=True)
    whole = (made.folder / "whole/state.pt").read_bytes()
    (damaged / "state.pt").write_bytes(whole[: len(whole) // 2])
    done = made.run(*arguments)
    assert done.returncode == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_the_state_of_another_spec_is_refused(trained, script, tmp_path):
    made, _ = trained
    other = script(tmp_path, epochs=12, spec_hash="f" * 64)
    done = other.run("--resume", "--out", str(made.folder / "whole"))
    assert done.returncode == 2
    assert "another network or another recipe" in done.stderr


@pytest.mark.parametrize(
    "changes",
    [
        {"input": (3, 20, 12), "classes": 7, "shift": 2},
        {"input": (2, 9, 9), "classes": 3, "shift": 0, "bf16": True, "optimiser": "adamw"},
        {"input": (1, 8, 8), "normalisation": ((0.5,), (0.25,)), "decay_norms": True},
    ],
)
def test_fake_data_run_at_any_size(script, tmp_path, changes):
    made = script(tmp_path, data="fake", epochs=1, warmup_epochs=0, batch_size=16, **changes)
    done = made.run("--out", "run")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert len(result["mean"]) == changes["input"][0]


def test_a_terminal_gets_one_line_that_is_written_over(trained):
    made, _ = trained
    main, terminal = pty.openpty()
    command = made.command("--epochs", "2", "--out", "terminal")
    with subprocess.Popen(
        command, cwd=made.folder, env=made.environment(), stdout=terminal
    ) as process:
        os.close(terminal)
        said = b""
        with contextlib.suppress(OSError):  # which is how the end of a terminal shows
            while part := os.read(main, 4096):
                said += part
    os.close(main)
    assert process.returncode == 0
    shown = [
        line for line in said.decode().split("\r\n") if "epoch " in line and "images/s" in line
    ]
    assert len(shown) == 1
    assert shown[0].count("\r\x1b[K") >= 2
