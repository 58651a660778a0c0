from __future__ import annotations

import itertools
import json

import pytest

from resnet_dsl.bench.messages import (
    Failed,
    Load,
    Loaded,
    Measure,
    Measured,
    Prepare,
    Prepared,
    ask,
    asked,
    tell,
    told,
)
from resnet_dsl.bench.worker import WINDOW, Worker, failure, warm_up

LOAD = Load("onnx_runtime", "fp32", "cpu", 1, "net", [3, 8, 8], "net.onnx")


@pytest.mark.parametrize("request_", [LOAD, Prepare(8, 1.5), Measure(8, 0.5)])
def test_requests_arrive_as_they_were_sent(request_: Load | Prepare | Measure) -> None:
    line = ask(request_)
    assert line.endswith(b"\n")
    assert asked(line.decode()) == request_


@pytest.mark.parametrize(
    "answer",
    [
        Loaded(0.5, {"torch": "2"}),
        Prepared(1.0, 0.5, 9, True, None, [1.0], {"layout": "NHWC"}),
        Measured([0.1, 0.2], 6.5),
        Failed("memory", "no room"),
    ],
)
def test_answers_arrive_as_they_were_sent(answer: Loaded | Prepared | Measured | Failed) -> None:
    assert told(tell(answer)) == answer


@pytest.mark.parametrize(
    "line", [b"warning\n", b"{}\n", b'{"event": "loaded"}\n', b"\xff\n", b"[]"]
)
def test_what_is_no_answer_is_not_taken_for_one(line: bytes) -> None:
    assert told(line) is None


def test_the_warm_up_ends_when_two_windows_agree() -> None:
    times = iter([0.09, 0.08, 0.07, 0.06, 0.05, *[0.01] * 20])
    calls, steady, usual = warm_up(lambda: next(times), 60.0)
    assert (calls, steady, usual) == (15, True, 0.01)


def test_the_warm_up_ends_with_its_time_where_the_calls_never_settle() -> None:
    times = itertools.cycle([0.01] * WINDOW + [0.02] * WINDOW)
    calls, steady, _ = warm_up(lambda: next(times), 0.05)
    assert calls > 10
    assert steady is False


def test_slow_calls_are_told_to_be_steady_by_fewer() -> None:
    assert warm_up(lambda: 4.0, 60.0) == (4, True, 4.0)


def test_a_slow_call_is_made_once() -> None:
    assert warm_up(lambda: 4.0, 0.0) == (1, None, 4.0)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (MemoryError(), "memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 20 GiB"), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried …"), "memory"),
        (RuntimeError("InvalidCxxCompiler: No working C++ compiler found"), "compiler"),
        (NotImplementedError("no bfloat16 here"), "unsupported"),
        (ValueError("first\n\nsecond\nthird\nfourth"), "error"),
    ],
)
def test_a_failure_is_told_by_its_kind(error: Exception, kind: str) -> None:
    found = failure(error)
    assert found.kind == kind
    assert "\n" not in found.why
    assert "fourth" not in found.why


def test_a_worker_answers_what_it_cannot_do() -> None:
    worker = Worker()
    assert isinstance(worker.answer(Measure(1, 0.1)), Failed)
    found = worker.answer(Load("no_such_runner", "fp32", "cpu", 1, "net", [3, 8, 8]))
    assert isinstance(found, Failed)
    assert "no_such_runner" in found.why
    assert json.loads(tell(found))["event"] == "failed"
