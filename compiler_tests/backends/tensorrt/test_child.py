"""The child process from the parent's side, with small programs in the worker's place."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from compiler_tests.backends.tensorrt.workers import ENGINE, RESULT, START
from resnet_dsl.backends.tensorrt import products
from resnet_dsl.backends.tensorrt.builder import build_engine
from resnet_dsl.backends.tensorrt.options import EngineOptions
from resnet_dsl.backends.tensorrt.report import EngineReport
from resnet_dsl.errors import CompileError, Diagnostic


@pytest.fixture(autouse=True)
def _rtx_is_installed(monkeypatch):
    monkeypatch.setattr(products, "_installed", lambda module: module == "tensorrt_rtx")


@pytest.fixture
def build(tmp_path):
    """Run a program as the worker; afterwards the folder holds what it held before, or a whole engine."""
    onnx = tmp_path / "net.onnx"
    onnx.write_bytes(b"not read here")
    engine = tmp_path / "out" / "net.engine"
    engine.parent.mkdir()
    engine.write_bytes(b"the engine from before")

    def run(program, on_progress=None, **options):
        worker = (sys.executable, "-c", START + program)
        asked = EngineOptions(**options)
        try:
            return build_engine(onnx, engine, asked, on_progress=on_progress, worker=worker)
        except (CompileError, KeyboardInterrupt):
            assert engine.read_bytes() == b"the engine from before"
            raise
        finally:
            assert [item.name for item in engine.parent.iterdir()] == ["net.engine"]

    return run


def finding(build: Callable[..., EngineReport], program: str, **options: Any) -> Diagnostic:
    with pytest.raises(CompileError) as raised:
        build(program, **options)
    (found,) = raised.value.diagnostics
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT"])
def test_a_crash_names_the_signal_the_stage_and_the_last_lines(build, name):
    program = f"""
say("stage", name="build")
for i in range(20): say("log", severity="VERBOSE", text=f"Timing layer {{i}}")
say("log", severity="ERROR", text="nothing (cudaError 35: no driver)")
print("free(): invalid pointer", file=sys.stderr, flush=True)
time.sleep(0.1)
os.kill(os.getpid(), signal.{name})
"""
    found = finding(build, program)
    assert found.code == "RD629"
    assert found.message == (
        f"the engine builder (TensorRT for RTX) was ended by {name} in its stage `build`"
    )
    assert found.why is not None
    assert "Timing layer 19" in found.why
    assert "free(): invalid pointer" in found.why
    assert "Timing layer 3" not in found.why
    assert "cudaError 35" not in found.why


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_builder_that_the_system_kills_is_told_to_be_out_of_memory(build):
    found = finding(build, "os.kill(os.getpid(), signal.SIGKILL)")
    assert "was ended by SIGKILL in its stage `start`" in found.message
    assert found.why == "it said nothing"
    assert found.hint is not None
    assert "out of memory" in found.hint


def test_a_python_error_in_the_worker_is_told_with_its_last_lines(build):
    found = finding(build, "raise AttributeError('no such flag')")
    assert found.code == "RD629"
    assert "ended with status 1" in found.message
    assert found.why is not None
    assert found.why.endswith("AttributeError: no such flag")


@pytest.mark.parametrize(
    "program",
    [
        "print('terminate called', file=sys.stderr); print('what():  std::bad_alloc', file=sys.stderr); os.abort()",
        "say('log', severity='ERROR', text='CUDA out of memory'); sys.exit(1)",
        "raise MemoryError",
    ],
    ids=["C++", "CUDA", "Python"],
)
def test_a_builder_that_ends_for_want_of_memory_is_called_so(build, program):
    found = finding(build, program)
    assert found.code == "RD604"
    assert found.message == "the memory does not suffice for TensorRT for RTX to build this engine"
    assert found.why is not None
    assert "--batch 1/4/16" in (found.hint or "")


def test_an_engine_that_cannot_be_written_is_told_as_every_file_is(build):
    found = finding(build, "say('unwritten', errno=28, text='No space left on device')")
    assert found.code == "RD603"
    assert found.message.endswith("net.engine` does not fit on the disk")
    found = finding(build, "say('unwritten', errno=5, text='Input/output error')")
    assert (found.code, found.why) == ("RD602", "input/output error")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes")
def test_a_builder_whose_parent_is_gone_ends_and_leaves_nothing(tmp_path):
    part = tmp_path / "part"
    part.write_bytes(b"half an engine")
    program = f"""
import sys, time
from resnet_dsl.backends.tensorrt.telling import Channel
sys.stdin.readline()
channel = Channel({str(part)!r})
channel.end_with_parent()
channel.send("stage", name="build")
time.sleep(60)
"""
    start = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"{}\n")
        child.stdin.flush()
        assert b"build" in child.stdout.readline()
        assert child.poll() is None
        child.stdin.close()  # as when the parent is killed
        assert child.wait(30) == 1
    assert time.monotonic() - start < 30
    assert not part.exists()


def test_a_worker_that_ends_without_an_answer_is_an_error(build):
    assert "ended with status 0" in finding(build, "print('hello')").message


def test_a_builder_that_hangs_is_given_up_and_ended(build):
    start = time.monotonic()
    found = finding(build, "say('stage', name='build'); time.sleep(60)", timeout_s=1.0)
    assert time.monotonic() - start < 20
    assert found.code == "RD630"
    assert found.message == "TensorRT for RTX was given up after 1 s, in its stage `build`"


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_what_a_hanging_builder_started_is_ended_too(build, tmp_path):
    program = f"""
import subprocess
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
time.sleep(60)
"""
    start = time.monotonic()
    assert finding(build, program, timeout_s=1.5).code == "RD630"
    assert time.monotonic() - start < 20


def test_an_interrupt_ends_the_builder_and_leaves_nothing(build):
    def interrupted(progress):
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        build("say('stage', name='build'); time.sleep(60)", on_progress=interrupted)
    assert time.monotonic() - start < 20


def test_errors_of_the_worker_are_raised_as_they_are(build):
    diagnostic = {"code": "RD627", "message": "refused", "why": "because", "hint": None}
    found = finding(build, f"say('error', diagnostics=[{diagnostic!r}])")
    assert (found.code, found.message, found.why) == ("RD627", "refused", "because")


def test_an_engine_that_is_not_what_was_announced_is_not_put_in_place(build):
    result = json.dumps(RESULT)
    done = f"say('done', result=json.loads({result!r}))"
    assert finding(build, done).code == "RD631"
    write = f"open(request['output'], 'wb').write({ENGINE!r}[:60]); {done}"
    assert finding(build, write).code == "RD631"
    other = f"open(request['output'], 'wb').write({b'ftrt' + ENGINE[4:]!r}); {done}"
    assert finding(build, other).code == "RD628"


def test_a_crash_after_the_engine_was_written_does_not_lose_it(build):
    result = json.dumps(RESULT)
    program = f"""
open(request['output'], 'wb').write({ENGINE!r})
say('log', severity='WARNING', text='mind the gap')
say('done', result=json.loads({result!r}))
os.abort()
"""
    report = build(program)
    assert report.engine.read_bytes() == ENGINE
    assert report.kernels is None
    assert report.notes[0] == "TensorRT for RTX warns: mind the gap"


def test_a_worker_that_cannot_be_started_is_an_error(tmp_path):
    onnx = tmp_path / "net.onnx"
    onnx.write_bytes(b"x")
    with pytest.raises(CompileError) as raised:
        build_engine(onnx, tmp_path / "net.engine", worker=(str(tmp_path / "none"),))
    assert raised.value.diagnostics[0].code == "RD629"
    assert [item.name for item in tmp_path.iterdir()] == ["net.onnx"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX")
def test_a_request_that_nobody_reads_does_not_keep_the_parent(tmp_path):
    onnx = tmp_path / "net.onnx"
    onnx.write_bytes(b"x")
    blocks = {f"layer{number}": "a block" for number in range(20_000)}  # more than a pipe holds
    worker = (sys.executable, "-c", "import time; time.sleep(60)")
    options, start = EngineOptions(timeout_s=1.0), time.monotonic()
    with pytest.raises(CompileError) as raised:
        build_engine(onnx, tmp_path / "net.engine", options, blocks=blocks, worker=worker)
    assert raised.value.diagnostics[0].code == "RD630"
    assert time.monotonic() - start < 20


def test_a_request_reaches_the_worker_whole(build):
    program = """
assert request["targets"] == [89, 120] and request["workspace_mib"] == 256
assert request["profiles"] is None and request["precision"] is None
sys.exit(7)
"""
    found = finding(build, program, targets=(120, 89), workspace_mib=256)
    assert "ended with status 7" in found.message
