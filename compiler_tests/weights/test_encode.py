"""Weights as codes and scales: the codes are the nearest, the type's own, and stand for what they were made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from resnet_dsl.ir.graph import Codes, Constant, FoldedWeight, Norm, Scales, Stored
from resnet_dsl.weights.encode import codes, decoded, float8_bits, float8_values, scales
from resnet_dsl.weights.store import LoadedWeights, materialise

FLOATS = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=2, max_dims=4, max_side=6),
    elements=st.floats(-1e6, 1e6, width=32),
)


def test_float8_agrees_with_torch_on_every_number_between_its_own():
    grid = float8_values(np.arange(127, dtype=np.uint8))
    assert np.array_equal(
        grid, torch.arange(127, dtype=torch.uint8).view(torch.float8_e4m3fn).float().numpy()
    )
    middle = (grid[1:] + grid[:-1]) / 2
    near = np.concatenate([grid, middle, np.nextafter(middle, 0), np.nextafter(middle, 500)])
    both = np.concatenate([near, -near]).astype(np.float32)
    expected = torch.from_numpy(both).to(torch.float8_e4m3fn).view(torch.uint8).numpy()
    assert np.array_equal(float8_bits(both), expected)


@given(arrays.arrays(np.float32, st.integers(1, 50), elements=st.floats(-448, 448, width=32)))
def test_float8_agrees_with_torch(numbers):
    expected = torch.from_numpy(numbers).to(torch.float8_e4m3fn)
    assert np.array_equal(float8_bits(numbers), expected.view(torch.uint8).numpy())
    assert np.array_equal(float8_values(float8_bits(numbers)), expected.float().numpy())


def test_what_is_beyond_float8_is_its_largest_and_a_nan_stays_one():
    numbers = np.array([1e9, -1e9, 464.5, np.nan], np.float32)
    assert float8_bits(numbers).tolist() == [0x7E, 0xFE, 0x7E, 0x7F]
    assert np.isnan(float8_values(np.array([0x7F], np.uint8)))[0]


@pytest.mark.parametrize(("dtype", "step"), [("int8", 0.5), ("float8_e4m3fn", 16.0)])
@given(tensor=FLOATS)
def test_a_decoded_weight_is_within_half_a_step_of_the_weight(dtype, step, tensor):
    scale = scales(tensor, dtype)
    found = decoded(codes(tensor, scale, dtype), scale, dtype)
    room = (step * scale.astype(np.float64)).reshape(-1, *[1] * (tensor.ndim - 1))
    assert (np.abs(found.astype(np.float64) - tensor) <= room * (1 + 1e-5)).all()


@given(tensor=FLOATS)
def test_the_largest_weight_of_a_channel_is_the_largest_code(tensor):
    found = codes(tensor, scales(tensor, "int8"), "int8").reshape(len(tensor), -1)
    largest = np.abs(tensor.reshape(len(tensor), -1)).max(axis=1)
    usual = largest > 1e-30
    assert (np.abs(found).max(axis=1)[usual] == 127).all()
    assert (np.abs(found.astype(int)) <= 127).all()


def test_a_channel_of_zeros_is_zeros():
    tensor = np.zeros((2, 3), np.float32)
    assert scales(tensor, "int8").tolist() == [1, 1]
    assert not codes(tensor, scales(tensor, "int8"), "int8").any()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("encoding", ["int8", "float8_e4m3fn"])
def test_codes_times_scales_are_what_a_constant_computes_with(dtype, encoding):
    draws = np.random.default_rng(0)
    norm = Norm(Stored("g", 1.0), Stored("b", 0.0), Stored("m", 0.0), Stored("v", 1.0), 1e-5)
    weights = LoadedWeights(
        {
            "w": draws.standard_normal((4, 3, 2, 2)).astype(np.float32),
            "g": np.array([1, -2, 0, 5], np.float32),
            "b": np.zeros(4, np.float32),
            "m": np.zeros(4, np.float32),
            "v": np.array([1, 2, 3, 0.1], np.float32),
        }
    )
    plain = Constant("w", (4, 3, 2, 2), FoldedWeight(Stored("w", 0.0), norm), dtype=dtype)
    constant = replace(plain, encoding=encoding)
    kept = materialise(replace(plain, source=Codes(constant), dtype=encoding), weights)
    scale = materialise(replace(plain, shape=(4,), source=Scales(constant)), weights)
    used = materialise(constant, weights)
    assert kept.itemsize == 1
    if dtype == "bfloat16":
        scale, used = ((item.astype(np.uint32) << 16).view(np.float32) for item in (scale, used))
    product = decoded(kept, scale.astype(np.float32), encoding)
    assert np.allclose(product, used.astype(np.float32), rtol=2**-7)
    exact = materialise(replace(plain, dtype="float32"), weights)
    room = np.abs(exact).max(axis=(1, 2, 3), keepdims=True) * (
        1 / 250 if encoding == "int8" else 1 / 27
    )
    assert (np.abs(product - exact) <= room + 1e-30).all()
    assert not product[2].any()


def test_a_scale_too_small_for_float16_is_the_smallest_there_is():
    weights = LoadedWeights({"w": np.array([[1e-7, -2e-7], [1.0, 2.0]], np.float32)})
    constant = Constant("w", (2, 2), Stored("w", 0.0), dtype="float16", encoding="int8")
    scale = materialise(Constant("w_scale", (2,), Scales(constant), dtype="float16"), weights)
    assert scale[0] == np.float16(2.0**-24)
    assert np.isfinite(materialise(constant, weights)).all()
