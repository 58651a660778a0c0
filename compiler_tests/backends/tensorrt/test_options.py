"""What is refused before a builder is started."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
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
        "the time limit is -1, and must be above 0",
    ]


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"timeout_s": float("nan")}, "the time limit is nan, and must be above 0"),
        ({"timeout_s": 0.0}, "the time limit is 0, and must be above 0"),
        (
            {"workspace_mib": 99_999_999_999},
            "the workspace is 99,999,999,999, and must be at most 2,147,483,647",
        ),
    ],
)
def test_a_limit_that_is_none_is_told_in_digits(limits, message):
    (found,) = findings(**limits)
    assert found.message == message
    assert found.hint is not None
    assert found.hint.startswith("leave it out")


def test_an_empty_list_of_profiles_or_targets_is_refused():
    assert findings(profiles=())[0].message == "the list of profiles is empty"
    assert findings(targets=())[0].message == "no GPU is given to build for"


def test_precision_and_target_are_checked_together():
    (found,) = findings(precision="fp8", targets=(86, 89))
    assert (found.code, found.message) == ("RD624", "fp8 cannot be computed on sm86")
    (found,) = findings(targets=(90,))
    assert found.code == "RD623"


@pytest.mark.parametrize(
    ("option", "message", "advice"),
    [
        ({"hardware": "ampere_plus"}, "no hardware compatibility", "--gpus rtx3090,rtx4090"),
        ({"version_compatible": True}, "no version compatibility", "build again"),
        ({"timing_cache": Path("a.cache")}, "no timing cache", "leave it out"),
        ({"refit": True}, "no refitting", "build again"),
        ({"strip": True}, "no engines without weights", "ship the ONNX file"),
    ],
    ids=lambda item: "" if isinstance(item, str) else next(iter(item)),
)
def test_what_only_full_tensorrt_does_is_refused_for_rtx_with_what_to_do(option, message, advice):
    (found,) = findings(**option)
    assert (found.code, found.message) == ("RD638", f"TensorRT for RTX has {message}")
    assert found.why is not None
    assert advice in (found.hint or "")
    assert "`pip install tensorrt` on the machine with the GPU" in (found.hint or "")


def test_where_both_products_are_the_option_of_the_other_is_named(monkeypatch):
    monkeypatch.setattr(products, "_installed", lambda module: True)
    (found,) = findings(refit=True)
    assert (found.hint or "").endswith("full TensorRT has it: `--product tensorrt`")


def test_a_level_of_hardware_compatibility_that_is_none_gets_a_suggestion(monkeypatch):
    monkeypatch.setattr(products, "_installed", lambda module: module == "tensorrt")
    (found,) = findings(hardware="ampere-plus")
    assert (found.code, found.hint) == ("RD638", "did you mean `ampere_plus`?")
    (found,) = findings(exclude_lean_runtime=True)
    assert found.message == "there is no runtime in the engine that could be left out"
    found_two = findings(exclude_lean_runtime=True, hardware="all")
    assert len(found_two) == 2
    assert found_two[0].hint == "there are ampere_plus and same_compute_capability"


def test_the_rest_is_of_quantised_graphs_and_a_wider_type():
    assert resolve(EngineOptions(precision="int8", rest="fp16")).rest == "fp16"
    assert resolve(EngineOptions(rest="fp16")).rest == "fp16"
    (found,) = findings(precision="fp16", rest="fp32")
    assert (found.code, found.message) == ("RD624", "a fp16 graph has no rest that could be fp32")
    (found,) = findings(precision="int8", rest="tf32")
    assert found.message == "the rest of a quantised graph cannot be tf32"
    (found,) = findings(precision="int8", rest="bf61")
    assert found.hint == "did you mean `bf16`?"


def test_default_targets_are_those_that_have_the_precision_and_the_rest():
    assert resolve(EngineOptions(precision="fp8", rest="fp16")).targets == (89, 120)
    assert resolve(EngineOptions(precision="int8", rest="bf16")).targets == (86, 89, 120)


@pytest.mark.parametrize(
    ("release", "target", "since"), [("1.5.0.2", 80, "1.7"), ("1.4.1", 121, "1.5")]
)
def test_a_release_that_does_not_know_a_target_yet_is_told_before_it_is_loaded(
    monkeypatch, release, target, since
):
    monkeypatch.setattr(products, "version", lambda name: release)
    (found,) = findings(targets=(target, 120))
    assert found.code == "RD623"
    assert found.message.startswith(f"TensorRT for RTX {release} cannot build for sm{target} (")
    assert "sm75, sm86, sm89, sm120" in (found.why or "")
    assert found.hint == (
        f"release {since} and newer know it: `pip install tensorrt-rtx --upgrade`"
    )
    assert resolve(EngineOptions(targets=(86,))).targets == (86,)


def test_a_release_that_is_too_old_is_told_before_it_is_loaded(monkeypatch):
    monkeypatch.setattr(products, "_installed", lambda module: module == "tensorrt")
    monkeypatch.setattr(products, "version", lambda name: "10.3.0")
    (found,) = findings()
    assert (found.code, found.message) == ("RD639", "TensorRT 10.3.0 is too old")
    monkeypatch.setattr(products, "version", lambda name: "11.0.0.114")
    assert resolve(EngineOptions()).product is products.TENSORRT


def test_a_package_without_a_record_is_of_an_unknown_version(monkeypatch):
    def unknown(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(products, "version", unknown)
    assert products.installed_version(products.RTX) is None
    assert resolve(EngineOptions(targets=(80,))).targets == (80,)
    assert products.is_older("", "1.0") is False
    assert products.is_older("1", "1.0") is True
    assert products.is_older("10.13.2.6", "10.12") is False


def test_targets_that_share_an_engine_stand_together():
    assert resolve(EngineOptions(targets=(120, 75, 86))).groups == ((75,), (86, 120))
    assert resolve(EngineOptions()).groups == ((86, 89, 120),)


def test_a_request_comes_back_from_json_as_it_was():
    profiles = (Profile(), Profile(Range(1, 1, 1), height=Range(32, 224, 512)))
    request = Request(
        "tensorrt_rtx", "a.onnx", "a.engine", (86, 120), "fp16", profiles, 512, "fp32"
    )
    request = replace(request, blocks={"conv1": "stem"}, timing_cache="a.cache", refit=True)
    assert Request.from_json(request.to_json()) == request
