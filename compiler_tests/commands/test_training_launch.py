"""Running the training script in one process or in several: who each is, what is shown, and how all of them end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from compiler_tests.commands.running import environment, wait_for
from resnet_dsl.commands import launch as launching
from resnet_dsl.commands.launch import launch

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


def script(folder: Path, text: str) -> list[str]:
    """The command of a script that knows its `rank`."""
    file = folder / "script.py"
    file.write_text(
        "import os, signal, sys, time\n"
        "from pathlib import Path\n"
        "rank = int(os.environ.get('RANK', '-1'))\n"
        f"folder = Path({str(folder)!r})\n{text}"
    )
    return [sys.executable, str(file)]


def test_one_process_is_told_nothing_of_others(tmp_path: Path) -> None:
    names = "('RANK', 'WORLD_SIZE', 'MASTER_ADDR')"
    command = script(tmp_path, f"sys.exit(3 if any(n in os.environ for n in {names}) else 4)")
    assert launch(command) == 4


def test_each_of_several_is_told_who_it_is_as_torchrun_tells_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    text = f"(folder / str(rank)).write_text(' '.join(os.environ[n] for n in {names}))\n"
    text += "(folder / f't{rank}').write_text(os.environ['OMP_NUM_THREADS'] + os.environ['OWN'])"
    assert launch(script(tmp_path, text), processes=3, environment={"OWN": "x"}) == 0
    told = [(tmp_path / str(rank)).read_text().split() for rank in range(3)]
    assert [words[:5] for words in told] == [
        [str(rank), str(rank), "3", "3", "127.0.0.1"] for rank in range(3)
    ]
    assert len({words[5] for words in told}) == 1
    assert int(told[0][5]) > 1023
    assert {(tmp_path / f"t{rank}").read_text()[-1] for rank in range(3)} == {"x"}


def test_only_the_first_process_is_heard(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = "print('out', rank)\nprint('err', rank, file=sys.stderr)"
    assert launch(script(tmp_path, text), processes=2) == 0
    said = capfd.readouterr()
    assert said.out == "out 0\n"
    assert said.err == "err 0\n"


def test_for_a_program_output_goes_to_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with capfd.disabled():
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys\nfrom resnet_dsl.commands.launch import launch\n"
                "sys.exit(launch(sys.argv[2:], processes=int(sys.argv[1]), quiet=True))",
                "2",
                *script(tmp_path, "print('out', rank)"),
            ],
            env=environment(),
            capture_output=True,
            text=True,
            check=True,
        )
    assert (done.stdout, done.stderr) == ("", "out 0\n")


def test_what_all_of_them_say_of_an_error_is_said_once_and_the_status_is_theirs(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = "time.sleep(0.2)\nprint('no such images', file=sys.stderr)\nsys.exit(2)"
    assert launch(script(tmp_path, text), processes=2) == 2
    assert capfd.readouterr().err == "no such images\n"


def test_the_failure_of_another_process_is_shown_and_ends_the_rest(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = "if rank == 1:\n    print('out of memory', file=sys.stderr)\n    sys.exit(7)\n"
    began = time.monotonic()
    assert launch(script(tmp_path, text + "time.sleep(60)"), processes=3) == 7
    assert time.monotonic() - began < 30
    assert capfd.readouterr().err == "process 1 of 3 failed:\nout of memory\n"


def test_a_process_that_does_not_end_when_another_has_failed_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launching, "PATIENCE_S", 0.5)
    text = (
        "if rank == 1:\n    while not (folder / 'deaf').exists(): time.sleep(0.01)\n    sys.exit(5)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n(folder / 'deaf').touch()\ntime.sleep(60)"
    )
    began = time.monotonic()
    assert launch(script(tmp_path, text), processes=2) == 5
    assert time.monotonic() - began < 30


def test_a_process_that_a_signal_has_ended_is_named_by_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = script(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")
    assert launch(command) == 137
    assert capfd.readouterr().err == "the training was ended by SIGKILL\n"


SAVES = """
def save(number, _):
    with (folder / f'saved{rank}').open('a') as file:
        file.write(signal.Signals(number).name + ' ')
    time.sleep(0.5 * (rank == 0))  # the first has files to write, and the others are gone by then
    (folder / f'whole{rank}').touch()
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, save)
signal.signal(signal.SIGINT, save)
(folder / f'ready{rank}').touch()
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=["terminate", "hang-up"])
@pytest.mark.parametrize("processes", [1, 2])
def test_a_signal_is_handed_on_and_lets_all_of_them_save(
    tmp_path: Path, processes: int, number: signal.Signals
) -> None:
    code = (
        "import sys\nfrom resnet_dsl.commands.launch import launch\n"
        "sys.exit(launch(sys.argv[2:], processes=int(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(processes), *script(tmp_path, SAVES)]
    with subprocess.Popen(command, env=environment(), start_new_session=True) as running:
        ranks = [-1] if processes == 1 else range(processes)
        wait_for(lambda: all((tmp_path / f"ready{rank}").exists() for rank in ranks))
        running.send_signal(number)
        assert running.wait(timeout=30) == 143
    for rank in ranks:
        assert (tmp_path / f"saved{rank}").read_text() == "SIGTERM "
        assert (tmp_path / f"whole{rank}").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the parent's end is told on Linux")
@pytest.mark.parametrize("processes", [1, 2])
def test_where_we_are_killed_the_script_is_asked_to_stop(tmp_path: Path, processes: int) -> None:
    code = (
        "import sys\nfrom resnet_dsl.commands.launch import launch\n"
        "sys.exit(launch(sys.argv[2:], processes=int(sys.argv[1])))"
    )
    command = [sys.executable, "-c", code, str(processes), *script(tmp_path, SAVES)]
    ranks = [-1] if processes == 1 else range(processes)
    with subprocess.Popen(command, env=environment(), start_new_session=True) as running:
        wait_for(lambda: all((tmp_path / f"ready{rank}").exists() for rank in ranks))
        running.kill()
    wait_for(lambda: all((tmp_path / f"whole{rank}").exists() for rank in ranks))
    for rank in ranks:  # once for each of our threads that ends, at worst, and at once
        assert set((tmp_path / f"saved{rank}").read_text().split()) == {"SIGTERM"}


def test_ctrl_c_on_a_terminal_reaches_each_process_once(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom resnet_dsl.commands.launch import launch\n"
        "sys.exit(launch(sys.argv[1:], processes=2))"
    )
    command = [sys.executable, "-c", code, *script(tmp_path, SAVES)]
    with subprocess.Popen(command, env=environment(), start_new_session=True) as running:
        wait_for(lambda: all((tmp_path / f"ready{rank}").exists() for rank in range(2)))
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(timeout=30) == 130
    assert [(tmp_path / f"saved{rank}").read_text() for rank in range(2)] == ["SIGINT "] * 2
    assert (tmp_path / "whole0").exists()


def test_signals_are_answered_as_before_when_the_script_has_ended(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    launch(script(tmp_path, ""), processes=2)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
