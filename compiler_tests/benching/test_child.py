from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from compiler_tests.benching.fakes import FAKE, alive, load
from compiler_tests.commands.running import environment
from resnet_dsl.bench.child import Child
from resnet_dsl.bench.messages import (
    Failed,
    Load,
    Loaded,
    Measure,
    Measured,
    Prepare,
    Prepared,
    ask,
)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX systems")


@contextmanager
def fake(name: str) -> Iterator[Child]:
    child = Child(1, FAKE)
    try:
        child.ask(load(name), 30.0)
        yield child
    finally:
        child.end()
        assert not alive(child.pid)


def test_a_child_answers_in_order() -> None:
    with fake("fast") as child:
        assert isinstance(child.ask(Prepare(8, 0.0), 30.0), Prepared)
        answer = child.ask(Measure(8, 0.0), 30.0)
        assert answer == Measured([0.008] * 4, 125.0)


def test_lines_that_are_no_answers_are_passed_over() -> None:
    with fake("noise") as child:
        assert isinstance(child.ask(load("noise"), 30.0), Loaded)
        assert isinstance(child.ask(Prepare(8, 0.0), 30.0), Prepared)


def test_a_child_that_ends_is_told_with_its_last_words_and_asked_no_more() -> None:
    with fake("crash@8") as child:
        answer = child.ask(Prepare(8, 0.0), 30.0)
        assert isinstance(answer, Failed)
        assert answer.why == "its process ended with status 3: a library's last words"
        assert child.gone == answer
        assert child.ask(Measure(8, 0.0), 30.0) == answer


def test_a_child_that_is_killed_has_had_too_little_memory() -> None:
    with fake("killed@8") as child:
        answer = child.ask(Prepare(8, 0.0), 30.0)
        assert isinstance(answer, Failed)
        assert answer.kind == "memory"


def test_a_child_that_does_not_answer_is_ended() -> None:
    with fake("hang@8") as child:
        started = time.monotonic()
        answer = child.ask(Prepare(8, 0.0), 0.2)
        assert time.monotonic() - started < 60
        assert isinstance(answer, Failed)
        assert answer.why == "gave no answer for 0.2 s, and was ended"
        assert not alive(child.pid)


def test_a_child_has_threads_of_its_number_that_do_not_spin() -> None:
    code = (
        "import json, os, sys\n"
        "names = ('OMP_NUM_THREADS', 'OMP_WAIT_POLICY')\n"
        "for line in sys.stdin:\n"
        "    about = {name: os.environ[name] for name in names}\n"
        "    print(json.dumps({'event': 'loaded', 'seconds': 0.0, 'about': about}), flush=True)\n"
    )
    child = Child(3, (sys.executable, "-c", code))
    try:
        answer = child.ask(load("any"), 30.0)
    finally:
        child.end()
    assert isinstance(answer, Loaded)
    assert answer.about == {"OMP_NUM_THREADS": "3", "OMP_WAIT_POLICY": "PASSIVE"}


def test_a_worker_ends_with_who_asks_it_even_in_the_middle_of_a_call(tmp_path: Path) -> None:
    module = tmp_path / "resnet_dsl_sleeper.py"
    module.write_text("import time\n\ndef open_runner(load):\n    time.sleep(600)\n")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import resnet_dsl_sleeper as module;"
        "sys.modules['resnet_dsl.bench.runners.sleeper'] = module;"
        "from resnet_dsl.bench.worker import main; main()"
    )
    request = Load("sleeper", "fp32", "cpu", 1, "net", [3, 8, 8])
    process = subprocess.Popen(
        (sys.executable, "-c", script, str(tmp_path)), stdin=subprocess.PIPE, env=environment()
    )
    assert process.stdin is not None
    process.stdin.write(ask(request))
    process.stdin.flush()
    time.sleep(0.5)
    process.stdin.close()
    assert process.wait(30) == 0
