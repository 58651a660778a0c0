"""Every backend that is installed, in a process of its own, on one small network: all give the same numbers."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from compiler_tests.commands.running import SMALL
from resnet_dsl.backends.tensorrt import builder
from resnet_dsl.backends.tensorrt.device import Device
from resnet_dsl.backends.tensorrt.options import EngineOptions
from resnet_dsl.bench.candidates import BACKENDS, Candidate, Precision, compiler
from resnet_dsl.bench.child import Child
from resnet_dsl.bench.messages import Device as Where
from resnet_dsl.bench.messages import (
    Failed,
    Load,
    Loaded,
    Measure,
    Measured,
    Prepare,
    Prepared,
)
from resnet_dsl.commands import benchmark_files
from resnet_dsl.commands.benchmark_files import Files
from resnet_dsl.compiler import compile_spec
from resnet_dsl.errors import CompileError
from resnet_dsl.weights.store import SeededWeights

LIMIT_S = 300.0
KNOWN = {backend.name: backend for backend in BACKENDS}
ON_GPU = ("torch", "torch-compile", "aotinductor", "tensorrt", "tensorrt-rtx")
slow, gpu = pytest.mark.slow, pytest.mark.gpu


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return files_for(tmp_path, "cpu")


def files_for(folder: Path, device: Where) -> Files:
    spec = folder / "small.yaml"
    spec.write_text(SMALL)
    return Files(folder, compile_spec(spec), SeededWeights(3), None, device, 1, (1, 4))


def installed(name: str) -> Candidate:
    """The backend in fp32, or the test is skipped."""
    backend = KNOWN[name]
    for package in backend.packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    if backend.compiles and compiler() is None:
        pytest.skip("no C++ compiler")
    return Candidate(backend, "fp32")


@contextmanager
def loaded(load: Load) -> Iterator[Child]:
    child = Child(1)
    try:
        answer = child.ask(load, LIMIT_S)
        assert isinstance(answer, Loaded), answer
        yield child
    finally:
        child.end()


def measured(load: Load, batch: int = 4) -> tuple[Prepared, Measured]:
    with loaded(load) as child:
        ready = child.ask(Prepare(batch, 0.05), LIMIT_S)
        assert isinstance(ready, Prepared), ready
        found = child.ask(Measure(batch, 0.05), LIMIT_S)
        assert isinstance(found, Measured), found
    return ready, found


def check(ready: Prepared, found: Measured) -> None:
    assert len(ready.output) == 10
    assert ready.warm_up >= 2
    assert ready.memory is None or ready.memory > 0
    assert all(seconds > 0 for seconds in found.times)
    assert found.rate > 0


def near(output: list[float], expected: list[float], share: float = 1e-4) -> bool:
    scale = max(map(abs, expected))
    return max(abs(a - b) for a, b in zip(output, expected, strict=True)) <= share * scale


def of_graph(files: Files) -> list[float]:
    """What ONNX Runtime gives, which the others are compared with."""
    pytest.importorskip("onnxruntime")
    return measured(files.load(installed("onnxruntime")))[0].output


def test_onnx_runtime(files: Files) -> None:
    ready, found = measured(files.load(installed("onnxruntime")))
    check(ready, found)
    assert sum(found.times) == pytest.approx(len(found.times) / found.rate, rel=0.05)


def test_onnx_runtime_in_int8_is_near(files: Files) -> None:
    candidate = Candidate(KNOWN["onnxruntime"], "int8")
    installed("onnxruntime")
    ready, found = measured(files.load(candidate))
    check(ready, found)
    assert near(ready.output, of_graph(files), 0.2)
    assert files.notes == [("scales", "from noise: the int8 network is for its speed only")]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_openvino(files: Files, precision: Precision) -> None:
    installed("openvino")
    ready, found = measured(files.load(Candidate(KNOWN["openvino"], precision)))
    check(ready, found)
    assert near(ready.output, of_graph(files), 1e-4 if precision == "fp32" else 0.2)


@slow
def test_torch_takes_the_faster_layout(files: Files) -> None:
    ready, found = measured(files.load(installed("torch")))
    check(ready, found)
    assert ready.about["layout"] in ("NCHW", "NHWC")
    assert near(ready.output, of_graph(files))
    halves = measured(files.load(Candidate(KNOWN["torch"], "bf16")))[0]
    assert near(halves.output, ready.output, 0.05)


@slow
@pytest.mark.parametrize("name", ["torch-compile", "aotinductor"])
def test_compiled_by_inductor(files: Files, name: str) -> None:
    ready, found = measured(files.load(installed(name)), batch=1)
    check(ready, found)
    assert ready.compile_s > 0
    assert near(ready.output, of_graph(files))


@slow
def test_torchvisions_network_takes_our_weights_and_gives_our_numbers(tmp_path: Path) -> None:
    from resnet_dsl.catalogue import find_spec

    ours, theirs = installed("torch"), installed("torchvision")
    spec = find_spec("resnet18")
    compilation = compile_spec(spec, ("input.size=32",))
    files = Files(tmp_path, compilation, SeededWeights(0), None, "cpu", 1, (1,))
    (mine, _), (their, found) = (measured(files.load(item), 1) for item in (ours, theirs))
    check(their, found)
    assert near(their.output, mine.output)


@pytest.mark.parametrize("precision", ["fp32", "int8", pytest.param("bf16", marks=slow)])
def test_a_product_of_matrices_is_counted_in_operations(precision: str) -> None:
    pytest.importorskip("onnxruntime")
    load = Load("matmul", precision, "cpu", 1, "", [])
    ready, found = measured(load, 1)
    side = round((ready.output[0] / 2) ** (1 / 3))
    assert ready.output == [2.0 * side**3]
    assert side >= 1024
    assert ready.about["by"] in ("NumPy", "torch", "oneDNN", "ONNX Runtime")
    assert found.rate > 0


def test_a_precision_that_nothing_here_multiplies_is_said_to_be_unsupported() -> None:
    with loaded(Load("matmul", "int4", "cpu", 1, "", [])) as child:
        answer = child.ask(Prepare(1, 0.0), LIMIT_S)
    assert answer == Failed("unsupported", "no library here multiplies int4 matrices")


def test_a_file_that_is_no_graph_is_a_failure_that_is_told(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    file = tmp_path / "not.onnx"
    file.write_text("text")
    child = Child(1)
    try:
        answer = child.ask(Load("onnx_runtime", "fp32", "cpu", 1, "net", [1, 8, 8], str(file)), 60)
    finally:
        child.end()
    assert isinstance(answer, Failed)
    assert "not.onnx" in answer.why


@gpu
@slow
@pytest.mark.parametrize("name", ON_GPU)
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_on_a_gpu(tmp_path: Path, name: str, precision: Precision) -> None:
    installed(name)
    files = files_for(tmp_path, "cuda")
    ready, found = measured(files.load(Candidate(KNOWN[name], precision)))
    check(ready, found)
    assert near(ready.output, of_graph(files_for(tmp_path, "cpu")), 0.05)


@gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16", "int8"])
def test_products_on_a_gpu(precision: str) -> None:
    ready, found = measured(Load("matmul", precision, "cuda", 1, "", []), 1)
    assert ready.output[0] * found.rate > 1e12


@slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_an_engine_has_a_profile_for_each_batch_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision
) -> None:
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setattr(benchmark_files, "local_gpus", lambda: (Device("a GPU", 89),))
    built: list[EngineOptions] = []
    original = builder.build_engine

    def build(model: Path, engine: Path, options: EngineOptions) -> object:
        built.append(options)
        return original(model, engine, options)

    monkeypatch.setattr(builder, "build_engine", build)
    load = files_for(tmp_path, "cuda").load(Candidate(KNOWN["tensorrt-rtx"], precision))
    assert load.file is not None
    assert Path(load.file).read_bytes().startswith(b"vtrt")
    (options,) = built
    assert options.targets == (89,)
    assert [str(profile) for profile in options.profiles or ()] == ["batch 1/1/1", "batch 4/4/4"]


@pytest.mark.parametrize("name", ["tensorrt", "tensorrt-rtx"])
def test_a_gpu_that_an_engine_cannot_be_built_for_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(benchmark_files, "local_gpus", lambda: (Device("a GPU", 90),))
    with pytest.raises(CompileError):
        files_for(tmp_path, "cuda").load(Candidate(KNOWN[name], "fp16"))
