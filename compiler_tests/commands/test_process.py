"""Whatever happens around a command (signals, closed pipes, odd terminals, defects), it ends well."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compiler_tests.commands.running import SMALL, begin, environment, run, wait_for
from resnet_dsl.commands import output
from resnet_dsl.commands.output import ChildExitError, Outcome, guarded

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals and shells of POSIX")


def parts(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.name.startswith(".")]


# Signals


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
    ids=["interrupt", "terminate", "hang-up"],
)
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
def test_a_signal_in_the_middle_of_a_build_leaves_nothing(
    tmp_path: Path, number: signal.Signals, status: int, times: int
) -> None:
    with begin("build", "resnet152", "-t", "onnx", "--out", "out", cwd=tmp_path) as running:
        wait_for(lambda: parts(tmp_path))
        for _ in range(times):
            running.send_signal(number)
        _, said = running.communicate(timeout=30)
    assert running.returncode == status, said
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_second_signal_after_a_while_ends_the_process_at_once(tmp_path: Path) -> None:
    code = (
        "import time, sys\n"
        "from resnet_dsl.commands import process\n"
        "process._PATIENCE_S = 0.2\n"
        "def app(standalone_mode):\n"
        "    try:\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
        "    finally:\n"
        "        print('cleaning', flush=True)\n"
        "        time.sleep(60)\n"
        "sys.exit(process.run(app))\n"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", code], env=environment(), stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    running.send_signal(signal.SIGTERM)
    assert running.stdout.readline() == "cleaning\n"
    time.sleep(0.3)
    running.send_signal(signal.SIGTERM)
    assert running.wait(timeout=10) == -signal.SIGTERM
    running.stdout.close()


def test_a_signal_that_the_shell_ignores_stays_ignored(spec: Path) -> None:
    """As `nohup` does it."""
    code = (
        "import signal, sys\n"
        "from resnet_dsl.commands.process import run\n"
        "run(lambda standalone_mode: 0)\n"
        "print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN,"
        " signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n"
    )
    done = subprocess.run(
        ["bash", "-c", 'trap "" HUP; exec "$@"', "bash", sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True", "False"]


# Standard streams


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing_but_what_is_seen(spec: Path, closed: str) -> None:
    done = run("build", spec, "--out", "out", cwd=spec.parent, shell=closed)
    assert done.returncode == 0
    assert (spec.parent / "out/small.py").read_text().endswith("\n")
    assert run("check", "nothing.yaml", cwd=spec.parent, shell=closed).returncode == 2


def test_a_child_of_a_command_without_output_writes_into_no_file(spec: Path) -> None:
    """Where standard output is closed, the first file that is opened would be standard output."""
    code = (
        "import os, subprocess, sys\n"
        "from resnet_dsl.commands.process import run\n"
        "def app(standalone_mode):\n"
        "    with open('file', 'w') as file:\n"
        "        subprocess.run([sys.executable, '-c', 'print(1, flush=True)'], check=True)\n"
        "        return file.fileno()\n"
        "os._exit(run(app))\n"
    )
    done = subprocess.run(
        ["bash", "-c", 'exec "$@" <&- >&-', "bash", sys.executable, "-c", code],
        cwd=spec.parent,
        env=environment(),
        check=False,
    )
    assert done.returncode > 2
    assert (spec.parent / "file").read_text() == ""


@pytest.mark.parametrize(
    "arguments",
    [("list",), ("list", "--json"), ("describe", "resnet18"), ("--help",)],
    ids=["list", "json", "describe", "help"],
)
def test_output_that_cannot_be_printed_is_an_error_and_no_traceback(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    done = run(*arguments, cwd=tmp_path, shell=">/dev/full")
    assert done.returncode == 74
    assert done.stderr == "the output cannot be printed: no space left on device\n"


@pytest.mark.parametrize("arguments", ["list", "describe resnet18", "build resnet1202 --stop-after graph"])  # fmt: skip
def test_a_reader_that_has_gone_is_no_error(tmp_path: Path, arguments: str) -> None:
    done = run(*arguments.split(), cwd=tmp_path, shell="| true; exit ${PIPESTATUS[0]}")
    assert done.returncode == 141
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "surroundings",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "POSIX"},
        {"PYTHONIOENCODING": "latin-1"},
        {"COLUMNS": "0"},
        {"COLUMNS": "1"},
        {"COLUMNS": "many"},
        {"HOME": "/nonexistent", "TERM": "dumb"},
        {"NO_COLOR": "1", "FORCE_COLOR": "1"},
    ],
    ids=lambda changes: "-".join(f"{key}={value}" for key, value in changes.items()),
)
def test_any_terminal_will_do(tmp_path: Path, surroundings: dict[str, str]) -> None:
    file = tmp_path / "größe.yaml"
    file.write_text(SMALL + "doc: Größe 3×3 − schön\n", encoding="utf-8")
    env = environment(**surroundings)
    described = run("describe", file.name, cwd=tmp_path, env=env)
    assert described.returncode == 0, described.stderr
    assert "128,080" in described.stdout
    text = run("build", file.name, "--stop-after", "spec", cwd=tmp_path, env=env)
    assert text.returncode == 0, text.stderr
    refused = run("check", file.name, "--set", "blok=1", cwd=tmp_path, env=env)
    assert refused.returncode == 2
    assert "error[RD101]" in refused.stderr
    data = run("check", file.name, "--set", "blok=1", "--json", cwd=tmp_path, env=env)
    assert json.loads(data.stdout)["errors"][0]["code"] == "RD101"


def test_an_empty_environment_will_do(spec: Path) -> None:
    env = {"PYTHONPATH": environment()["PYTHONPATH"]}
    assert run("build", spec, "--out", "out", cwd=spec.parent, env=env).returncode == 0


# Command lines that cannot be read


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("buidl", "x"), "No such command 'buidl'. Did you mean 'build'?"),
        (("build", "x", "--opst", "18"), "No such option: --opst"),
        (("build",), "Missing argument 'SPEC'"),
        (("build", "x", "--opset", "new"), "'--opset'"),
        (("build", "x", "--seed", "-1"), "'--seed'"),
        (("build", "x", "--target", "tensor"), "'--target'"),
        (("compile", "x", "--precision", "fp9"), "'--precision'"),
        (("describe", "x", "y"), "y"),
        (("build", "x", "--\x1b[2J"), r"--\x1b[2J"),
    ],
    ids=lambda value: value[-1][:12] if isinstance(value, tuple) else "",
)
def test_a_command_that_cannot_be_read_is_refused_to_people_and_to_programs(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error[RD701]" in done.stderr
    assert said in done.stderr
    assert "--help` shows" in done.stderr
    data = run(*arguments, "--json", cwd=tmp_path)
    assert data.returncode == 2
    assert json.loads(data.stdout)["errors"][0]["code"] == "RD701"


def test_no_arguments_are_answered_with_the_help(tmp_path: Path) -> None:
    done = run(cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage:" in done.stdout + done.stderr
    assert "RD701" not in done.stderr


# Ends of an action


def raising(error: BaseException) -> Outcome:
    raise error


def test_a_defect_is_one_line_that_says_where_and_how_to_learn_more(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RESNET_DSL_TRACEBACK", raising=False)
    assert guarded(lambda: raising(KeyError("conv1")), as_data=False) == 70
    said = capsys.readouterr().err
    assert "error[RD799]: a defect of resnet-dsl: KeyError: 'conv1' (test_process.py:" in said
    assert "RESNET_DSL_TRACEBACK=1" in said
    assert "Traceback" not in said
    assert guarded(lambda: raising(KeyError("conv1")), as_data=True) == 70
    assert json.loads(capsys.readouterr().out)["errors"][0]["code"] == "RD799"


def test_a_defect_is_raised_where_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESNET_DSL_TRACEBACK", "1")
    with pytest.raises(KeyError):
        guarded(lambda: raising(KeyError("conv1")), as_data=False)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError("Unable to allocate 335 GiB"), "RD604"),
        (ModuleNotFoundError("No module named 'yaml'", name="yaml"), "RD650"),
    ],
)
def test_a_machine_that_lacks_something_is_no_defect(
    error: Exception, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(lambda: raising(error), as_data=True) == 2
    assert json.loads(capsys.readouterr().out)["errors"][0]["code"] == code


def test_an_interrupt_has_a_status_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(lambda: raising(KeyboardInterrupt()), as_data=False) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_interrupt_that_a_library_makes_an_error_of_is_no_defect(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def action() -> Outcome:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("initialization failed") from error

    assert guarded(action, as_data=False) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


def test_a_failed_child_is_data_for_a_program_and_has_spoken_to_people(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert guarded(lambda: raising(ChildExitError(3)), as_data=True) == 3
    assert json.loads(capsys.readouterr().out)["errors"][0]["code"] == "RD653"
    assert guarded(lambda: raising(ChildExitError(3)), as_data=False) == 3
    assert capsys.readouterr() == ("", "")


def test_what_would_steer_a_terminal_is_printed_as_escapes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    evil = "a\x1b[2J\u202eb\x9b"
    outcome = Outcome([f"weights   {evil}\nsecond"], next=[f"resnet-dsl build '{evil}'"])
    output.report(outcome, as_data=False)
    said = capsys.readouterr().out
    assert all(character.isprintable() or character == "\n" for character in said)
    assert "weights   a\\x1b[2J\\u202eb\\x9b\nsecond\n" in said
