"""Real engines, built with TensorRT for RTX and no GPU."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from compiler_tests.backends.tensorrt.models import residual_net
from resnet_dsl.backends.tensorrt import device, products
from resnet_dsl.backends.tensorrt.builder import build_engine
from resnet_dsl.backends.tensorrt.child import Progress
from resnet_dsl.backends.tensorrt.header import read_header
from resnet_dsl.backends.tensorrt.manifest import manifest
from resnet_dsl.backends.tensorrt.options import EngineOptions, Profile, Range
from resnet_dsl.backends.tensorrt.report import NOT_EXECUTED
from resnet_dsl.errors import CompileError, Diagnostic

pytestmark = pytest.mark.skipif(
    products.RTX not in products.available(), reason="tensorrt_rtx is not installed"
)


@pytest.fixture(scope="module")
def fp16(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fp16")
    heard: list[Progress] = []
    report = build_engine(
        residual_net(folder / "net.onnx"), folder / "out" / "net.engine", on_progress=heard.append
    )
    return report, heard


def findings(onnx: Path, **options: Any) -> tuple[Diagnostic, ...]:
    with pytest.raises(CompileError) as raised:
        build_engine(onnx, onnx.parent / "net.engine", EngineOptions(**options))
    assert not (onnx.parent / "net.engine").exists()
    return raised.value.diagnostics


def test_a_net_becomes_an_engine_for_three_generations(fp16):
    report, _ = fp16
    content = report.engine.read_bytes()
    assert (report.product, report.precision) == ("tensorrt_rtx", "fp16")
    assert report.targets == (86, 89, 120)
    assert report.profiles == (Profile(Range(1, 8, 64)),)
    assert (report.size, report.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    onnx = report.engine.parent.parent / "net.onnx"
    assert report.onnx_sha256 == hashlib.sha256(onnx.read_bytes()).hexdigest()
    assert read_header(report.engine).version == report.version
    (put,), (got,) = report.inputs, report.outputs
    assert (put.name, put.data_type, put.shape) == ("input", "float16", (-1, 8, 32, 32))
    assert (got.name, got.data_type, got.shape) == ("logits", "float16", (-1, 10))
    assert [item.name for item in report.engine.parent.iterdir()] == ["net.engine"]


def test_every_residual_addition_fuses_into_a_convolution(fp16):
    report, _ = fp16
    additions = ("layer1.0.add", "layer2.0.add")
    for addition in additions:
        (kernel,) = [item for item in report.kernels if addition in item.nodes]
        assert any("conv" in node or "downsample" in node for node in kernel.nodes)
        assert len(kernel.inputs) == 2
    assert len(report.kernels) <= 10
    assert sum(report.kernel_kinds().values()) == len(report.kernels)


def test_the_report_says_what_it_took_and_that_nothing_was_executed(fp16):
    report, _ = fp16
    assert set(report.stages) == {"load", "parse", "build", "write"}
    assert 0 < sum(report.stages.values()) <= report.seconds
    assert report.weight_memory > 20_000
    assert report.scratch_memory > 0
    assert report.notes[-1] == NOT_EXECUTED
    as_dict = json.loads(json.dumps(report.as_dict()))
    assert as_dict["targets"] == ["sm86", "sm89", "sm120"]
    assert as_dict["kernel_count"] == len(report.kernels)
    assert "log" not in as_dict


def test_progress_goes_through_the_stages_and_rises(fp16):
    _, heard = fp16
    stages = list(dict.fromkeys(item.stage for item in heard))
    assert stages == ["load", "parse", "build", "write"]
    fractions = [item.fraction for item in heard if item.fraction is not None]
    assert len(fractions) > 5
    assert fractions == sorted(fractions)
    assert 0 < fractions[0] <= fractions[-1] <= 1


def test_the_manifest_is_the_same_for_the_same_engine_and_holds_no_time(fp16, tmp_path):
    report, _ = fp16
    again = build_engine(residual_net(tmp_path / "net.onnx"), tmp_path / "net.engine")
    first, second = (
        manifest(
            item,
            spec_name="small",
            spec_hash="a" * 64,
            weights_hash="b" * 64,
            onnx_sha256="c" * 64,
            input_shape=(8, 32, 32),
            preprocessing={"mean": [0.5] * 8},
            class_names=["cat", "dog"],
        )
        for item in (report, again)
    )
    assert json.dumps(first) == json.dumps(second)
    assert json.loads(json.dumps(first)) == first
    assert first["engine"]["sha256"] == report.sha256
    assert first["engine"]["executed"] is False
    assert "seconds" not in json.dumps(first)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_precision_is_read_off_the_graph(tmp_path, precision):
    onnx = residual_net(tmp_path / "net.onnx", precision, shape=(2, 8, 16, 16))
    report = build_engine(onnx, tmp_path / "net.engine", EngineOptions(targets=(86,)))
    assert report.precision == precision
    assert report.profiles == ()
    assert report.inputs[0].shape == (2, 8, 16, 16)


def test_tf32_is_asked_for_over_an_fp32_graph(tmp_path):
    onnx = residual_net(tmp_path / "net.onnx", "fp32")
    options = EngineOptions(precision="tf32", targets=(86,), workspace_mib=256)
    assert build_engine(onnx, tmp_path / "net.engine", options).precision == "tf32"


def test_a_precision_that_the_graph_has_not_got_is_refused(tmp_path):
    (found,) = findings(residual_net(tmp_path / "net.onnx", "fp32"), precision="fp16")
    assert found.code == "RD624"
    assert found.message == "the engine was to be fp16, and the ONNX graph is fp32"


def test_a_symbolic_size_needs_a_range_and_takes_it(tmp_path):
    onnx = residual_net(tmp_path / "net.onnx", shape=("N", 8, "H", "W"))
    found = findings(onnx)
    assert [item.message for item in found] == [
        "the graph's height is symbolic, and the profile gives no range for it",
        "the graph's width is symbolic, and the profile gives no range for it",
    ]
    sizes = Range(16, 32, 48)
    options = EngineOptions(
        profiles=(Profile(Range(1, 2, 4), sizes, sizes), Profile(Range(8, 8, 8), sizes, sizes))
    )
    report = build_engine(onnx, tmp_path / "net.engine", options)
    assert report.profiles == options.profiles


def test_a_profile_that_a_fixed_graph_cannot_take_is_refused(tmp_path):
    onnx = residual_net(tmp_path / "net.onnx", shape=(4, 8, 32, 32))
    (found,) = findings(onnx, profiles=(Profile(Range(1, 8, 64)),))
    assert found.code == "RD625"
    assert found.message == (
        "the graph's batch is fixed at 4, so the profile's 1/8/64 cannot apply"
    )
    assert found.why == "the input `input` is 4×8×32×32"
    options = EngineOptions(profiles=(Profile(Range(4, 4, 4)),))
    assert build_engine(onnx, tmp_path / "net.engine", options).profiles == ()


def test_an_engine_is_replaced_only_by_a_whole_one(tmp_path):
    engine = tmp_path / "net.engine"
    engine.write_bytes(b"before")
    with pytest.raises(CompileError):
        build_engine(residual_net(tmp_path / "bad.onnx", replace={"relu": "Gloop"}), engine)
    assert engine.read_bytes() == b"before"
    build_engine(residual_net(tmp_path / "net.onnx"), engine, EngineOptions(targets=(120,)))
    assert read_header(engine).product is products.RTX


@pytest.mark.skipif(bool(device.local_gpus()), reason="there is a GPU here")
def test_full_tensorrt_says_that_it_needs_a_gpu(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "from tensorrt_rtx import *")
    (found,) = findings(residual_net(tmp_path / "net.onnx"), product="tensorrt")
    assert found.code == "RD621"
    assert found.hint is not None
    assert "pip install tensorrt-rtx" in found.hint


def test_a_placeholder_package_is_told_apart_from_a_missing_one(tmp_path, monkeypatch):
    stand_in(tmp_path, monkeypatch, "raise RuntimeError('this wheel is a placeholder')")
    (found,) = findings(residual_net(tmp_path / "net.onnx"), product="tensorrt")
    assert found.message == "TensorRT is installed but cannot be loaded"
    assert found.why == "RuntimeError: this wheel is a placeholder"


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Put a package called `tensorrt` where the parent and the child find it."""
    package = folder / "site" / "tensorrt"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(source)
    monkeypatch.syspath_prepend(package.parent)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))


def test_a_file_in_the_working_directory_cannot_stand_in_for_a_module(tmp_path, monkeypatch):
    (tmp_path / "tensorrt_rtx.py").write_text("raise RuntimeError('taken')")
    (tmp_path / "json.py").write_text("raise RuntimeError('taken')")
    monkeypatch.chdir(tmp_path)
    onnx = residual_net(tmp_path / "net.onnx")
    assert build_engine(onnx, tmp_path / "net.engine", EngineOptions(targets=(86,))).size > 0


def test_the_parent_loads_no_tensorrt_and_the_child_only_that():
    program = (
        "import sys, resnet_dsl.backends.tensorrt.{}; heavy = {{'tensorrt_rtx', 'tensorrt', 'torch', 'onnx', 'numpy', "
        "'pydantic', 'yaml', 'rich'}} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
    )
    for module in ("builder", "worker"):
        subprocess.run([sys.executable, "-c", program.format(module)], check=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_an_exported_resnet_becomes_an_engine_with_every_addition_fused(tmp_path):
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    net = torchvision.models.resnet18().eval().half()
    torch.onnx.export(
        net,
        (torch.zeros(1, 3, 64, 64, dtype=torch.half),),
        str(tmp_path / "net.onnx"),
        dynamo=False,
        opset_version=17,
        input_names=["input"],
        output_names=["logits"],
        dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
    )
    report = build_engine(tmp_path / "net.onnx", tmp_path / "net.engine")
    assert report.precision == "fp16"
    kernels = report.kernels or ()
    fused = [item for item in kernels if any(node.endswith("/Add") for node in item.nodes)]
    assert len(fused) == 8
    assert all(any("Conv" in node for node in item.nodes) for item in fused)
