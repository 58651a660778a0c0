"""`train`: what it refuses before it begins, and what it says when it has ended."""

from __future__ import annotations

import json
import os
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import Result

from compiler_tests.commands import running
from compiler_tests.commands.running import SMALL, begin, run, wait_for

QUICK = SMALL.replace("train: digits", "train: {recipe: digits, epochs: 2, warmup: 1}")
Call = Callable[[str], Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(QUICK)
    return lambda text: running.call(*shlex.split(text))


@pytest.mark.parametrize(
    "command",
    ["train small.yaml --out out", "build small.yaml -t train --out out", "check small.yaml"],
)
@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("head=none", ["its output is no list of classes", "8×8×8", "head: classifier"]),
        ("classes=7", ["7 classes"]),
        ("input.channels=3", ["3×8×8"]),
        ("head=none --set classes=7", ["no list of classes", "7 classes"]),
        ("head=none --set train.data=fake", ["no list of classes"]),
    ],
)
def test_a_network_that_does_not_fit_its_training_is_refused_by_every_command(
    call: Call, tmp_path: Path, command: str, overrides: str, said: list[str]
) -> None:
    done = call(f"{command} --set {overrides}")
    assert done.exit_code == 2
    assert "error[RD651]" in done.stderr
    assert all(words in done.stderr for words in said)
    assert [file.name for file in tmp_path.iterdir()] == ["small.yaml"]


def test_what_the_training_wants_of_a_head_is_what_the_hint_says(call: Call) -> None:
    assert call("check small.yaml --set head=none").exit_code == 2
    assert call("check small.yaml --set head=none --set head=classifier").exit_code == 0


@pytest.mark.slow
def test_a_training_names_its_files_its_outcome_and_what_is_next(
    call: Call, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    text = run("train", "small.yaml", "--out", "out", cwd=tmp_path)
    assert text.returncode == 0, text.stderr
    files = [path for path in Path("out").rglob("*.*") if path.is_file()]
    written = {str(file) for file in files if not {"__pycache__", "tensorboard"} & {*file.parts}}
    lines = text.stdout.splitlines()
    wrote = [line.split()[1] for line in lines if line.startswith("wrote ")]
    assert sorted(wrote) == sorted(written)
    assert {"out/spec.json", "out/run/manifest.json", "out/run/state.previous.pt"} <= written
    assert sum("the training standardised its images" in line for line in lines) == 1

    data = run("train", "small.yaml", "--out", "out", "--json", cwd=tmp_path)
    assert data.returncode == 0, data.stderr
    found = json.loads(data.stdout)
    status = {item["path"]: item["status"] for item in found["files"]}
    assert sorted(status) == sorted([*wrote, "out/run/state.old.pt"])
    assert status["out/train.py"] == "unchanged"
    assert status["out/run/last.safetensors"] == "written"
    assert found["result"] == json.loads(Path("out/run/result.json").read_text())
    assert "standardised" in found["notes"][0]["text"]
    said = text.stdout[text.stdout.index("next: ") + 6 :].splitlines()[:2]
    assert [sorted(line.split()) for line in found["next"]] == [
        sorted(line.split()) for line in said
    ]
    assert found["next"][1].endswith("--weights out/run/last.safetensors --out out")

    resumed = run("train", "small.yaml", "--out", "out", "--resume", cwd=tmp_path)
    assert resumed.returncode == 0
    assert "unchanged out/run/last.safetensors" in resumed.stdout
    assert "wrote     out/run/result.json" in resumed.stdout


@pytest.mark.slow
def test_a_training_that_is_interrupted_says_how_it_goes_on_and_goes_on(
    call: Call, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    command = ("train", "small.yaml", "--out", "out", "--set", "train.epochs=2000")
    metrics = Path("out/run/metrics.jsonl")
    with begin(*command, cwd=tmp_path) as running:
        wait_for(lambda: metrics.exists() and metrics.read_text().count("\n") > 1)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does it
        said, wrong = running.communicate(timeout=60)
    assert running.returncode == 130, wrong
    assert wrong == ""
    assert "and saved; to go on: python out/train.py --resume" in said
    before = metrics.read_text().count("\n")
    with begin(*command, "--resume", cwd=tmp_path) as running:
        wait_for(lambda: metrics.read_text().count("\n") > before)
        running.terminate()  # to us alone
        _, wrong = running.communicate(timeout=60)
    assert running.returncode == 143, wrong


@pytest.mark.slow
def test_two_processes_train_as_one_and_the_run_says_so(call: Call, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = run("train", "small.yaml", "--out", "out", "--processes", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 2/2") == 1
    assert json.loads(Path("out/run/result.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_fine_tuning_begins_with_the_weights_and_keeps_what_is_frozen(
    call: Call, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    call("build small.yaml --write-weights --seed 3 --set classes=7 --out given")
    freeze = "--set 'train.freeze=[stem, layer1]'"
    command = f"train small.yaml --weights given/small.safetensors {freeze} --out out"
    done = run(*shlex.split(command), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (
        "weights   `fc` is new, drawn from seed 0: the file's tells 7 classes apart" in done.stdout
    )
    assert "wrote     out/initial.safetensors" in done.stdout
    given, began, ended = (
        load_file(file)
        for file in (
            "given/small.safetensors",
            "out/initial.safetensors",
            "out/run/last.safetensors",
        )
    )
    for name in began:
        if not name.startswith("fc."):
            assert np.array_equal(given[name], began[name])
            assert np.array_equal(began[name], ended[name]), name
    assert not np.array_equal(began["fc.weight"], ended["fc.weight"])

    resumed = run("train", "small.yaml", *shlex.split(freeze), "--out", "out", "--resume", cwd=tmp_path)  # fmt: skip
    assert resumed.returncode == 0, resumed.stderr
    again = run("train", "--replay", "out", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "the same weights, to the bit" in again.stdout


def test_the_folder_that_goes_without_saying_is_not_said(call: Call, tmp_path: Path) -> None:
    for out in ("", "generated/small", "elsewhere"):
        assert call(f"build small.yaml -t train {f'--out {out}' if out else ''}").exit_code == 0
        script = (tmp_path / (out or "generated/small") / "train.py").read_text()
        assert ('FOLDER = "elsewhere"' in script) == (out == "elsewhere")
        assert "generated" not in script
