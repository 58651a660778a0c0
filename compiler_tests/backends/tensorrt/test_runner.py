"""The program that runs an engine: it is clean, says why it cannot run, and runs with stand-ins of a few lines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from compiler_tests.backends.tensorrt import fakes
from compiler_tests.backends.tensorrt.engines import (
    VERSIONS,
    engine_bytes,
    manifest_of,
    write_engine,
)
from compiler_tests.backends.tensorrt.models import residual_net
from compiler_tests.commands.running import without
from compiler_tests.emitted import import_file, is_clean, is_typed
from resnet_dsl.backends.tensorrt import products
from resnet_dsl.backends.tensorrt.builder import build_engine
from resnet_dsl.backends.tensorrt.device import local_gpus
from resnet_dsl.backends.tensorrt.manifest import Manifest, manifest
from resnet_dsl.backends.tensorrt.options import EngineOptions, Profile, Range
from resnet_dsl.backends.tensorrt.products import RTX
from resnet_dsl.backends.tensorrt.runner import runner_file, runner_source

PRODUCTS = ["tensorrt_rtx", "tensorrt"]
SMALL: dict[str, Any] = {
    "input_shape": [3, 4, 4],
    "preprocessing": {"resize": 6, "crop": [4, 4], "mean": [0.5, 0.4, 0.3], "std": [0.25]},
}
PROFILES: list[fakes.Profile] = [
    ((1, 3, 4, 4), (2, 3, 4, 4), (4, 3, 4, 4)),
    ((8, 3, 4, 4), (16, 3, 4, 4), (16, 3, 4, 4)),
]


def write_runner(folder: Path, product: str = "tensorrt_rtx", **changes: Any) -> Path:
    """An engine that is none, and the program that would run it."""
    write_engine(folder, product, **changes)
    path = folder / "run.py"
    path.write_text(runner_source(manifest_of(engine_bytes(product), product, **changes)))
    return path


# ---- what is emitted


@pytest.mark.slow
@pytest.mark.parametrize("product", PRODUCTS)
def test_programs_are_formatted_linted_and_typed(tmp_path: Path, product: str) -> None:
    def source(name: str, **changes: Any) -> Path:
        path = tmp_path / name
        path.write_text(runner_source(manifest_of(engine_bytes(product), product, **changes)))
        return path

    compatible = {"compatibility": {"hardware": "ampere_plus", "version": True}}
    names = ["cat", 'a "big" dog', 'tri"""ple', "back\\slash", "ö\u202e\n", "", "x" * 300]
    long = ["cat", "a long name " * 20]
    paths = [
        source("whole.py"),
        source("bare.py", preprocessing=None, class_names=None),
        source("grey.py", preprocessing={"mean": [0.5], "std": [1]}, input_shape=[1, 8, 8]),
        source("long.py", class_names=long),
        source("odd.py", class_names=names, engine=compatible, input_shape=[16, 8, 8]),
        source("mean.py", preprocessing={"mean": [0.5], "std": [1], "mean_image_sha256": "aa"}),
    ]
    is_clean(*paths)
    is_typed(*paths[:2])


def test_what_is_known_of_an_engine_stands_in_constants(tmp_path: Path) -> None:
    module = import_file(write_runner(tmp_path))
    content = engine_bytes()
    assert (module.ENGINE, module.PRODUCT) == ("net.fp16.engine", "tensorrt_rtx")
    assert manifest_of(content).engine.sha256 == module.SHA256
    assert (module.VERSION, module.CAPABILITIES) == ("1.7.1.116", (86, 89))
    assert (module.RESIZE, module.SIZE) == (256, (224, 224))
    assert module.MEAN == (0.485, 0.456, 0.406)
    assert module.CLASSES == ["cat", "dog", "newt"]


def test_names_of_classes_come_through_as_they_are(tmp_path: Path) -> None:
    names = ['"', '"""', 'a"""b\\', "\\n", "ö", "{{ x }}", "", "%s", "\ufeff", "\U0001f600"]
    module = import_file(write_runner(tmp_path, class_names=names))
    assert names == module.CLASSES
    nameless = tmp_path / "nameless"
    nameless.mkdir()
    assert import_file(write_runner(nameless, class_names=None)).CLASSES == []


def test_each_engine_has_a_program_of_its_own() -> None:
    def made(file: str) -> Manifest:
        return manifest_of(engine_bytes(), engine={"file": file})

    assert runner_file(made("net.fp16.engine")) == "run_net_fp16.py"
    assert runner_file(made("net-2+a.int8.sm75.engine")) == "run_net_2_a_int8_sm75.py"
    source = runner_source(made("net.fp16.sm75.engine"))
    assert "from run_net_fp16_sm75 import Engine" in source
    assert "python run_net_fp16_sm75.py --benchmark" in source


def test_where_preparation_is_not_known_image_files_are_not_read(tmp_path: Path) -> None:
    unknown: list[dict[str, Any] | None] = [
        None,
        {},
        {"mean": None, "std": None, "resize": 4},
        {"mean": [0.5], "std": [0.0]},
        {"mean": ["x"], "std": [1.0]},
        {"mean": [0.5, 0.5], "std": [1.0]},
        {"mean": [0.5], "std": [1.0], "mean_image_sha256": "aa"},
    ]
    for said in unknown:
        source = runner_source(manifest_of(engine_bytes(), preprocessing=said))
        assert "def read_array" in source
        assert "read_image" not in source
        assert "standardise(" not in source


# ---- where it cannot run: the real program in a process of its own


def ended(runner: Path, *arguments: str | Path, env: dict[str, str] | None = None) -> str:
    """The program's last words, with which it ends with status 2."""
    done = subprocess.run(
        [sys.executable, runner, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=env,
        check=False,
        timeout=100,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def bare(folder: Path, packages: str) -> dict[str, str]:
    return without(packages, folder / "blocked")


def test_an_engine_that_is_not_there_or_was_altered_is_refused(tmp_path: Path) -> None:
    runner = write_runner(tmp_path)
    engine = tmp_path / "net.fp16.engine"
    content = engine.read_bytes()
    engine.write_bytes(content[:-1] + b"\xff")
    said = ended(runner, "--benchmark")
    assert said.startswith(f"error: {engine} is damaged, or another engine than was built\n")
    assert "resnet-dsl compile SPEC --target tensorrt --precision fp16" in said
    engine.write_bytes(content[:-1])
    assert "is damaged" in ended(runner, "--benchmark")
    engine.write_bytes(engine_bytes("tensorrt"))
    assert "is an engine of TensorRT, and this program runs one of TensorRT for RTX" in ended(
        runner, "--benchmark"
    )
    engine.write_bytes(b"")
    assert "is no TensorRT engine" in ended(runner, "--benchmark")
    engine.unlink()
    assert "cannot be read: No such file or directory" in ended(runner, "--benchmark")


def test_a_product_that_is_not_installed_is_named(tmp_path: Path) -> None:
    env = bare(tmp_path, "tensorrt_rtx,torch")
    said = ended(write_runner(tmp_path), "--benchmark", env=env)
    assert "TensorRT for RTX cannot be imported: No module named 'tensorrt_rtx'" in said
    assert "pip install 'tensorrt-rtx==1.7.1.*'" in said


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    assert "name image files, or give --npy FILE or --benchmark" in ended(write_runner(tmp_path))


@pytest.mark.slow
@pytest.mark.skipif(RTX not in products.available(), reason="needs tensorrt_rtx")
@pytest.mark.skipif(bool(local_gpus()), reason="for a machine without a GPU")
@pytest.mark.parametrize("blocked", ["torch", "cuda", "torch,cuda"])
def test_without_a_gpu_it_says_so(tmp_path: Path, blocked: str) -> None:
    version = ".".join(map(str, _installed_version()))
    runner = write_runner(tmp_path, engine={"version": version})
    said = ended(runner, "--benchmark", env=bare(tmp_path, blocked))
    if blocked == "torch,cuda":
        assert "neither torch nor cuda-python is installed" in said
    else:
        assert "there is no NVIDIA GPU here" in said
        assert "run it on a machine with one" in said


CALLED = {
    "Logger": "WARNING",
    "Runtime": "deserialize_cuda_engine engine_host_code_allowed",
    "ICudaEngine": "num_io_tensors get_tensor_name get_tensor_dtype get_tensor_shape num_optimization_profiles "
    "get_tensor_profile_shape create_execution_context create_runtime_config",
    "IExecutionContext": "set_optimization_profile_async set_input_shape get_tensor_shape set_tensor_address "
    "execute_async_v3",
    "IRuntimeConfig": "cuda_graph_strategy dynamic_shapes_kernel_specialization_strategy create_runtime_cache "
    "set_runtime_cache",
    "IRuntimeCache": "serialize deserialize",
    "CudaGraphStrategy": "WHOLE_GRAPH_CAPTURE",
    "DynamicShapesKernelSpecializationStrategy": "EAGER",
    "DataType": "FLOAT HALF INT8 UINT8 INT32 INT64 BOOL",
}


@pytest.mark.skipif(RTX not in products.available(), reason="needs tensorrt_rtx")
def test_what_a_program_calls_is_in_the_product() -> None:
    """In a process of its own, which a product may end."""
    wanted = [(owner, name) for owner, names in CALLED.items() for name in names.split()]
    both = "".join(runner_source(manifest_of(engine_bytes(item), item)) for item in PRODUCTS)
    compatible = {"compatibility": {"hardware": None, "version": True}}
    both += runner_source(manifest_of(engine_bytes(), engine=compatible))
    assert [name for _, name in wanted if name not in both] == []
    program = (
        "import tensorrt_rtx as trt\n"
        f"print([pair for pair in {wanted!r} if not hasattr(getattr(trt, pair[0]), pair[1])])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def _installed_version() -> tuple[int, ...]:
    from importlib.metadata import version

    return tuple(map(int, version("tensorrt_rtx").split(".")[:4]))


# ---- with a product and a GPU of a few lines


class Setup:
    """An engine's program, imported, and the machine under it."""

    def __init__(self, module: ModuleType, gpu: fakes.Gpu, trt: fakes.Trt, folder: Path) -> None:
        self.module, self.gpu, self.trt, self.folder = module, gpu, trt, folder

    def count(self, event: str) -> int:
        return self.gpu.events.count(event)

    def main(self, monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", ["run.py", *map(str, arguments)])
        return int(self.module.main())


def setup(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    product: str = "tensorrt",
    by: str = "torch",
    **changes: Any,
) -> Setup:
    targets = {"engine": {"targets": ["sm89"]}}
    module = import_file(write_runner(folder, product, **SMALL | targets | changes))
    gpu = fakes.Gpu()
    trt = fakes.Trt(gpu, VERSIONS[product], PROFILES)
    torch = fakes.torch(gpu) if by == "torch" else None
    cuda = fakes.cuda_python(gpu) if by == "cuda" else None
    monkeypatch.setitem(sys.modules, product, trt.module())
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", cuda)
    monkeypatch.setitem(sys.modules, "cuda.cudart", None)
    return Setup(module, gpu, trt, folder)


def images(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, 3, 4, 4), np.float32)


def expected(batch: NDArray[np.float32]) -> NDArray[np.float32]:
    sums = batch.reshape(len(batch), -1).sum(1, dtype=np.float32)
    return np.asarray(sums[:, None] * np.arange(1, 4, dtype=np.float32), np.float32)


@pytest.mark.parametrize("by", ["torch", "cuda"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_any_number_of_images_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, product: str, by: str
) -> None:
    found = setup(tmp_path, monkeypatch, product, by)
    engine = found.module.Engine()
    assert type(engine.cuda).__name__ == {"torch": "TorchCuda", "cuda": "CudaPython"}[by]
    for count in (1, 2, 4, 5, 8, 16, 17, 39, 1, 5):
        batch = images(count, count)
        scores = engine(batch)
        assert scores.shape == (count, 3)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected(batch), rtol=1e-5, atol=1e-5)
    assert engine.batches == [1, 2, 4, 8, 16]


def test_the_nearest_profile_is_taken_and_filled_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = setup(tmp_path, monkeypatch).module.Engine()
    shape = (3, 4, 4)
    assert engine._part(1, shape) == (0, 1, 1)
    assert engine._part(4, shape) == (0, 4, 4)
    assert engine._part(5, shape) == (1, 5, 8)
    assert engine._part(9, shape) == (1, 9, 9)
    assert engine._part(100, shape) == (1, 16, 16)


def test_a_fixed_batch_is_filled_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = setup(tmp_path, monkeypatch)
    found.trt.profiles = [((4, 3, 4, 4),) * 3]
    engine = found.module.Engine()
    assert engine.batches == [4]
    for count in (1, 4, 7):
        np.testing.assert_allclose(engine(images(count)), expected(images(count)), rtol=1e-4)
    assert found.count("context") == 1


@pytest.mark.parametrize("by", ["torch", "cuda"])
def test_a_shape_is_captured_once_and_then_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    found = setup(tmp_path, monkeypatch, by=by)
    engine = found.module.Engine()
    for turn in range(3):
        np.testing.assert_allclose(engine(images(2, turn)), expected(images(2, turn)), rtol=1e-4)
    assert [found.count(event) for event in ("context", "capture", "replay")] == [1, 1, 2]
    engine(images(1))
    assert [found.count(event) for event in ("context", "capture", "replay")] == [2, 2, 2]
    np.testing.assert_allclose(engine(images(2, 7)), expected(images(2, 7)), rtol=1e-4)
    assert found.count("replay") == 3


def test_graphs_are_captured_again_where_memory_has_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = setup(tmp_path, monkeypatch, by="cuda")
    engine = found.module.Engine()
    engine(images(1))
    engine(images(4))  # needs more room, and takes it elsewhere
    assert found.count("free") == 4
    np.testing.assert_allclose(engine(images(1, 3)), expected(images(1, 3)), rtol=1e-4)
    assert (found.count("capture"), found.count("replay")) == (3, 0)
    np.testing.assert_allclose(engine(images(1, 4)), expected(images(1, 4)), rtol=1e-4)
    assert found.count("replay") == 1


def test_only_so_many_contexts_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = setup(tmp_path, monkeypatch)
    engine = found.module.Engine()
    for count in (1, 2, 3, 4, 9, 10):
        engine(images(count))
    assert len(engine.contexts) == 4
    assert found.count("context") == 6


def test_without_cuda_graphs_nothing_is_captured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = setup(tmp_path, monkeypatch)
    engine = found.module.Engine(cuda_graphs=False)
    for _ in range(3):
        engine(images(2))
    assert (found.count("capture"), found.count("run")) == (0, 3)


@pytest.mark.parametrize("by", ["torch", "cuda"])
def test_what_cannot_be_captured_is_launched_kernel_by_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, by: str
) -> None:
    found = setup(tmp_path, monkeypatch, by=by)
    found.trt.capturable = False
    engine = found.module.Engine()
    for turn in range(2):
        np.testing.assert_allclose(engine(images(2, turn)), expected(images(2, turn)), rtol=1e-4)
    assert "without CUDA graphs, which cannot be captured" in capsys.readouterr().err
    assert found.gpu.captured is None
    assert found.count("capture") == 1


def test_rtx_is_asked_to_capture_by_itself_and_to_compile_when_that_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    found = setup(tmp_path, monkeypatch, "tensorrt_rtx")
    engine = found.module.Engine()
    engine(images(1))
    engine(images(2))
    engine(images(16))
    assert found.count("context") == 2  # one for each profile
    assert found.count("capture") == 0
    settings = found.trt.settings[-1]
    assert settings.cuda_graph_strategy == "whole"
    assert not hasattr(settings, "dynamic_shapes_kernel_specialization_strategy")
    cache = tmp_path / "kernels.cache"
    engine.save_cache(cache)
    assert cache.read_bytes() == b"kernels"
    found.module.Engine(cuda_graphs=False, eager=True, cache=cache)
    settings = found.trt.settings[-1]
    assert not hasattr(settings, "cuda_graph_strategy")
    assert settings.dynamic_shapes_kernel_specialization_strategy == "eager"
    assert capsys.readouterr().err == ""
    cache.write_bytes(b"of another GPU")
    found.module.Engine(cache=cache)
    assert "left aside" in capsys.readouterr().err


def test_images_of_another_shape_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = setup(tmp_path, monkeypatch)
    engine, refused = found.module.Engine(), found.module.EngineError
    for batch in (np.zeros((3, 4, 4)), np.zeros((0, 3, 4, 4))):
        with pytest.raises(refused, match=r"images are \(N, C, H, W\), and these are"):
            engine(batch)
    with pytest.raises(refused, match=r"images are \(3, 5, 4\), and the engine takes \(3, 4, 4\)"):
        engine(np.zeros((1, 3, 5, 4), np.float32))


@pytest.mark.parametrize(
    ("product", "version", "fits"),
    [
        ("tensorrt_rtx", "1.7.1.116", True),
        ("tensorrt_rtx", "1.7.1.117", False),
        ("tensorrt", "10.13.0.35.post1", True),
        ("tensorrt", "10.14.0.1", False),
    ],
)
def test_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, product: str, version: str, fits: bool
) -> None:
    found = setup(tmp_path, monkeypatch, product)
    found.trt.version = version
    monkeypatch.setitem(sys.modules, product, found.trt.module())
    if fits:
        found.module.Engine()
    else:
        with pytest.raises(found.module.EngineError, match=f"and {version} is installed"):
            found.module.Engine()


def test_a_compatible_engine_runs_in_later_versions_and_on_newer_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = {"compatibility": {"hardware": "ampere_plus", "version": True}}
    module = setup(tmp_path, monkeypatch, engine=engine).module
    versions = ("10.13.0.35", "10.14.0.0", "10.12.9.9", "11.0.0.0")
    assert [module.version_fits(version) for version in versions] == [True, True, False, False]
    module.check_gpu(120, "NVIDIA GeForce RTX 5090")
    with pytest.raises(module.EngineError, match=r"is for Ampere \(sm80\) and newer"):
        module.check_gpu(75, "NVIDIA T4")


@pytest.mark.parametrize("by", ["torch", "cuda"])
@pytest.mark.parametrize(
    ("product", "hint"), [("tensorrt_rtx", "--gpus sm90"), ("tensorrt", "on this machine")]
)
def test_another_gpu_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, product: str, by: str, hint: str
) -> None:
    found = setup(tmp_path, monkeypatch, product, by)
    found.gpu.capability, found.gpu.name = (9, 0), "NVIDIA H200"
    monkeypatch.setitem(
        sys.modules, "cuda.bindings.runtime", fakes.cuda_python(found.gpu) if by == "cuda" else None
    )
    with pytest.raises(found.module.EngineError) as raised:
        found.module.Engine()
    assert "the engine is for sm89, and NVIDIA H200 is sm90" in str(raised.value)
    assert hint in str(raised.value)


def test_cuda_python_stands_in_for_a_torch_that_sees_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = setup(tmp_path, monkeypatch, by="cuda")
    blind = fakes.torch(fakes.Gpu(present=False))
    monkeypatch.setitem(sys.modules, "torch", blind)
    assert type(found.module.Engine().cuda).__name__ == "CudaPython"
    old = sys.modules["cuda.bindings.runtime"]
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    monkeypatch.setitem(sys.modules, "cuda.cudart", old)
    assert type(found.module.Engine().cuda).__name__ == "CudaPython"
    found.gpu.present = False
    with pytest.raises(found.module.EngineError, match="no NVIDIA GPU here that torch can use"):
        found.module.Engine()


def test_an_engine_that_the_product_refuses_ends_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = setup(tmp_path, monkeypatch)
    found.trt.loads = False
    with pytest.raises(found.module.EngineError, match="TensorRT cannot load"):
        found.module.Engine()
    found.trt.loads, found.trt.data_type = True, "BF16"
    with pytest.raises(found.module.EngineError, match="NumPy has no BF16"):
        found.module.Engine()


# ---- its command line


def picture(path: Path, size: tuple[int, int], mode: str = "RGB") -> Path:
    random = np.random.default_rng(size[0])
    channels = () if mode == "L" else (3,)
    pixels = random.integers(0, 256, (size[1], size[0], *channels), np.uint8)
    Image.fromarray(pixels, mode).save(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("size", [(9, 6), (6, 9), (6, 6), (31, 20), (20, 33), (4, 4), (3, 8)])
def test_images_are_prepared_as_torchvision_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    path = picture(tmp_path / "a.png", size)
    module = setup(tmp_path, monkeypatch).module
    monkeypatch.undo()
    torch = pytest.importorskip("torch")
    v2 = pytest.importorskip("torchvision.transforms.v2")
    with Image.open(path) as image:
        crop = v2.Compose([v2.Resize(6), v2.CenterCrop((4, 4)), v2.PILToTensor()])
        wanted = crop(image)
    pixels = module.read_image(path)
    assert np.array_equal(pixels, wanted.numpy())
    floats = module.standardise(pixels[None])
    mean, std = torch.tensor(module.MEAN), torch.tensor(module.STD)
    normal = (wanted.float() - mean[:, None, None] * 255) / (std[:, None, None] * 255)
    np.testing.assert_allclose(floats[0], normal.numpy(), rtol=1e-6)


def test_image_files_are_classified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    found = setup(tmp_path, monkeypatch)
    paths = [picture(tmp_path / f"{side}.png", (side, 6)) for side in (6, 7, 8)]
    assert found.main(monkeypatch, *paths, "--top", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [str(path) for path in paths]
    for line in lines:
        assert line.endswith("%")
        assert ("newt" in line) != ("cat" in line) or "dog" in line


def test_scores_of_an_array_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    found = setup(tmp_path, monkeypatch)
    batch = images(39)
    np.save(tmp_path / "in.npy", batch)
    out = tmp_path / "out.npy"
    assert found.main(monkeypatch, "--npy", tmp_path / "in.npy", "--out", out) == 0
    np.testing.assert_allclose(np.load(out), expected(batch), rtol=1e-4, atol=1e-5)
    assert capsys.readouterr().out == ""
    pixels = np.random.default_rng(1).integers(0, 256, (5, 3, 4, 4), np.uint8)
    np.save(tmp_path / "in.npy", pixels)
    assert found.main(monkeypatch, "--npy", tmp_path / "in.npy", "--out", out) == 0
    wanted = expected(found.module.standardise(pixels))
    np.testing.assert_allclose(np.load(out), wanted, rtol=1e-4, atol=1e-4)
    assert found.main(monkeypatch, "--npy", tmp_path / "in.npy") == 0
    assert capsys.readouterr().out.count("in.npy[") == 5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.npy", None, "cannot be read as an .npy file"),
        ("a.npy", b"", "cannot be read as an .npy file"),
        ("a.npy", np.zeros((3, 4, 4)), "holds no images (N, 3, H, W)"),
        ("a.npy", np.zeros((1, 1, 4, 4)), "holds no images (N, 3, H, W)"),
        ("a.npy", np.zeros((1, 3, 4, 4), np.int64), "holds int64, which is neither floats nor"),
        ("a.npy", np.array([None]), "cannot be read as an .npy file"),
    ],
)
def test_an_array_that_holds_no_images_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
    name: str,
    content: Any,
    message: str,
) -> None:
    found = setup(tmp_path, monkeypatch)
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    assert found.main(monkeypatch, "--npy", path) == 2
    assert message in capsys.readouterr().err


def test_what_cannot_be_read_or_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    found = setup(tmp_path, monkeypatch)
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    assert found.main(monkeypatch, tmp_path / "a.png") == 2
    assert "a.png cannot be read as an image" in capsys.readouterr().err
    Image.fromarray(np.zeros((6, 6), np.int32)).save(tmp_path / "deep.tiff")
    assert found.main(monkeypatch, tmp_path / "deep.tiff") == 2
    assert "more than 8 bits a colour" in capsys.readouterr().err
    whole = picture(tmp_path / "b.png", (6, 6))
    assert found.main(monkeypatch, whole, "--out", tmp_path / "no" / "out.npy") == 2
    assert "No such file or directory" in capsys.readouterr().err


def test_an_array_of_bytes_is_refused_where_preparation_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    mean_image = {"mean": [0.5], "std": [1.0], "mean_image_sha256": "aa"}
    found = setup(tmp_path, monkeypatch, preprocessing=mean_image)
    np.save(tmp_path / "in.npy", np.zeros((1, 3, 4, 4), np.uint8))
    assert found.main(monkeypatch, "--npy", tmp_path / "in.npy") == 2
    assert "standardised by a mean image, which is not in this file" in capsys.readouterr().err


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_benchmark_measures_each_batch_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, product: str
) -> None:
    found = setup(tmp_path, monkeypatch, product)
    engine, measured = found.module.Engine, found.module.Engine.time
    monkeypatch.setattr(engine, "time", lambda self, batch: measured(self, batch, 0.0))
    options: list[str | Path] = ["--cache", tmp_path / "cache"] if product == "tensorrt_rtx" else []
    assert found.main(monkeypatch, "--benchmark", *options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("NVIDIA GeForce RTX 4090, TensorRT")
    assert [line.split()[0] for line in lines[2:]] == ["1", "2", "4", "8", "16"]
    assert all(float(word) >= 0 for word in lines[2].replace(",", "").split())
    assert (tmp_path / "cache").exists() == bool(options)
    assert found.main(monkeypatch, "--benchmark", "--batch", "99") == 2
    assert "no profile takes 99 images at once, but 16" in capsys.readouterr().err


# ---- with a GPU


@pytest.mark.gpu
def test_an_engine_of_this_gpu_computes_what_onnx_runtime_does(tmp_path: Path) -> None:
    """Builds for the GPU at hand with whichever product can, and runs the emitted program on it."""
    onnxruntime = pytest.importorskip("onnxruntime")
    capability = local_gpus()[0].capability
    able = [item for item in products.available() if not item.since or capability in item.since]
    if not able:
        pytest.skip(f"no installed product builds for sm{capability}")
    product = able[0]
    onnx = residual_net(tmp_path / "net.onnx", "fp32")
    targets = (capability,) if product.ahead_of_time else None
    profiles = (Profile(Range(1, 4, 8)),)
    options = EngineOptions(product=product.key, targets=targets, profiles=profiles)
    report = build_engine(onnx, tmp_path / "net.engine", options)
    described = manifest(
        report,
        spec_name="net",
        spec_hash="aa",
        weights_hash="aa",
        onnx_sha256="aa",
        input_shape=(8, 32, 32),
        preprocessing=None,
        class_names=None,
    )
    (tmp_path / "run.py").write_text(
        runner_source(Manifest.model_validate_json(json.dumps(described)))
    )
    batch = np.random.default_rng(0).standard_normal((21, 8, 32, 32), np.float32)
    np.save(tmp_path / "in.npy", batch)
    arguments = [tmp_path / "run.py", "--npy", tmp_path / "in.npy", "--out", tmp_path / "out.npy"]
    subprocess.run([sys.executable, *map(str, arguments)], check=True, timeout=300)
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {"input": batch})
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), wanted, rtol=1e-3, atol=1e-3)
