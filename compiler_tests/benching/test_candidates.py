from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from importlib.machinery import ModuleSpec

import pytest

from resnet_dsl.bench import candidates as module
from resnet_dsl.bench.candidates import BACKENDS, TORCHVISION, absence, candidates
from resnet_dsl.catalogue import bundled
from resnet_dsl.errors import CompileError


def test_unasked_a_cpu_gets_fp32_and_int8_where_a_backend_has_them() -> None:
    names = [item.name for item in candidates("cpu", (), (), "resnet18")]
    assert names == [
        "torch fp32",
        "torch-compile fp32",
        "onnxruntime fp32",
        "onnxruntime int8",
        "openvino fp32",
        "openvino int8",
        "tensorrt fp16",
        "tensorrt-rtx fp16",
    ]


def test_unasked_a_gpu_gets_torchvisions_network_too_where_there_is_one() -> None:
    of_both = [item.name for item in candidates("cuda", (), (), "resnet50_v1_5")]
    alone = [item.name for item in candidates("cuda", (), (), "resnet50")]
    theirs = ["torchvision fp16", "torchvision-compile fp16", "torchvision-aot fp16"]
    assert [name for name in of_both if name not in alone] == theirs
    assert "tensorrt fp16" in alone
    assert not any(name.startswith("openvino") for name in alone)


def test_a_precision_that_is_asked_for_leaves_out_who_has_not_got_it() -> None:
    names = [item.name for item in candidates("cpu", (), ("bf16",), "resnet18")]
    assert names[:3] == ["torch bf16", "torch-compile bf16", "openvino bf16"]


def test_a_backend_that_is_named_is_told_of_even_where_it_cannot_run() -> None:
    (found,) = candidates("cpu", ("onnxruntime",), ("bf16",), "resnet18")
    absent = absence(found, "cpu", "resnet18")
    assert absent is not None
    assert absent.why == "computes in fp32, int8 on a CPU"
    (found,) = candidates("cuda", ("openvino",), (), "resnet18")
    absent = absence(found, "cuda", "resnet18")
    assert absent is not None
    assert absent.why == "does not run on a GPU"


def test_an_unknown_backend_is_refused_with_the_nearest() -> None:
    with pytest.raises(CompileError) as caught:
        candidates("cpu", ("onxruntime",), (), "resnet18")
    (found,) = caught.value.diagnostics
    assert found.code == "RD695"
    assert found.hint == "did you mean `onnxruntime`?"


def test_a_backend_that_is_not_installed_says_what_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: Callable[[str], ModuleSpec | None] = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openvino" else found(name)
    )
    (candidate,) = candidates("cpu", ("openvino",), ("fp32",), "resnet18")
    absent = absence(candidate, "cpu", "resnet18")
    assert absent is not None
    assert (absent.why, absent.command) == ("openvino not installed", "pip install openvino")


def test_what_compiles_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    (candidate,) = candidates("cpu", ("torch-compile",), ("fp32",), "resnet18")
    absent = absence(candidate, "cpu", "resnet18")
    assert absent is not None
    assert absent.why == "needs a C++ compiler"
    (candidate,) = candidates("cpu", ("torch",), ("fp32",), "resnet18")
    assert absence(candidate, "cpu", "resnet18") is None


def test_tensorrt_needs_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "local_gpus", lambda: ())
    (candidate,) = candidates("cpu", ("tensorrt",), (), "resnet18")
    absent = absence(candidate, "cpu", "resnet18")
    assert absent is not None
    assert (absent.why, absent.command) == ("needs a GPU", None)


def test_every_backend_has_a_name_and_title_of_its_own_and_runs_somewhere() -> None:
    assert len({backend.name for backend in BACKENDS}) == len(BACKENDS)
    assert len({backend.title for backend in BACKENDS}) == len(BACKENDS)
    assert all(backend.cpu or backend.cuda for backend in BACKENDS)
    runners = {backend.runner for backend in BACKENDS}
    for runner in runners:
        assert importlib.util.find_spec(f"resnet_dsl.bench.runners.{runner}") is not None


def test_the_specs_with_a_counterpart_in_torchvision_are_bundled() -> None:
    assert set(TORCHVISION) <= set(bundled())
