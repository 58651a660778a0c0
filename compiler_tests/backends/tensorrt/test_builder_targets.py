"""Engines for several targets, and of graphs that compute in several types, with TensorRT for RTX itself."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from compiler_tests.backends.tensorrt.models import residual_net
from resnet_dsl.backends.tensorrt import products
from resnet_dsl.backends.tensorrt.builder import build_engine, build_engines
from resnet_dsl.backends.tensorrt.child import Progress
from resnet_dsl.backends.tensorrt.options import EngineOptions
from resnet_dsl.errors import CompileError, Diagnostic

pytestmark = pytest.mark.skipif(
    products.RTX not in products.available(), reason="tensorrt_rtx is not installed"
)


def findings(onnx: Path, **options: Any) -> tuple[Diagnostic, ...]:
    with pytest.raises(CompileError) as raised:
        build_engine(onnx, onnx.parent / "net.engine", EngineOptions(**options))
    assert not (onnx.parent / "net.engine").exists()
    return raised.value.diagnostics


def test_turing_has_an_engine_of_its_own_and_the_others_share_one(tmp_path):
    onnx = residual_net(tmp_path / "net.onnx")
    heard: list[Progress] = []
    options = EngineOptions(targets=(75, 86, 120))
    reports = build_engines(onnx, tmp_path / "out/net.fp16", options, on_progress=heard.append)
    assert [item.engine.name for item in reports] == ["net.fp16.engine", "net.fp16.sm75.engine"]
    assert [item.targets for item in reports] == [(86, 120), (75,)]
    assert sorted(item.name for item in (tmp_path / "out").iterdir()) == [
        "net.fp16.engine",
        "net.fp16.sm75.engine",
    ]
    assert {(item.engine, item.engines) for item in heard} == {(1, 2), (2, 2)}
    for report in reports:
        assert hashlib.sha256(report.engine.read_bytes()).hexdigest() == report.sha256


def test_where_one_of_several_engines_cannot_be_built_none_is_written(tmp_path):
    onnx = residual_net(tmp_path / "net.onnx", "fp32")
    with pytest.raises(CompileError) as raised:
        build_engines(onnx, tmp_path / "out/net.fp32", EngineOptions(targets=(75, 86)))
    assert raised.value.diagnostics[0].message.startswith("`fc` is a matrix product in fp32")
    assert not (tmp_path / "out").exists()


def test_what_turing_cannot_compute_is_refused_by_name(tmp_path):
    (found,) = findings(residual_net(tmp_path / "net.onnx", "fp32"), targets=(75,))
    assert found.code == "RD624"
    assert found.message.startswith("`fc` is a matrix product in fp32")
    bf16 = residual_net(tmp_path / "bf16.onnx", "bf16")
    (found,) = findings(bf16, targets=(75,))
    assert (found.code, found.message) == ("RD624", "bf16 cannot be computed on sm75")


def test_turing_builds_fp16_and_fp32_without_a_matrix_product(tmp_path):
    for name, precision, classifier in (("a", "fp16", True), ("b", "fp32", False)):
        onnx = residual_net(tmp_path / f"{name}.onnx", precision, classifier=classifier)
        report = build_engine(onnx, tmp_path / f"{name}.engine", EngineOptions(targets=(75,)))
        assert report.targets == (75,)


def test_int8_is_read_off_its_quantisers_and_comes_with_advice(tmp_path):
    onnx = residual_net(tmp_path / "net.onnx", quantised=True)
    report = build_engine(onnx, tmp_path / "net.engine", EngineOptions(precision="int8"))
    assert report.precision == "int8"
    assert "may be slower than fp16" in report.notes[0]


@pytest.mark.parametrize(
    ("code", "rest", "targets"),
    [("INT8", "fp16", (86,)), ("INT8", "fp32", (86,)), ("FLOAT8E4M3FN", "bf16", (89,))],
)
def test_a_quantised_graph_is_named_by_its_codes_and_by_what_the_rest_is(
    tmp_path, code, rest, targets
):
    onnx = residual_net(tmp_path / "net.onnx", rest, quantised=True, code=code)
    precision = "int8" if code == "INT8" else "fp8"
    options = EngineOptions(precision=precision, rest=rest, targets=targets)
    report = build_engine(onnx, tmp_path / "net.engine", options)
    assert (report.precision, report.rest) == (precision, rest)
    assert report.as_dict()["rest"] == rest


def test_a_graph_that_computes_in_two_types_is_named_by_both(tmp_path):
    onnx = residual_net(tmp_path / "net.onnx", "fp16", wide="avgpool")
    report = build_engine(onnx, tmp_path / "net.engine", EngineOptions(targets=(86,)))
    assert (report.precision, report.rest) == ("fp16", "fp32")


def test_casts_of_inputs_and_outputs_are_no_second_type(tmp_path):
    onnx = residual_net(tmp_path / "net.onnx", "fp16", casts=True)
    report = build_engine(onnx, tmp_path / "net.engine", EngineOptions(targets=(86,)))
    assert (report.precision, report.rest) == ("fp16", None)
    assert report.inputs[0].data_type == "float32"


def test_a_rest_that_the_graph_has_not_got_is_refused(tmp_path):
    onnx = residual_net(tmp_path / "net.onnx", quantised=True)
    (found,) = findings(onnx, precision="int8", rest="bf16")
    assert found.code == "RD624"
    assert found.message == (
        "the engine was to be int8 with the rest in bf16, and the ONNX graph is int8 with the rest in fp16"
    )
    assert "--precision int8 --rest bf16" in (found.hint or "")
    onnx = residual_net(tmp_path / "fp8.onnx", quantised=True, code="FLOAT8E4M3FN")
    (found,) = findings(onnx, targets=(86,))
    assert (found.code, found.message) == ("RD624", "fp8 cannot be computed on sm86")
