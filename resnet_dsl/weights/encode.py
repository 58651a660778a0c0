"""Weights in few bits: codes, and one scale for each output channel.

    s_c = max|W_c| / M,    q = round(W_c / s_c),    W_c ≈ s_c q

with M the type's largest code (127 for int8, 448 for float8_e4m3fn), rounding to even, and symmetric, so that there is
no zero point. A scale for each channel, from the whole range of its weights: Krishnamoorthi 2018, "Quantizing deep
convolutional networks for efficient inference", section 3.1; Wu et al. 2020, "Integer quantization for deep learning
inference", section 3.2. float8_e4m3fn: Micikevicius et al. 2022, "FP8 formats for deep learning", table 1.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_dsl.ir.graph import LARGEST_CODE
from resnet_dsl.ir.ops import CodeType

_SMALLEST = float(np.finfo(np.float32).tiny)


def scales(tensor: NDArray[np.floating], dtype: CodeType) -> NDArray[np.float32]:
    """One scale for each slice of the first axis; of a slice of zeros, 1. (C, …) -> (C,)"""
    largest = np.abs(tensor.reshape(len(tensor), -1)).max(axis=1).astype(np.float32)
    found = np.maximum(largest / np.float32(LARGEST_CODE[dtype]), np.float32(_SMALLEST))
    return np.where(largest > 0, found, np.float32(1)).astype(np.float32)


def codes(
    tensor: NDArray[np.floating], scale: NDArray[np.floating], dtype: CodeType
) -> NDArray[Any]:
    """The codes of a tensor under scales of its first axis: int8 as such, float8 as its bits in uint8."""
    column = scale.astype(np.float32).reshape(-1, *[1] * (tensor.ndim - 1))
    parts: NDArray[np.float32] = np.divide(tensor, column, dtype=np.float32)
    match dtype:
        case "int8":
            return np.clip(np.rint(parts), -127, 127).astype(np.int8)
        case "uint8":
            return np.clip(np.rint(parts), 0, 255).astype(np.uint8)
        case "float8_e4m3fn":
            return float8_bits(parts)


def decoded(
    numbers: NDArray[np.int8] | NDArray[np.uint8],
    scale: NDArray[np.floating],
    dtype: CodeType,
) -> NDArray[np.float32]:
    """What codes stand for."""
    column = scale.astype(np.float32).reshape(-1, *[1] * (numbers.ndim - 1))
    values = float8_values(numbers) if dtype == "float8_e4m3fn" else numbers.astype(np.float32)
    return np.multiply(values, column, dtype=np.float32)


def float8_bits(tensor: NDArray[np.floating]) -> NDArray[np.uint8]:
    """float8_e4m3fn, rounded to nearest, ties to even, beyond 448 to 448; as bits. A NaN stays one."""
    table = float8_numbers()
    between = (table[1:] + table[:-1]) / 2
    size = np.abs(tensor).astype(np.float32)
    place = np.searchsorted(between, size, side="left")
    # On the middle between two numbers the even one of them is meant: bits count them, so parity is the last bit.
    tie = (place < len(between)) & (between[np.minimum(place, len(between) - 1)] == size)
    place += tie & (place % 2 == 1)
    bits = place.astype(np.uint8) | (np.signbit(tensor).astype(np.uint8) << 7)
    return np.where(np.isnan(tensor), np.uint8(0x7F), bits).astype(np.uint8)


def float8_values(bits: NDArray[np.uint8] | NDArray[np.int8]) -> NDArray[np.float32]:
    """The numbers that bits of float8_e4m3fn stand for."""
    plain = bits.view(np.uint8)
    values = np.append(float8_numbers(), np.float32(np.nan))[plain & 0x7F]
    signed: NDArray[np.float32] = np.where(plain & 0x80, -values, values)
    return signed


@cache
def float8_numbers() -> NDArray[np.float32]:
    """The numbers of bits 0 to 126, in rising order: subnormals of 2**-9, then 8 for each power of two from 2**-6 to
    448. The 128th is not a number."""
    bits = np.arange(127)
    exponent, mantissa = bits >> 3, bits & 7
    normal = (8 + mantissa) * 2.0 ** (exponent - 10)
    return np.where(exponent > 0, normal, mantissa * 2.0**-9).astype(np.float32)
