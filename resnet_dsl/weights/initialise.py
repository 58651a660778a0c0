"""Initial weights as a function of (name, shape, rule, seed), in NumPy, the same for every target.

Every parameter has a random stream of its own, seeded by SHA-256 of the seed and its name, so that a weight depends on
neither the order of drawing nor on what else the network holds. Normals come from NumPy's ziggurat in float32.
"""

from __future__ import annotations

from hashlib import sha256
from math import prod, sqrt
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from resnet_dsl.ir.graph import Shape
from resnet_dsl.ir.ops import Init


def draw(key: str, shape: Shape, fill: Init | float, seed: int) -> NDArray[np.float32]:
    """The initial value of the parameter `key`; a number fills it.

    Shapes are torch's: (out, in / groups, height, width) or (out, in). NumPy releases the interpreter's lock while it
    draws, so that threads draw in parallel.
    """
    out = np.empty(shape, np.float32)
    if not isinstance(fill, Init):
        out.fill(fill)
        return out
    match fill.kind:
        case "zeros":
            out.fill(0.0)
        case "he_normal" | "xavier_normal" | "normal":
            stream(key, seed).standard_normal(dtype=np.float32, out=out)
            out *= np.float32(spread(fill, shape))
        case "he_uniform" | "xavier_uniform" | "uniform":
            bound = spread(fill, shape)
            stream(key, seed).random(dtype=np.float32, out=out)
            out *= np.float32(2 * bound)
            out -= np.float32(bound)
        case _:
            assert_never(fill.kind)
    return out


def stream(key: str, seed: int) -> np.random.Generator:
    """The random stream of one parameter under a seed."""
    digest = sha256(f"{seed}:{key}".encode()).digest()
    return np.random.Generator(np.random.SFC64(int.from_bytes(digest[:16], "little")))


def spread(init: Init, shape: Shape) -> float:
    """The standard deviation of a normal rule, the bound of a uniform one (see `ops.Init`).

    A vector has no fans of its own: a bias drawn as its weight is comes as `uniform`, with the bound in `scale`.
    """
    if init.kind == "normal":
        return init.scale
    if init.kind == "zeros":
        return 0.0
    if len(shape) < 2:
        if init.kind == "uniform":
            return init.scale
        raise ValueError(f"{init.kind} is no rule for a tensor of the shape {shape}")
    area = prod(shape[2:])
    fan_in, fan_out = shape[1] * area, shape[0] * area
    fan = fan_in if init.mode == "fan_in" else fan_out
    match init.kind:
        case "he_normal":
            return sqrt(2 / fan)
        case "he_uniform":
            return sqrt(6 / fan)
        case "xavier_normal":
            return sqrt(2 / (fan_in + fan_out))
        case "xavier_uniform":
            return sqrt(6 / (fan_in + fan_out))
        case "uniform":
            return sqrt(1 / fan_in)
        case _:
            assert_never(init.kind)
