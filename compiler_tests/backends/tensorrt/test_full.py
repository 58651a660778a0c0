"""Full TensorRT, 10 and 11, by the same worker: what is set on the builder, and on which GPU it builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from compiler_tests.backends.tensorrt.full import ELEVEN, TEN, install, settings_of
from compiler_tests.backends.tensorrt.models import residual_net
from resnet_dsl.backends.tensorrt.builder import build_engine, build_engines
from resnet_dsl.backends.tensorrt.header import read_header
from resnet_dsl.backends.tensorrt.options import EngineOptions, Profile, Range
from resnet_dsl.backends.tensorrt.products import TENSORRT
from resnet_dsl.backends.tensorrt.report import EngineReport
from resnet_dsl.errors import CompileError, Diagnostic

SEVERAL = "Tesla T4:75,NVIDIA A100:80,NVIDIA H200:90"


def build(folder: Path, **options: Any) -> EngineReport:
    onnx = residual_net(folder / "net.onnx")
    return build_engine(onnx, folder / "net.engine", EngineOptions(**options))


def finding(folder: Path, **options: Any) -> Diagnostic:
    with pytest.raises(CompileError) as raised:
        build(folder, **options)
    (found,) = raised.value.diagnostics
    assert not (folder / "net.engine").exists()
    return found


@pytest.mark.parametrize("version", [TEN, "10.16.1.11", ELEVEN])
def test_every_release_builds_strongly_typed_and_in_detail(tmp_path, monkeypatch, version):
    install(monkeypatch, version)
    report = build(tmp_path)
    found = settings_of(report.engine)
    assert (report.product, report.version, report.precision) == ("tensorrt", version, "fp16")
    assert (report.targets, report.gpu) == ((80,), "NVIDIA A100")
    assert found["strongly_typed"] is True
    assert found["always_strongly_typed"] is version.startswith("11")
    assert (found["flags"], found["hardware"], found["verbosity"]) == ([], "NONE", "DETAILED")
    assert found["pools"] == {}
    (profile,) = found["profiles"]
    assert profile["input"] == [[1, 8, 32, 32], [8, 8, 32, 32], [64, 8, 32, 32]]
    assert read_header(report.engine).product is TENSORRT


@pytest.mark.parametrize("version", [TEN, ELEVEN])
@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ({"version_compatible": True}, ["VERSION_COMPATIBLE"]),
        (
            {"version_compatible": True, "exclude_lean_runtime": True},
            ["VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME"],
        ),
        ({"refit": True}, ["REFIT"]),
        ({"strip": True}, ["STRIP_PLAN"]),
        ({"refit": True, "strip": True}, ["REFIT", "STRIP_PLAN"]),
    ],
    ids=lambda item: "+".join(item),
)
def test_options_are_flags_of_the_builder(tmp_path, monkeypatch, version, options, flags):
    install(monkeypatch, version)
    report = build(tmp_path, **options)
    assert settings_of(report.engine)["flags"] == flags
    assert report.refit is options.get("refit", False)
    assert report.stripped is options.get("strip", False)
    assert report.version_compatible is options.get("version_compatible", False)
    assert any("holds no weights" in note for note in report.notes) is report.stripped


@pytest.mark.parametrize(("precision", "flags"), [("fp32", []), ("tf32", ["TF32"])])
def test_fp32_is_fp32_unless_tf32_is_asked_for(tmp_path, monkeypatch, precision, flags):
    install(monkeypatch)
    onnx = residual_net(tmp_path / "net.onnx", "fp32")
    report = build_engine(onnx, tmp_path / "net.engine", EngineOptions(precision=precision))
    assert (report.precision, settings_of(report.engine)["flags"]) == (precision, flags)


def test_a_limit_and_several_profiles_reach_the_builder(tmp_path, monkeypatch):
    install(monkeypatch)
    profiles = (Profile(Range(1, 1, 1)), Profile(Range(1, 32, 128)))
    report = build(tmp_path, profiles=profiles, workspace_mib=512)
    found = settings_of(report.engine)
    assert found["pools"] == {"WORKSPACE": 512 << 20}
    assert [item["input"][2][0] for item in found["profiles"]] == [1, 128]
    assert report.profiles == profiles


@pytest.mark.parametrize("version", [TEN, ELEVEN])
@pytest.mark.parametrize("level", ["ampere_plus", "same_compute_capability"])
def test_hardware_compatibility_is_set_and_reported(tmp_path, monkeypatch, version, level):
    install(monkeypatch, version)
    report = build(tmp_path, hardware=level)
    assert settings_of(report.engine)["hardware"] == level.upper()
    assert report.as_dict()["compatibility"] == {"hardware": level, "version": False}
    assert any("may be slower" in note for note in report.notes)


def test_a_level_that_the_release_has_not_got_is_refused(tmp_path, monkeypatch):
    install(monkeypatch, "10.12.0.36", old_levels="1")
    found = finding(tmp_path, hardware="same_compute_capability")
    assert found.code == "RD638"
    assert found.message == (
        "TensorRT 10.12.0.36 has no HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY"
    )
    assert found.hint == "`pip install tensorrt --upgrade`"


def test_a_release_that_is_too_old_is_refused(tmp_path, monkeypatch):
    install(monkeypatch, "10.0.1.6")
    found = finding(tmp_path)
    assert (found.code, found.message) == ("RD639", "TensorRT 10.0.1.6 is too old")
    assert found.hint == "`pip install tensorrt --upgrade`"


def test_a_driver_that_is_too_old_is_told_as_that(tmp_path, monkeypatch):
    said = "CUDA initialization failure with error: 35. Please check your CUDA installation"
    install(monkeypatch, driver=said)
    found = finding(tmp_path)
    assert (found.code, found.why) == ("RD639", said)
    assert found.message == f"the NVIDIA driver is too old for TensorRT {TEN}"
    install(monkeypatch, driver="CUDA initialization failure with error: 999")
    found = finding(tmp_path)
    assert (found.code, found.message) == ("RD628", "TensorRT cannot start its builder")
    assert found.why == "CUDA initialization failure with error: 999"


def test_without_a_gpu_it_is_said_what_builds_without_one(tmp_path, monkeypatch):
    install(monkeypatch, gpus="")
    found = finding(tmp_path)
    assert found.code == "RD621"
    assert "`pip install tensorrt-rtx`" in (found.hint or "")


def test_the_engine_is_built_on_the_gpu_that_was_named(tmp_path, monkeypatch):
    install(monkeypatch, gpus=SEVERAL)
    assert build(tmp_path).gpu == "Tesla T4"
    report = build(tmp_path, targets=(90,))
    assert (report.targets, report.gpu) == ((90,), "NVIDIA H200")
    assert settings_of(report.engine)["gpu"] == "NVIDIA H200"


def test_a_gpu_that_is_not_at_hand_is_refused_with_those_that_are(tmp_path, monkeypatch):
    install(monkeypatch, gpus=SEVERAL)
    found = finding(tmp_path, targets=(89,))
    assert (found.code, found.message) == ("RD623", "TensorRT cannot build for sm89 (Ada) here")
    assert found.why is not None
    assert "Tesla T4, sm75 (Turing), NVIDIA A100, sm80" in found.why


def test_a_gpu_that_is_too_old_for_the_product_is_refused(tmp_path, monkeypatch):
    install(monkeypatch, gpus="Tesla V100:70")
    found = finding(tmp_path)
    assert found.code == "RD623"
    assert found.message == "TensorRT builds no engine for `Tesla V100` (sm70, Volta)"


def test_each_gpu_gets_an_engine_of_its_own(tmp_path, monkeypatch):
    install(monkeypatch, gpus=SEVERAL)
    onnx = residual_net(tmp_path / "net.onnx")
    reports = build_engines(onnx, tmp_path / "out" / "net.fp16", EngineOptions(targets=(75, 90)))
    assert [item.engine.name for item in reports] == ["net.fp16.engine", "net.fp16.sm75.engine"]
    assert [settings_of(item.engine)["gpu"] for item in reports] == ["NVIDIA H200", "Tesla T4"]


def test_one_engine_for_all_from_ampere_on_serves_several(tmp_path, monkeypatch):
    install(monkeypatch, gpus=SEVERAL)
    onnx = residual_net(tmp_path / "net.onnx")
    options = EngineOptions(targets=(86, 90), hardware="ampere_plus")
    (report,) = build_engines(onnx, tmp_path / "net.fp16", options)
    assert (report.targets, report.gpu) == ((86, 90), "NVIDIA H200")
    assert build(tmp_path, hardware="ampere_plus").gpu == "NVIDIA A100"


@pytest.mark.parametrize(
    ("gpus", "targets", "message"),
    [
        ("Tesla T4:75", None, "TensorRT builds an engine for all GPUs from Ampere on only on one"),
        (SEVERAL, (75, 90), "an engine for all GPUs from Ampere on does not run on sm75 (Turing)"),
    ],
)
def test_turing_takes_no_part_in_it(tmp_path, monkeypatch, gpus, targets, message):
    install(monkeypatch, gpus=gpus)
    found = finding(tmp_path, hardware="ampere_plus", targets=targets)
    assert found.code == "RD638"
    assert found.message.startswith(message)


@pytest.mark.parametrize(
    "said",
    [
        "IBuilder::buildSerializedNetwork: Error Code 2: OutOfMemory (Requested size was 9 bytes.)",
        "[defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)",
        "Requested amount of GPU memory (1024 bytes) could not be allocated.",
    ],
)
def test_too_little_memory_is_called_so(tmp_path, monkeypatch, said):
    install(monkeypatch, error=said)
    found = finding(tmp_path)
    assert found.code == "RD604"
    assert found.message == "the memory does not suffice for TensorRT to build this engine"
    assert "--batch 1/4/16" in (found.hint or "")


def test_what_cannot_be_built_is_named_with_its_block(tmp_path, monkeypatch):
    said = "Error Code 10: Internal Error (Could not find any implementation for node layer1.0.conv1 + layer1.0.relu1.)"
    install(monkeypatch, error=said)
    onnx = residual_net(tmp_path / "net.onnx")
    with pytest.raises(CompileError) as raised:
        build_engine(onnx, tmp_path / "net.engine", blocks={"layer1.0.conv1": "layer1.0"})
    (found,) = raised.value.diagnostics
    assert found.message == (
        "TensorRT cannot build an engine from this graph: the block `layer1.0` (`layer1.0.conv1`)"
    )
    assert "Could not find any implementation" in (found.why or "")
