"""Builds that fail, with TensorRT for RTX itself: each is a finding, and leaves nothing half-written."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from compiler_tests.backends.tensorrt.models import residual_net
from resnet_dsl.backends.tensorrt import products
from resnet_dsl.backends.tensorrt.builder import build_engine
from resnet_dsl.backends.tensorrt.options import EngineOptions
from resnet_dsl.errors import CompileError, Diagnostic

pytestmark = pytest.mark.skipif(
    products.RTX not in products.available(), reason="tensorrt_rtx is not installed"
)


LIMITED = """
import resource, runpy
resource.setrlimit(resource.{limit}, ({value}, {value}))
runpy.run_module("resnet_dsl.backends.tensorrt.worker", run_name="__main__")
"""


def findings(onnx: Path, **options: Any) -> tuple[Diagnostic, ...]:
    with pytest.raises(CompileError) as raised:
        build_engine(onnx, onnx.parent / "net.engine", EngineOptions(**options))
    assert not (onnx.parent / "net.engine").exists()
    return raised.value.diagnostics


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
def test_an_engine_that_does_not_fit_on_the_disk_leaves_what_was_there(tmp_path):
    engine = tmp_path / "out" / "net.engine"
    engine.parent.mkdir()
    engine.write_bytes(b"before")
    worker = (sys.executable, "-c", LIMITED.format(limit="RLIMIT_FSIZE", value=100_000))
    with pytest.raises(CompileError) as raised:
        build_engine(residual_net(tmp_path / "net.onnx"), engine, worker=worker)
    (found,) = raised.value.diagnostics
    assert (found.code, found.message) == ("RD603", f"`{engine}` does not fit on the disk")
    assert [item.name for item in engine.parent.iterdir()] == ["net.engine"]
    assert engine.read_bytes() == b"before"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
@pytest.mark.parametrize("mebibytes", [200, 300, 400, 500, 600])
def test_with_any_memory_there_is_an_engine_or_a_finding_and_nothing_half_written(
    tmp_path, mebibytes
):
    program = LIMITED.format(limit="RLIMIT_AS", value=mebibytes << 20)
    onnx, engine = residual_net(tmp_path / "net.onnx"), tmp_path / "out" / "net.engine"
    codes: set[str] = set()
    try:
        # With too little memory TensorRT may wait for ever, too.
        options = EngineOptions(timeout_s=20.0)
        build_engine(onnx, engine, options, worker=(sys.executable, "-c", program))
    except CompileError as error:
        codes = {item.code for item in error.diagnostics}
    assert codes <= {"RD604", "RD620", "RD629", "RD630"}
    left = [item.name for item in engine.parent.iterdir()] if engine.parent.exists() else []
    assert left == ([] if codes else ["net.engine"])


def test_unsupported_nodes_are_named_as_the_blocks_of_the_spec(tmp_path):
    replace = {"layer1.0.relu1": "Gloop", "layer2.0.relu2": "Det"}
    found = findings(residual_net(tmp_path / "net.onnx", replace=replace))
    assert [item.code for item in found] == ["RD627", "RD627"]
    assert found[0].message == (
        "TensorRT for RTX has no operation `Gloop`, which `layer1.0.relu1` is"
    )
    assert "`layer2.0.relu2`" in found[1].message


def test_what_a_killed_build_has_left_is_swept_away(tmp_path):
    old, new = (tmp_path / f".net.engine.{'0' * 7}{item}.part" for item in (1, 2))
    old.write_bytes(b"x")
    new.write_bytes(b"x")
    os.utime(old, (0, 0))
    build_engine(residual_net(tmp_path / "net.onnx"), tmp_path / "net.engine")
    assert not old.exists()
    assert new.exists()  # another build may be at it


def test_an_operation_that_is_not_supported_is_told_with_its_block(tmp_path):
    onnx = residual_net(tmp_path / "net.onnx", replace={"layer1.0.relu1": "Gloop"})
    with pytest.raises(CompileError) as raised:
        build_engine(onnx, tmp_path / "net.engine", blocks={"layer1.0.relu1": "layer1.0"})
    (found,) = raised.value.diagnostics
    assert found.message == (
        "TensorRT for RTX has no operation `Gloop`, which `layer1.0.relu1` in the block `layer1.0` is"
    )


@pytest.mark.parametrize("content", [b"\x00" * 64, b"hello world, this is no model", b"(" * 40])
def test_a_file_that_is_no_onnx_is_refused(tmp_path, content):
    onnx = tmp_path / "net.onnx"
    onnx.write_bytes(content)
    assert findings(onnx)[0].code == "RD626"


def test_an_empty_a_cut_short_and_a_missing_file_are_refused(tmp_path):
    onnx = residual_net(tmp_path / "net.onnx")
    onnx.write_bytes(onnx.read_bytes()[:-2000])
    (found,) = findings(onnx)
    assert (found.code, found.why) == ("RD626", "Failed to parse the ONNX model.")
    onnx.write_bytes(b"")
    (found,) = findings(onnx)
    assert (found.code, found.message) == ("RD626", f"{onnx} is empty")
    (found,) = findings(tmp_path / "none.onnx")
    assert found.code == "RD001"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes with names")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    onnx = tmp_path / "net.onnx"
    os.mkfifo(onnx)
    (found,) = findings(onnx)
    assert (found.code, found.message) == (
        "RD001",
        f"{onnx} cannot be read: it is a device or a pipe, and no file",
    )


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    onnx = residual_net(tmp_path / "net.onnx")
    (tmp_path / "file").write_text("in the way")
    for engine in (tmp_path / "file" / "net.engine", tmp_path):
        with pytest.raises(CompileError) as raised:
            build_engine(onnx, engine)
        assert raised.value.diagnostics[0].code == "RD602"
