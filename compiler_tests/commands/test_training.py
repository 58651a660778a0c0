"""`train`: what it refuses before it begins, and what it says when it has ended."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from compiler_tests.commands import running
from compiler_tests.commands.running import SMALL, run

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


@pytest.mark.parametrize("as_data", [False, True])
def test_going_on_without_a_state_is_refused_with_the_command_that_begins(
    call: Call, tmp_path: Path, as_data: bool
) -> None:
    pytest.importorskip("torch")
    command = "train small.yaml --resume --out 'a b' --set train.lr=0.05"
    done = call(command + " --json" * as_data)
    assert done.exit_code == 2
    begin = "resnet-dsl train small.yaml --set train.lr=0.05 --out 'a b'"
    if as_data:
        (found,) = json.loads(done.stdout)["errors"]
        assert found["code"] == "RD653"
        assert "there is no `a b/run/state.pt`" in found["why"]
        assert found["hint"].endswith(begin)
    else:
        assert "error[RD653]: there is no training to go on with" in done.stderr
        assert begin in done.stderr
        assert "usage" not in done.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["small.yaml"]


@pytest.mark.slow
def test_going_on_with_what_is_no_state_or_another_s_changes_nothing(call: Call) -> None:
    torch = pytest.importorskip("torch")
    call("build small.yaml -t train --out out")
    before = Path("out/train.py").read_bytes()
    state = Path("out/run/state.pt")
    state.parent.mkdir()
    command = "train small.yaml --resume --out out --set train.lr=0.05"
    for content, said in (
        (b"", "is empty"),
        (b"no state", "is text, beginning `no state`"),
        (b"PK\x03\x04 and no more", "is damaged"),
        ([1], "another network or another recipe"),
        ({"model": {}}, "another network or another recipe"),
        ({"spec": object()}, "beside tensors, and is not opened"),
        ({"spec": "another"}, "another network or another recipe"),
    ):
        if isinstance(content, bytes):
            state.write_bytes(content)
        else:
            torch.save(content, state)
        done = call(command)
        assert done.exit_code == 2
        assert "error[RD653]: the training cannot go on" in done.stderr
        assert said in done.stderr
        assert "resnet-dsl train small.yaml --set train.lr=0.05 --out out" in done.stderr
        assert Path("out/train.py").read_bytes() == before


@pytest.mark.slow
def test_a_training_names_its_files_its_outcome_and_what_is_next(
    call: Call, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    text = run("train", "small.yaml", "--out", "out", cwd=tmp_path)
    assert text.returncode == 0, text.stderr
    files = sorted(str(file.relative_to(tmp_path)) for file in Path("out").resolve().rglob("*.*"))
    lines = text.stdout.splitlines()
    wrote = [line.split()[1] for line in lines if line.startswith("wrote ")]
    assert sorted(wrote) == [file for file in files if "pycache" not in file]
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
    (line,) = found["next"]
    (told,) = [said.removeprefix("next: ") for said in lines if said.startswith("next")]
    assert sorted(told.split()) == sorted(line.split())
    assert line.endswith("--weights out/run/last.safetensors --out out")

    resumed = run("train", "small.yaml", "--out", "out", "--resume", cwd=tmp_path)
    assert resumed.returncode == 0
    assert "unchanged out/run/last.safetensors" in resumed.stdout
    assert "wrote     out/run/result.json" in resumed.stdout


def test_the_folder_that_goes_without_saying_is_not_said(call: Call, tmp_path: Path) -> None:
    for out in ("", "generated/small", "elsewhere"):
        assert call(f"build small.yaml -t train {f'--out {out}' if out else ''}").exit_code == 0
        script = (tmp_path / (out or "generated/small") / "train.py").read_text()
        assert ('["--out", "elsewhere"]' in script) == (out == "elsewhere")
        assert '"--out", "generated' not in script
