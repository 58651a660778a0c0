"""Going on with a training: what its state files have to be, told without torch."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from compiler_tests.commands import running
from compiler_tests.commands.running import SMALL
from resnet_dsl.commands import states
from resnet_dsl.commands.states import read_state

Call = Callable[[str], Result]


def state(spec: str = "", payload: bytes = b"all that torch saves", **changes: Any) -> bytes:
    """A state file as `runtime/checkpoints.py` writes it."""
    rest: dict[str, Any] = {"spec": spec, "iteration": 7}
    seal = sha256(json.dumps(rest).encode() + payload).hexdigest()
    return json.dumps({"format": 1, "sha256": seal, **rest, **changes}).encode() + b"\n" + payload


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    return lambda text: running.call(*shlex.split(text))


def test_a_state_is_read_as_the_script_writes_it(tmp_path: Path) -> None:
    checkpoints = pytest.importorskip("resnet_dsl.runtime.checkpoints")
    checkpoints.save_state(tmp_path, {"spec": "ä", "iteration": 3}, {"numbers": [1, 2]})
    file = tmp_path / checkpoints.STATE
    assert {"spec": "ä", "iteration": 3}.items() <= read_state(file).items()
    assert (checkpoints.STATE, checkpoints.PREVIOUS_STATE) == states.STATES
    assert checkpoints.STATE_FORMAT == states.FORMAT
    assert checkpoints.LONGEST_HEADER == states.LONGEST_LINE


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"no state", "no state of a training"),
        (b"[1]\n", "no state of a training"),
        (b'{"format": 1}\n', "no state of a training"),
        (b"[" * 70_000, "no state of a training"),
        (b"PK\x03\x04 and so on", "no state of a training"),
        (state(format=2), "has format 2, and this version reads format 1"),
        (state(format="\x1b[2J" * 99), "has format"),
        (state()[:-1], "its hash is not that of what was written"),
        (state() + b"x", "its hash is not that of what was written"),
        (state(iteration=8), "its hash is not that of what was written"),
    ],
    ids=range(11),
)
def test_a_file_that_is_no_whole_state_is_told_why(
    tmp_path: Path, content: bytes, said: str
) -> None:
    file = tmp_path / "state.pt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=said):
        read_state(file)


def test_a_state_that_cannot_be_read_is_told_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not there"):
        read_state(tmp_path / "state.pt")
    with pytest.raises(ValueError, match="cannot be read: is a directory"):
        read_state(tmp_path)


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


def test_where_no_state_is_whole_both_are_told_and_nothing_is_changed(call: Call) -> None:
    pytest.importorskip("torch")
    run = Path("out/run")
    run.mkdir(parents=True)
    (run / "state.pt").write_bytes(b"")
    (run / "state.previous.pt").write_bytes(state() + b"x")
    done = call("train small.yaml --resume --out out")
    assert done.exit_code == 2
    assert "error[RD653]: the training cannot go on" in done.stderr
    assert "`out/run/state.pt` is empty; `out/run/state.previous.pt` is damaged" in done.stderr
    assert "begin it anew: resnet-dsl train small.yaml --out out" in done.stderr
    assert [file.name for file in Path("out").iterdir()] == ["run"]


@pytest.mark.parametrize("name", states.STATES)
def test_the_state_of_another_training_is_refused_with_what_goes_on_with_that_one(
    call: Call, name: str
) -> None:
    pytest.importorskip("torch")
    built = json.loads(call("build small.yaml -t train --out out --json").stdout)
    script = Path("out/train.py").read_bytes()
    run = Path("out/run")
    run.mkdir()
    (run / "state.pt").write_bytes(b"damaged")
    (run / name).write_bytes(state(built["spec_sha256"]))
    command = "train small.yaml --resume --out out --set train.lr=0.05"
    done = call(command)
    assert done.exit_code == 2
    assert f"`out/run/{name}` is of another network or another recipe" in done.stderr
    assert "resnet-dsl train out/spec.json --out out --resume" in done.stderr
    assert Path("out/train.py").read_bytes() == script

    (run / name).write_bytes(state("another"))
    done = call(command)
    assert done.exit_code == 2
    assert "give the spec and the --set that it was begun with" in done.stderr
    assert "or begin it anew: resnet-dsl train small.yaml --set train.lr=0.05" in done.stderr
    Path("out/spec.json").write_text("{")
    assert "the --set that it was begun with" in call(command).stderr
