"""A run is claimed by one process only, until that is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from compiler_tests.commands.running import environment
from resnet_dsl.studies import claims
from resnet_dsl.studies.claims import Claims, alive, disk_time, group_alive

TAKE = """\
import sys
from pathlib import Path
from resnet_dsl.studies.claims import Claims
taken = []
for folder in sorted(Path(sys.argv[1]).iterdir()):
    if Claims(folder).take() is not None:
        taken.append(folder.name)
print(*taken)
sys.stdin.read()  # a process that has ended would have no claim
"""


def _of(folder: Path, **said: object) -> None:
    """Write over what the last claim says of its holder."""
    file = folder / f"claim.{Claims(folder).last()}"
    file.write_text(json.dumps({**json.loads(file.read_text()), **said}))


def _grow_old(folder: Path, seconds: float) -> None:
    file = folder / f"claim.{Claims(folder).last()}"
    then = disk_time(folder) - seconds
    os.utime(file, (then, then))


def test_who_is_first_has_the_run_and_is_told_to_others(tmp_path: Path) -> None:
    assert Claims(tmp_path).holder() is None
    assert Claims(tmp_path).take() is not None
    assert Claims(tmp_path).take() is None
    holder = Claims(tmp_path).holder()
    assert holder is not None
    assert holder.pid == os.getpid()
    assert str(holder).startswith(f"process {os.getpid()} on ")


def test_of_many_processes_one_gets_each_run(tmp_path: Path) -> None:
    names = [f"{index:02}" for index in range(40)]
    for name in names:
        (tmp_path / "runs" / name).mkdir(parents=True)
    command = [sys.executable, "-c", TAKE, str(tmp_path / "runs")]
    env, pipe = environment(), subprocess.PIPE
    processes = [
        subprocess.Popen(command, env=env, text=True, stdin=pipe, stdout=pipe) for _ in range(4)
    ]
    taken = [one.stdout.readline().split() for one in processes if one.stdout is not None]
    for one in processes:
        one.communicate()
    assert sorted(name for names_ in taken for name in names_) == names


def test_of_many_that_pass_by_the_same_claim_one_gets_the_run(tmp_path: Path) -> None:
    for round_ in range(20):
        claim = Claims(tmp_path).take()
        assert claim is not None, round_
        claim.release()
        with ThreadPoolExecutor(8) as pool:
            taken = list(pool.map(lambda _: Claims(tmp_path).take(), range(8)))
        won = [claim for claim in taken if claim is not None]
        assert len(won) == 1
        won[0].release()


def test_a_claim_that_is_given_back_can_be_taken(tmp_path: Path) -> None:
    claim = Claims(tmp_path).take()
    assert claim is not None
    claim.release()
    assert Claims(tmp_path).holder() is None
    assert Claims(tmp_path).take() is not None


def test_a_claim_of_another_machine_holds_until_it_has_long_been_silent(tmp_path: Path) -> None:
    first = Claims(tmp_path).take()
    assert first is not None
    _of(tmp_path, host="elsewhere", place="another boot", pid=1)
    _grow_old(tmp_path, 500)
    holder = Claims(tmp_path).holder()
    assert holder is not None
    assert str(holder) == "process 1 on elsewhere"
    assert holder.silent_s == pytest.approx(500, abs=5)
    assert Claims(tmp_path).take() is None
    assert first.beat()
    _grow_old(tmp_path, 601)
    assert Claims(tmp_path).holder() is None
    assert Claims(tmp_path).take() is not None


def test_who_has_lost_its_run_learns_of_it_at_the_next_beat(tmp_path: Path) -> None:
    first = Claims(tmp_path).take()
    assert first is not None
    assert first.beat()
    _grow_old(tmp_path, 601)
    second = Claims(tmp_path).take()
    assert second is not None
    assert not first.beat()
    assert second.beat()
    first.release()
    assert Claims(tmp_path).holder() is not None, "what is given back late is not the other's"


@pytest.mark.skipif(claims.place() is None, reason="processes have no place to be told apart by")
def test_a_claim_of_a_dead_process_of_this_machine_holds_no_longer(tmp_path: Path) -> None:
    assert Claims(tmp_path).take() is not None
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    _of(tmp_path, pid=ended.pid)
    assert Claims(tmp_path).holder() is None


@pytest.mark.skipif(claims.place() is None, reason="processes have no place to be told apart by")
def test_what_a_dead_process_has_started_still_holds_its_claim(tmp_path: Path) -> None:
    claim = Claims(tmp_path).take()
    assert claim is not None
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    child = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        claim.tell(child.pid)
        _of(tmp_path, pid=ended.pid)
        assert Claims(tmp_path).take() is None
    finally:
        child.kill()
        child.wait()
    assert Claims(tmp_path).take() is not None


@pytest.mark.parametrize("text", ["", "no JSON", "[1]", '{"pid": "x"}', "\udc80"])
def test_a_claim_that_says_nothing_holds_by_its_age(tmp_path: Path, text: str) -> None:
    assert Claims(tmp_path).take() is not None
    (tmp_path / "claim.1").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert Claims(tmp_path).take() is None
    _grow_old(tmp_path, 601)
    assert Claims(tmp_path).take() is not None


def test_the_time_is_the_disk_s_and_leaves_nothing_behind(tmp_path: Path) -> None:
    assert disk_time(tmp_path) == pytest.approx(time.time(), abs=5)
    assert list(tmp_path.iterdir()) == []
    assert disk_time(tmp_path / "absent") == pytest.approx(time.time(), abs=5)


def test_a_process_is_alive_or_not() -> None:
    assert alive(os.getpid())
    ended = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    ended.wait()
    assert not alive(ended.pid)
    assert not group_alive(ended.pid)
    assert not group_alive(0)
