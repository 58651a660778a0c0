"""Where an engine can run: every rule, and what each refusal tells to do."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from compiler_tests.backends.tensorrt.engines import engine_bytes, manifest_of, write_engine
from resnet_dsl.backends.tensorrt import compatibility, products
from resnet_dsl.backends.tensorrt.compatibility import (
    Machine,
    check_runnable,
    obstacles,
    this_machine,
    wrong_product,
    wrong_version,
)
from resnet_dsl.backends.tensorrt.device import Device
from resnet_dsl.backends.tensorrt.header import peek
from resnet_dsl.backends.tensorrt.products import RTX, TENSORRT
from resnet_dsl.errors import CompileError

ADA = Device("NVIDIA GeForce RTX 4090", 89)
HOPPER = Device("NVIDIA H200", 90)
BLACKWELL = Device("NVIDIA GeForce RTX 5090", 120)


def found(
    folder: Path, product: str, machine: Machine, *, known: bool = True, **engine: Any
) -> list[tuple[str, str, str]]:
    """The obstacles as code, message and hint."""
    path = write_engine(folder, product)
    manifest = manifest_of(engine_bytes(product), product, engine=engine) if known else None
    items = obstacles(path, peek(path), manifest, machine)
    return [(item.code, item.message, item.hint or "") for item in items]


def test_an_engine_runs_on_its_product_its_version_and_its_gpu(tmp_path: Path) -> None:
    rtx = Machine({"tensorrt_rtx": "1.7.1.116"}, (HOPPER, ADA))
    assert found(tmp_path, "tensorrt_rtx", rtx) == []
    full = Machine({"tensorrt": "10.13.0.35.post1"}, (HOPPER,))
    assert found(tmp_path, "tensorrt", full) == []


def test_without_a_manifest_any_gpu_may_do(tmp_path: Path) -> None:
    rtx = Machine({"tensorrt_rtx": None}, (HOPPER,))
    assert found(tmp_path, "tensorrt_rtx", rtx, known=False) == []


def test_a_machine_with_nothing_is_told_everything(tmp_path: Path) -> None:
    (product, gpu) = found(tmp_path, "tensorrt_rtx", Machine({}, ()))
    assert product[0] == "RD620"
    assert product[2] == "`pip install tensorrt-rtx`"
    assert gpu[0] == "RD621"
    assert "resnet-dsl verify SPEC" in gpu[2]


@pytest.mark.parametrize(
    ("product", "there", "message"),
    [
        ("tensorrt_rtx", {"tensorrt": "10.13.0.35"}, "TensorRT for RTX, and TensorRT cannot load"),
        ("tensorrt", {"tensorrt_rtx": "1.7.1.116"}, "TensorRT, and TensorRT for RTX cannot load"),
    ],
)
def test_each_product_refuses_the_plans_of_the_other(
    tmp_path: Path, product: str, there: dict[str, str | None], message: str
) -> None:
    (refused,) = found(tmp_path, product, Machine(there, (ADA, HOPPER)))
    assert refused[0] == "RD635"
    assert message in refused[1]
    assert "pip install tensorrt" in refused[2]
    path = tmp_path / "net.fp16.engine"
    other = TENSORRT if product == "tensorrt_rtx" else RTX
    assert wrong_product(path, peek(path), other) is not None
    with pytest.raises(CompileError, match="cannot load it"):
        check_runnable(path, other, "1.0.0.0", (ADA,))


@pytest.mark.parametrize(
    ("product", "installed", "compatible", "runs"),
    [
        ("tensorrt_rtx", "1.7.1.116", False, True),
        ("tensorrt_rtx", "1.7.1.117", False, False),
        ("tensorrt_rtx", "1.8.0.1", False, False),
        ("tensorrt", "10.13.0.35", False, True),
        ("tensorrt", "10.13.0.291", False, True),  # 35 + 256, of which the header knows 35
        ("tensorrt", "10.14.0.1", False, False),
        ("tensorrt", "10.14.0.1", True, True),
        ("tensorrt", "10.12.0.1", True, False),
        ("tensorrt", "11.0.0.1", True, False),
        ("tensorrt", "strange", False, False),
    ],
)
def test_an_engine_runs_in_the_version_that_built_it(
    tmp_path: Path, product: str, installed: str, compatible: bool, runs: bool
) -> None:
    path = write_engine(tmp_path, product)
    refused = wrong_version(path, peek(path), installed, compatible=compatible)
    assert (refused is None) == runs
    if refused is not None:
        assert refused.code == "RD635"
        assert f"and {installed} is installed" in refused.message
        assert "resnet-dsl compile SPEC" in (refused.hint or "")
        wanted = "tensorrt-rtx==1.7.1.*" if product == "tensorrt_rtx" else "tensorrt==10.13.0.*"
        assert f"pip install '{wanted}'" in (refused.hint or "")


@pytest.mark.parametrize(
    ("product", "gpu", "hint"),
    [
        ("tensorrt_rtx", BLACKWELL, "--gpus sm120`"),
        ("tensorrt_rtx", HOPPER, "full TensorRT does, on this machine: `pip install tensorrt`"),
        ("tensorrt", ADA, "build it again on this machine"),
    ],
)
def test_a_gpu_that_an_engine_was_not_built_for_is_named_with_what_to_do(
    tmp_path: Path, product: str, gpu: Device, hint: str
) -> None:
    versions = {"tensorrt_rtx": "1.7.1.116", "tensorrt": "10.13.0.35"}
    (refused,) = found(tmp_path, product, Machine(versions, (gpu,)))
    assert refused[0] == "RD636"
    assert gpu.name in refused[1]
    assert f"sm{gpu.capability}" in refused[1]
    assert hint in refused[2]


@pytest.mark.parametrize(
    ("level", "gpu", "runs"),
    [
        ("ampere_plus", ADA, True),
        ("ampere_plus", Device("NVIDIA T4", 75), False),
        ("same_compute_capability", ADA, False),
        ("same_compute_capability", HOPPER, True),
        (None, ADA, False),
    ],
)
def test_hardware_compatible_engines_run_on_more(
    tmp_path: Path, level: str | None, gpu: Device, runs: bool
) -> None:
    machine = Machine({"tensorrt": "10.13.0.35"}, (gpu,))
    said = found(tmp_path, "tensorrt", machine, compatibility={"hardware": level})
    assert [item[0] for item in said] == ([] if runs else ["RD636"])


def test_what_is_about_to_run_an_engine_is_told_every_reason_at_once(tmp_path: Path) -> None:
    path = write_engine(tmp_path)
    manifest = manifest_of(engine_bytes())
    assert check_runnable(path, RTX, "1.7.1.116", (ADA,), manifest).version == "1.7.1.116"
    with pytest.raises(CompileError) as raised:
        check_runnable(path, RTX, "1.6.0.1", (HOPPER,), manifest)
    assert [item.code for item in raised.value.diagnostics] == ["RD635", "RD636"]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CompileError) as raised:
        check_runnable(path, RTX, "1.7.1.116", (ADA,), manifest)
    assert [item.code for item in raised.value.diagnostics] == ["RD631"]


def test_this_machine_is_what_the_packages_and_the_driver_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compatibility, "local_gpus", lambda: (ADA,))
    monkeypatch.setattr(products, "available", lambda: (TENSORRT,))
    monkeypatch.setattr(compatibility, "version", lambda name: f"{name} 10")
    assert this_machine() == Machine({"tensorrt": "tensorrt 10"}, (ADA,))
    monkeypatch.undo()
    monkeypatch.setattr(products, "available", lambda: (RTX,))
    monkeypatch.setattr(compatibility, "version", _no_package)
    assert this_machine().products == {"tensorrt_rtx": None}


def _no_package(name: str) -> str:
    raise PackageNotFoundError(name)
