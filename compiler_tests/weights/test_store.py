"""Numbers of constants: folded and rounded, from any source; and the digest of a set of weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from compiler_tests.graphs import residual_net
from resnet_dsl.errors import CompileError
from resnet_dsl.ir.graph import Constant, DType, FoldedBias, FoldedWeight, Norm, Scales, Stored
from resnet_dsl.ir.ops import Init
from resnet_dsl.weights.state import entries
from resnet_dsl.weights.store import (
    LoadedWeights,
    RecordingWeights,
    SeededWeights,
    bfloat16_bits,
    materialise,
)

GOLDEN_DIGEST = "2189568dfcd73b6afa7bb64a2e257c5e6f0dc22ebc4f68bc8f18245e1c201145"
NORM = Norm(
    Stored("bn.weight", 1.0),
    Stored("bn.bias", 0.0),
    Stored("bn.running_mean", 0.0),
    Stored("bn.running_var", 1.0),
    1e-3,
)
WEIGHT, BIAS = Stored("conv.weight", Init()), Stored("conv.bias", 0.0)
RNG = np.random.default_rng(0)
TENSORS = {
    "conv.weight": RNG.standard_normal((4, 3, 3, 3)).astype(np.float32),
    "conv.bias": RNG.standard_normal(4).astype(np.float32),
    "bn.weight": RNG.standard_normal(4).astype(np.float32),
    "bn.bias": RNG.standard_normal(4).astype(np.float32),
    "bn.running_mean": RNG.standard_normal(4).astype(np.float32),
    "bn.running_var": RNG.uniform(0.5, 2, 4).astype(np.float32),
}
LOADED = LoadedWeights(TENSORS)
WIDE = {key: tensor.astype(np.float64) for key, tensor in TENSORS.items()}
SCALE = WIDE["bn.weight"] / np.sqrt(WIDE["bn.running_var"] + 1e-3)


def constant(source: Stored | FoldedWeight | FoldedBias, dtype: DType = "float32") -> Constant:
    shape = (4,) if isinstance(source, FoldedBias) else (4, 3, 3, 3)
    return Constant("conv.weight", shape, source, dtype=dtype)


def test_a_folded_weight_is_within_one_rounding_of_the_exact_product():
    folded = materialise(constant(FoldedWeight(WEIGHT, NORM)), LOADED)
    exact = WIDE["conv.weight"] * SCALE.reshape(4, 1, 1, 1)
    assert folded.dtype == np.float32
    np.testing.assert_allclose(folded, exact, rtol=2**-23)
    half = materialise(constant(FoldedWeight(WEIGHT, NORM), "float16"), LOADED)
    np.testing.assert_array_equal(half, exact.astype(np.float16))


@pytest.mark.parametrize("bias", [None, BIAS])
def test_a_folded_bias_is_beta_plus_what_is_left_of_the_convolutions_bias(bias: Stored | None):
    folded = materialise(constant(FoldedBias(bias, NORM)), LOADED)
    before = 0 if bias is None else WIDE["conv.bias"]
    exact = WIDE["bn.bias"] + (before - WIDE["bn.running_mean"]) * SCALE
    np.testing.assert_allclose(folded, exact, rtol=1e-6)


def test_folding_does_not_write_into_loaded_weights():
    before = {key: tensor.copy() for key, tensor in TENSORS.items()}
    materialise(constant(FoldedWeight(WEIGHT, NORM)), LOADED)
    materialise(constant(FoldedBias(BIAS, NORM)), LOADED)
    for key, tensor in TENSORS.items():
        np.testing.assert_array_equal(tensor, before[key])


def test_loaded_weights_of_other_types_are_taken_as_float32():
    half = LoadedWeights({"conv.weight": TENSORS["conv.weight"].astype(np.float16)})
    assert materialise(constant(WEIGHT), half).dtype == np.float32


def test_a_missing_or_misshaped_tensor_is_an_error_that_names_it():
    with pytest.raises(CompileError, match=r"the weights have no `conv\.weight`") as caught:
        materialise(constant(WEIGHT), LoadedWeights({}))
    assert caught.value.diagnostics[0].code == "RD507"
    with pytest.raises(CompileError, match=r"`conv.weight` has the shape \(4,\)"):
        materialise(constant(WEIGHT), LoadedWeights({"conv.weight": np.zeros(4, np.float32)}))


def test_a_weight_beyond_float16_is_an_error_that_says_what_to_do():
    weights = LoadedWeights({"conv.weight": np.full((4, 3, 3, 3), 1e5, np.float32)})
    with pytest.raises(
        CompileError, match=r"`conv\.weight` holds 100000, and float16 ends"
    ) as caught:
        materialise(constant(WEIGHT, "float16"), weights)
    assert caught.value.diagnostics[0].code == "RD511"
    assert caught.value.diagnostics[0].hint == (
        "take bf16, which has the range of fp32; or leave the layer in fp32, "
        "with --precision fp16 --keep conv"
    )


def test_so_is_one_whose_codes_stand_for_more_than_float16_holds():
    kept = replace(constant(WEIGHT, "float16"), encoding="int8")
    for size, fits in ((65000.0, True), (65504.0, False)):
        weights = LoadedWeights({"conv.weight": np.full((4, 3, 3, 3), size, np.float32)})
        scales = replace(
            kept, name="conv.weight_scale", shape=(4,), source=Scales(kept), encoding=None
        )
        if fits:
            assert np.isfinite(materialise(scales, weights) * np.float16(127)).all()
            continue
        with pytest.raises(CompileError, match=r"`conv\.weight` holds 65532, and float16 ends"):
            materialise(scales, weights)


@pytest.mark.parametrize("variance", [-1.0, float("nan")])
def test_statistics_that_cannot_be_folded_are_an_error(variance: float):
    weights = LoadedWeights(TENSORS | {"bn.running_var": np.full(4, variance, np.float32)})
    with pytest.raises(CompileError, match=r"`bn\.running_var` holds a variance") as caught:
        materialise(constant(FoldedBias(None, NORM)), weights)
    assert caught.value.diagnostics[0].code == "RD512"


@settings(max_examples=200)
@given(st.floats(width=32))
def test_bfloat16_is_rounded_as_torch_rounds_it(value: float):
    bits = int(bfloat16_bits(np.array([value], np.float32))[0])
    expected = torch.tensor([value], dtype=torch.float32).to(torch.bfloat16)
    if np.isnan(value):
        assert bits & 0x7F80 == 0x7F80
        assert bits & 0x7F
    else:
        assert bits == int(expected.view(torch.uint16)[0])


def test_bfloat16_constants_are_given_as_their_bits():
    bits = materialise(constant(WEIGHT, "bfloat16"), LOADED)
    assert bits.dtype == np.uint16
    back = (bits.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_allclose(back, TENSORS["conv.weight"], rtol=2**-8)


def digest(tensors: Mapping[str, NDArray[Any]]) -> str:
    """What is recorded of tensors that are read once each, in their order."""
    recording = RecordingWeights(LoadedWeights(tensors))
    for key, tensor in tensors.items():
        recording.get(key, tensor.shape, 0.0)
    return recording.digest()


def test_the_digest_is_stable_and_does_not_depend_on_order():
    assert digest(TENSORS) == digest(dict(reversed(TENSORS.items())))
    assert digest({"a": np.arange(3, dtype=np.float32)}) == GOLDEN_DIGEST


def test_the_digest_does_not_depend_on_integers():
    graph = residual_net()
    state, constants = RecordingWeights(SeededWeights()), RecordingWeights(SeededWeights())
    kinds = {entry.load().dtype.kind for entry in entries(graph, state)}
    assert kinds == {"f", "i"}
    for node in graph.nodes:
        for item in node.constants:
            assert materialise(item, constants).dtype.kind == "f"
    assert state.digest() == constants.digest()


@pytest.mark.parametrize(
    "change",
    [
        {"conv.bias": TENSORS["bn.bias"]},
        {"conv.bias": TENSORS["conv.bias"].reshape(2, 2)},
        {"extra": np.zeros(1, np.float32)},
    ],
)
def test_the_digest_tells_weights_apart(change):
    assert digest(TENSORS | change) != digest(TENSORS)


def test_recorded_weights_have_the_digest_of_what_was_read_however_often():
    recording = RecordingWeights(LOADED)
    materialise(constant(FoldedWeight(WEIGHT, NORM)), recording)
    materialise(constant(FoldedBias(BIAS, NORM)), recording)
    assert recording.digest() == digest(TENSORS)


def test_what_is_shared_cannot_be_written_and_what_is_drawn_can():
    assert not LOADED.get("conv.bias", (4,), 0.0).flags.writeable
    assert TENSORS["conv.bias"].flags.writeable
    recording = RecordingWeights(SeededWeights())
    assert recording.get("conv.weight", (4, 3, 3, 3), Init()).flags.writeable
    vector = recording.get("bn.weight", (4,), 1.0)
    assert not vector.flags.writeable
    assert recording.get("bn.weight", (4,), 1.0) is vector


def test_seeded_weights_are_the_same_to_every_reader():
    one = SeededWeights(5).get("conv.weight", (4, 3, 3, 3), Init())
    np.testing.assert_array_equal(one, SeededWeights(5).get("conv.weight", (4, 3, 3, 3), Init()))
