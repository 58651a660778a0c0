"""The training script under names, signals, terminals and options that it was not written for."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from compiler_tests.commands.running import SMALL, begin, call, environment, run, wait_for
from resnet_dsl.backends.trainer.emit import emit
from resnet_dsl.commands.settings import settings_of
from resnet_dsl.compiler import compile_spec, torch_source

QUICK = SMALL.replace(
    "train: digits",
    "train: {recipe: digits, data: fake, epochs: 2, warmup: 1, batch_size: 4}",
)


def written(folder: Path, text: str = QUICK, name: str = "small") -> str:
    """A network and its script in `folder`; the script's text."""
    spec = folder / "spec.yaml"
    spec.write_text(text.replace("name: small", f"name: {name}"))
    compilation = compile_spec(spec)
    (folder / f"{name}.py").write_text(torch_source(compilation), encoding="utf-8")
    script = emit(settings_of(compilation))
    (folder / "train.py").write_text(script, encoding="utf-8")
    return script


def script(folder: Path, *arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "train.py", *arguments],
        cwd=folder,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


NAMES = [
    "main",
    "write",
    "show",
    "evaluate",
    "load_data",
    "best_of",
    "learning_rate",
    "shifted",
    "network",
    "functional",
    "Any",
    "FrameType",
    "Path",
    "timedelta",
    "NETWORK",
    "OUT",
    "model",
    "device",
    "state",
    "epochs",
    "out",
    "last",
    "metrics",
    "options",
    "parser",
    "save",
    "progress",
    "history",
    "loss",
    "images",
    "interrupt",
    "asked",
    "result",
    "line",
    "error",
]


@pytest.mark.parametrize("name", NAMES)
def test_the_network_has_a_name_of_its_own_in_the_script(tmp_path: Path, name: str) -> None:
    """The function that the script imports is called, whatever else has its name there."""
    text = written(tmp_path, name=name)
    assert f"from {name} import {name} as network\n" in text
    assert "model = network(num_classes=CLASSES)" in text
    bound = {
        node.name
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }
    assert "network" not in bound


@pytest.mark.slow
@pytest.mark.parametrize("name", ["main", "model", "Any", "error", "functional"])
def test_a_network_named_as_a_name_of_the_script_is_trained(tmp_path: Path, name: str) -> None:
    pytest.importorskip("torch")
    written(tmp_path, name=name)
    done = script(tmp_path, "--out", "run")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/last.safetensors").is_file()


@pytest.mark.slow
def test_a_run_that_is_stopped_before_its_first_step_is_saved_and_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    written(tmp_path)
    at_once = (
        "import runpy, signal, sys\n"
        "real = signal.signal\n"
        "def handle(number, handler):\n"
        "    old = real(number, handler)\n"
        "    if number == signal.SIGTERM and callable(handler):\n"
        "        handler(number, None)\n"
        "    return old\n"
        "signal.signal = handle\n"
        "sys.argv = ['train.py', '--out', 'run']\n"
        "sys.path.insert(0, '.')\n"
        "runpy.run_path('train.py', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", at_once],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 143, done.stderr
    assert "interrupted after iteration 0, and saved" in done.stdout
    assert script(tmp_path, "--out", "run", "--resume").returncode == 0
    assert script(tmp_path, "--out", "whole").returncode == 0
    stopped, whole = (
        sha256((tmp_path / name / "last.safetensors").read_bytes()).hexdigest()
        for name in ("run", "whole")
    )
    assert stopped == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    ("device", "said"),
    [
        ("nonsense", "torch knows no such device"),
        ("cuda:99", "torch sees no such GPU here"),
        ("meta", "this script runs on cpu and cuda"),
        ("-x", "torch knows no such device"),
    ],
)
def test_a_device_that_cannot_be_had_is_refused_in_a_sentence(
    tmp_path: Path, device: str, said: str
) -> None:
    pytest.importorskip("torch")
    written(tmp_path)
    done = script(tmp_path, f"--device={device}")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_script_speaks_to_a_terminal_that_knows_ascii_alone(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    written(tmp_path)
    for arguments in (("--help",), ("--out", "run")):
        done = script(tmp_path, *arguments, PYTHONIOENCODING="ascii")
        assert done.returncode == 0, done.stderr


def test_the_command_that_the_script_ends_with_has_what_was_overridden(tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text(QUICK)
    evil = 'doc=\'") or __import__("os").abort() #\''
    overrides = ["classes=7", evil, "doc=" + "x" * 200]
    compilation = compile_spec(spec, overrides)
    text = emit(settings_of(compilation, "a b'.yaml", overrides))
    tree = ast.parse(text)
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert {"a b'.yaml", *overrides} <= strings
    assert text.count("abort") == 1
    assert all(len(line) <= 120 or line.endswith("# noqa: E501") for line in text.splitlines())


# As a command


@pytest.fixture
def spec(spec: Path) -> Path:
    spec.write_text(QUICK)
    return spec


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["two words", "it's", "$(id)", "größe", "-dash", "new\nline"])
def test_training_in_a_folder_of_any_name_ends_with_commands_that_work(
    spec: Path, folder: str
) -> None:
    pytest.importorskip("torch")
    done = run("train", spec.name, f"--out={folder}", "--json", cwd=spec.parent)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert (spec.parent / data["checkpoint"]).is_file()
    (line,) = [command for command in data["next"] if " build " in command]
    program = f"{sys.executable} -m resnet_dsl"
    after = subprocess.run(
        line.replace("resnet-dsl", program, 1),
        shell=True,
        cwd=spec.parent,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert after.returncode == 0, after.stderr
    assert (spec.parent / folder / "small.onnx").is_file()


@pytest.mark.slow
def test_a_training_that_fails_is_data_for_a_program(spec: Path) -> None:
    pytest.importorskip("torch")
    done = run("train", spec, "--device=nonsense", "--json", cwd=spec.parent)
    assert done.returncode == 2
    (found,) = json.loads(done.stdout)["errors"]
    assert "nonsense" in found["message"]
    assert not (spec.parent / "generated").exists()
    done = run("train", spec, "--resume", "--out", "new", "--json", cwd=spec.parent)
    assert done.returncode == 2
    (found,) = json.loads(done.stdout)["errors"]
    assert found["code"] == "RD653"
    assert "there is no `new/run/state.pt`" in found["why"]
    assert not (spec.parent / "new").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize(
    ("number", "status", "group", "times"),
    [
        (signal.SIGINT, 130, True, 1),
        (signal.SIGTERM, 143, False, 1),
        (signal.SIGTERM, 143, True, 2),  # as `timeout` does
        (signal.SIGHUP, 143, False, 1),
    ],
    ids=["Ctrl-C", "terminate", "timeout", "hang-up"],
)
def test_a_training_that_is_stopped_is_saved_and_leaves_no_process(
    spec: Path, number: signal.Signals, status: int, group: bool, times: int
) -> None:
    pytest.importorskip("torch")
    spec.write_text(QUICK.replace("epochs: 2,", "epochs: 100000,"))
    folder = spec.parent
    metrics = folder / "out/run/metrics.jsonl"
    with begin("train", spec.name, "--out", "out", cwd=folder) as running:
        wait_for(lambda: metrics.exists() and metrics.stat().st_size > 0)
        for _ in range(times):
            if group:
                os.killpg(running.pid, number)
            else:
                running.send_signal(number)
        said, errors = running.communicate(timeout=60)
    assert running.returncode == status, errors
    assert "and saved; to go on: python out/train.py --resume --out out/run" in said
    assert "Traceback" not in errors
    assert [file.name for file in folder.rglob("*.part")] == []
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)


def test_a_network_is_not_written_over_by_its_script(spec: Path) -> None:
    spec.write_text(QUICK.replace("name: small", "name: train"))
    done = call("build", spec, "--out", spec.parent / "out", "--json")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["errors"][0]["code"] == "RD108"
