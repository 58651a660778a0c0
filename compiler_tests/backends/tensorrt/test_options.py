"""What is refused before a builder is started."""

from __future__ import annotations

from typing import Any

import pytest

from resnet_dsl.backends.tensorrt import products
from resnet_dsl.backends.tensorrt.messages import Request
from resnet_dsl.backends.tensorrt.options import EngineOptions, Profile, Range, resolve
from resnet_dsl.errors import CompileError, Diagnostic


@pytest.fixture(autouse=True)
def _rtx_alone_is_installed(monkeypatch):
    monkeypatch.setattr(products, "_installed", lambda module: module == "tensorrt_rtx")


def findings(**options: Any) -> tuple[Diagnostic, ...]:
    with pytest.raises(CompileError) as raised:
        resolve(EngineOptions(**options))
    return raised.value.diagnostics


def test_the_defaults_are_rtx_for_the_30_40_and_50_series():
    resolved = resolve(EngineOptions())
    assert resolved.product is products.RTX
    assert resolved.targets == (86, 89, 120)
    assert resolved.profiles is None


def test_full_tensorrt_is_the_product_where_it_is_the_only_one(monkeypatch):
    monkeypatch.setattr(products, "_installed", lambda module: module == "tensorrt")
    resolved = resolve(EngineOptions())
    assert resolved.product is products.TENSORRT
    assert resolved.targets == ()


def test_a_product_that_is_not_installed_is_named_with_its_pip_command():
    (found,) = findings(product="tensorrt")
    assert (found.code, found.message) == ("RD620", "TensorRT is not installed")
    assert found.hint is not None
    assert "`pip install tensorrt` on the machine with the GPU" in found.hint
    assert "pip install tensorrt-rtx" in found.hint


@pytest.mark.parametrize("sizes", [(8, 4, 64), (1, 64, 8), (0, 1, 2), (-1, -1, -1)])
def test_a_profile_must_ascend_from_one(sizes):
    (found,) = findings(profiles=(Profile(batch=Range(*sizes)),))
    assert found.code == "RD625"
    assert found.message == f"the batch of a profile is {Range(*sizes)}"
    assert found.why == "a profile is min/opt/max, with 1 ≤ min ≤ opt ≤ max"
    assert found.hint is not None
    low, middle, high = (int(size) for size in found.hint.strip("write `").split("/"))
    assert 1 <= low <= middle <= high


def test_every_wrong_size_is_told_at_once():
    wrong = Profile(Range(2, 1, 3), height=Range(64, 32, 16), width=Range(1, 1, 1))
    found = findings(profiles=(wrong,), workspace_mib=0, timeout_s=-1.0)
    assert [item.message for item in found] == [
        "the batch of a profile is 2/1/3",
        "the height of a profile is 64/32/16",
        "the workspace is 0, and must be above 0",
        "the time limit is -1.0, and must be above 0",
    ]


def test_an_empty_list_of_profiles_or_targets_is_refused():
    assert findings(profiles=())[0].message == "the list of profiles is empty"
    assert findings(targets=())[0].message == "no GPU is given to build for"


def test_precision_and_target_are_checked_together():
    (found,) = findings(precision="fp8", targets=(86, 89))
    assert (found.code, found.message) == ("RD624", "fp8 cannot be computed on sm86")
    (found,) = findings(targets=(90,))
    assert found.code == "RD623"


def test_a_request_comes_back_from_json_as_it_was():
    profiles = (Profile(), Profile(Range(1, 1, 1), height=Range(32, 224, 512)))
    request = Request("tensorrt_rtx", "a.onnx", "a.engine", (86, 120), "fp16", profiles, 512)
    assert Request.from_json(request.to_json()) == request
