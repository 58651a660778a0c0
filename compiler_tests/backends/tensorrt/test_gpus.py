"""GPU names, compute capabilities, products and precisions."""

from __future__ import annotations

import pytest

from resnet_dsl.backends.tensorrt import products
from resnet_dsl.backends.tensorrt.gpus import ARCHITECTURES, CAPABILITIES, check_targets, parse_gpus
from resnet_dsl.backends.tensorrt.precisions import check_precisions
from resnet_dsl.backends.tensorrt.products import RTX, TENSORRT, Product
from resnet_dsl.errors import CompileError, Diagnostic


def findings(text: str, product: Product = RTX) -> tuple[Diagnostic, ...]:
    with pytest.raises(CompileError) as raised:
        parse_gpus(text, product)
    return raised.value.diagnostics


@pytest.mark.parametrize(
    ("text", "capabilities"),
    [
        ("rtx4090,sm120", (89, 120)),
        ("sm120, RTX 4090 ,rtx-4080", (89, 120)),
        ("8.6,89,sm_120,compute_121", (86, 89, 120, 121)),
        ("t4,rtx2080", (75,)),
        ("a100,rtx3090,a10,a40,l4,l40", (80, 86, 89)),
        ("NVIDIA GeForce RTX 4090", (89,)),
        ("NVIDIA GeForce RTX 3060 Laptop GPU", (86,)),
        ("NVIDIA GeForce RTX 2080 with Max-Q Design", (75,)),
        ("NVIDIA A100-SXM4-80GB", (80,)),
        ("NVIDIA RTX 6000 Ada Generation", (89,)),
        ("Quadro RTX 6000", (75,)),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", (120,)),
        ("gb10,dgx spark", (121,)),
        ("Tesla T4", (75,)),
    ],
)
def test_gpus_are_named_as_people_and_drivers_name_them(text, capabilities):
    assert parse_gpus(text) == capabilities


def test_hopper_and_data_centre_blackwell_are_for_full_tensorrt():
    assert parse_gpus("NVIDIA H100 80GB HBM3,gh200 480gb,b200,sm103", TENSORRT) == (90, 100, 103)
    (found,) = findings("rtx4090,h100")
    assert found.code == "RD623"
    assert found.message == "TensorRT for RTX builds no engine for `h100` (sm90, Hopper)"
    assert found.why is not None
    assert found.why.endswith("sm75, sm80, sm86, sm89, sm120, sm121")
    assert found.hint is not None
    assert "full TensorRT" in found.hint
    assert "pip install tensorrt" in found.hint


def test_a_gpu_older_than_turing_is_refused_by_both_products():
    for product in (RTX, TENSORRT):
        (found,) = findings("v100", product)
        assert found.code == "RD623"
        assert found.why == "both products begin with Turing (sm75)"


def test_a_mistyped_name_gets_a_suggestion_and_every_finding_is_told():
    wrong, capability, empty = findings("rtx4900,rtx4090,sm99,")
    assert (wrong.code, wrong.message) == ("RD622", "there is no GPU named `rtx4900` in the table")
    assert wrong.hint is not None
    assert wrong.hint.startswith("did you mean `rtx40")
    assert capability.message == "there is no compute capability `sm99`"
    assert capability.hint is not None
    assert "sm89" in capability.hint
    assert empty.message == "a GPU name is empty"
    (strange,) = findings("voodoo2")
    assert strange.hint is not None
    assert "compute_cap" in strange.hint


def test_a_name_that_several_generations_bear_must_be_written_out():
    (found,) = findings("rtx6000")
    assert found.message == "`rtx6000` is the name of GPUs of several generations"
    assert found.hint is not None
    assert "`rtx6000ada` (sm89)" in found.hint


def test_the_table_names_every_architecture_and_only_known_ones():
    assert set(CAPABILITIES.values()) == set(ARCHITECTURES)
    assert set(RTX.since) < set(ARCHITECTURES)


@pytest.mark.parametrize("target", sorted(RTX.since))
def test_every_capability_of_rtx_passes(target):
    check_targets(RTX, (target,))


@pytest.mark.parametrize(
    ("precision", "target", "possible"),
    [
        ("fp32", 75, True),
        ("tf32", 75, False),
        ("fp16", 75, True),
        ("int8", 75, True),
        ("bf16", 75, False),
        ("bf16", 80, True),
        ("fp8", 86, False),
        ("fp8", 89, True),
        ("fp8", 120, True),
    ],
)
def test_a_precision_needs_a_capability(precision, target, possible):
    if possible:
        check_precisions((precision,), (target,))
        return
    with pytest.raises(CompileError) as raised:
        check_precisions((precision,), (target, 120))
    (found,) = raised.value.diagnostics
    assert found.code == "RD624"
    assert found.message == f"{precision} cannot be computed on sm{target}"
    assert found.hint is not None
    assert (
        f"`--precision {precision} --gpus sm120`, and `--precision fp16 --gpus sm{target}`"
        in found.hint
    )


def test_an_unknown_precision_or_product_gets_a_suggestion():
    with pytest.raises(CompileError, match="no precision `fp61`") as raised:
        check_precisions(("fp61",), (86,))
    assert raised.value.diagnostics[0].hint == "did you mean `fp16`?"
    with pytest.raises(CompileError, match="no TensorRT product `tensorrtx`") as raised:
        products.product("tensorrtx")
    assert raised.value.diagnostics[0].code == "RD620"
    assert products.product("TensorRT-RTX") is RTX


def test_default_targets_are_those_that_have_the_precision():
    assert products.default_targets(RTX) == (86, 89, 120)
    assert products.default_targets(RTX, "fp8") == (89, 120)
    assert products.default_targets(TENSORRT) == ()
    assert products.default_targets(RTX, "fp16", (120, 75, 75)) == (75, 120)


def test_turing_gets_an_engine_of_its_own():
    assert products.engine_groups((120, 75, 86)) == ((75,), (86, 120))
    assert products.engine_groups((89,)) == ((89,),)


def test_a_folder_that_is_called_tensorrt_is_not_an_installation(tmp_path, monkeypatch):
    (tmp_path / "tensorrt").mkdir()
    before = products.available()
    monkeypatch.syspath_prepend(tmp_path)
    assert products.available() == before


def test_no_tensorrt_at_all_says_how_to_get_one(monkeypatch):
    monkeypatch.setattr(products, "_installed", lambda module: False)
    with pytest.raises(CompileError) as raised:
        products.default_product()
    (found,) = raised.value.diagnostics
    assert found.code == "RD620"
    assert found.hint is not None
    assert "pip install tensorrt-rtx" in found.hint
