"""Engines: executed by the program that stands beside them, in a process of its own, or told why not.

Without a GPU a stand-in runs: a program with the same options that computes the graph, rightly or not. With one, the
test at the end builds an engine and runs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from compiler_tests.backends.tensorrt.engines import write_engine
from compiler_tests.verify import nets
from resnet_dsl.backends.tensorrt.compatibility import Machine
from resnet_dsl.backends.tensorrt.device import Device, local_gpus
from resnet_dsl.errors import CompileError
from resnet_dsl.passes.numbers import Numbers
from resnet_dsl.verify import engine_target
from resnet_dsl.verify.engine_target import EngineTarget, open_engine
from resnet_dsl.verify.proof import prove
from resnet_dsl.verify.rounding import Arithmetic

PROGRAM = """\
import argparse
import sys
import numpy as np
import onnxruntime

parser = argparse.ArgumentParser()
for name in ("--engine", "--npy", "--out"):
    parser.add_argument(name, required=True)
given = parser.parse_args()
FAILURE
session = onnxruntime.InferenceSession(MODEL, providers=["CPUExecutionProvider"])
(scores,) = session.run(None, {"input": np.load(given.npy)})
np.save(given.out, scores * np.float32(FACTOR))
"""
GPU = Machine({"tensorrt_rtx": "1.7.1.116"}, (Device("a GPU", 89),))


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine that this machine could run."""
    monkeypatch.setattr(engine_target, "this_machine", lambda: GPU)
    return write_engine(tmp_path, input_shape=[3, 16, 16])


def target(
    engine: Path, monkeypatch: pytest.MonkeyPatch, factor: float = 1.0, failure: str = ""
) -> EngineTarget:
    """The engine as a target, run by the stand-in."""
    model = nets.target(nets.PLAIN, Numbers("fp16")).path
    kept = model.rename(model.with_name("engine.onnx"))
    program = PROGRAM.replace("MODEL", repr(str(kept))).replace("FACTOR", str(factor))
    source = program.replace("FAILURE", failure)
    monkeypatch.setattr(engine_target, "runner_source", lambda manifest: source)
    graph = nets.compiled(nets.PLAIN).inference_graph(numbers=Numbers("fp16"))
    return EngineTarget(open_engine(engine), graph)


def test_an_engine_that_computes_the_network_holds(
    engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proof = prove(target(engine, monkeypatch), nets.reference(nets.PLAIN))
    assert proof.executed
    assert proof.findings == []
    assert proof.steps == []
    (result,) = proof.compared
    assert result.deployed
    assert proof.about.runtime == "tensorrt_rtx 1.7.1.116"


def test_an_engine_that_does_not_departs(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proof = prove(target(engine, monkeypatch, factor=2.0), nets.reference(nets.PLAIN))
    assert [item.question for item in proof.findings] == ["result"]


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ('sys.exit("error: the driver is too old")', "the driver is too old (exit status 1)"),
        ("import os; os.abort()", "exit status -6"),
        ("sys.exit(3)", "it said nothing (exit status 3)"),
    ],
)
def test_a_program_that_fails_leaves_the_engine_unexecuted(
    engine: Path, monkeypatch: pytest.MonkeyPatch, failure: str, said: str
) -> None:
    proof = prove(target(engine, monkeypatch, failure=failure), nets.reference(nets.PLAIN))
    assert not proof.executed
    assert said in proof.why_not
    assert proof.holds


def test_a_program_without_an_end_is_ended(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_target, "SECONDS", 0.5)
    found = target(engine, monkeypatch, failure="import time; time.sleep(60)")
    with pytest.raises(CompileError) as raised:
        found.logits(torch.zeros(1, 3, 16, 16))
    assert raised.value.diagnostics[0].code == "RD692"


NO_GPU = Machine({"tensorrt_rtx": "1.7.1.116"}, ())
NOTHING = Machine({}, ())
OLD = Machine({"tensorrt_rtx": "1.5.0.2"}, GPU.gpus)


@pytest.mark.parametrize(
    ("machine", "said"),
    [
        (NO_GPU, "no NVIDIA GPU"),
        (NOTHING, "no NVIDIA GPU"),
        (OLD, "1.5.0.2 is installed"),
        (Machine(GPU.products, (Device("a Turing", 75),)), "a Turing"),
    ],
)
def test_why_an_engine_is_not_executed(
    engine: Path, monkeypatch: pytest.MonkeyPatch, machine: Machine, said: str
) -> None:
    monkeypatch.setattr(engine_target, "this_machine", lambda: machine)
    assert said in open_engine(engine).why_not


def test_an_engine_that_was_replaced_is_refused(engine: Path) -> None:
    content = bytearray(engine.read_bytes())
    content[-1] ^= 1
    engine.write_bytes(bytes(content))
    with pytest.raises(CompileError) as raised:
        open_engine(engine)
    (found,) = raised.value.diagnostics
    assert found.code == "RD631"
    assert "not the engine that its manifest is of" in found.message


def test_an_engine_without_a_manifest_is_refused(engine: Path) -> None:
    engine.with_name(f"{engine.name}.json").unlink()
    with pytest.raises(CompileError):
        open_engine(engine)


def test_what_an_engine_rounds_follows_from_its_precision() -> None:
    arithmetic = {
        name: engine_target.arithmetic_of(name) for name in ("fp32", "tf32", "fp16", "int8")
    }
    assert arithmetic["fp32"] == Arithmetic()
    assert arithmetic["tf32"].reads == 2.0**-11
    assert arithmetic["fp16"].sums.name == "float16"
    assert arithmetic["int8"].fused


@pytest.mark.gpu
def test_a_real_engine_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from compiler_tests.commands import running

    if not local_gpus():
        pytest.skip("needs an NVIDIA GPU")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "generated").mkdir()
    (tmp_path / "small.yaml").write_text(running.SMALL)
    done: Any = running.call("compile", "small.yaml", "--precision", "fp16")
    if done.exit_code:
        pytest.skip(f"no engine can be built here: {done.stderr}")
    done = running.call("verify", "small.yaml")
    assert done.exit_code == 0, done.output
    assert "engine fp16" in done.stdout
