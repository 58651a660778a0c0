"""How many digits elementwise functions have, and how steep they are.

OpenCL 3.0, table 38, asks 3 ulp of exp, 5 of tanh, 16 of erf and 2 of log1p, and 2.5 of a division; the constants below
follow from how each function is composed of them. Runtimes that approximate by rational functions are off by a few ulp
of the largest value, 1, which is why sigmoid and tanh have an absolute part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from resnet_dsl.ir.ops import ActivationKind


@dataclass(frozen=True, slots=True)
class Digits:
    """A function is off by u (`absolute` + `relative` |x|) at most, beside the rounding of its result; `slope` is its
    largest derivative."""

    absolute: float
    relative: float
    slope: float


FUNCTIONS: Mapping[ActivationKind, Digits] = {
    "relu": Digits(0, 0, 1),
    "relu6": Digits(0, 0, 1),
    "leaky_relu": Digits(0, 1, 1),
    "elu": Digits(4, 0, 1),  # exp(x) <= 1 to 3 ulp, less 1
    "gelu": Digits(0, 10, 1.13),  # x/2 of 1 + erf, which is off by 16 ulp of 1
    "silu": Digits(0, 6, 1.1),  # x times sigmoid
    "mish": Digits(0, 8, 1.09),  # x times tanh of softplus
    "hardswish": Digits(0, 4, 1.5),  # x times hardsigmoid
    "hardsigmoid": Digits(3, 0, 1 / 6),  # 1/6 is rounded, and so are the product and the sum
    "sigmoid": Digits(6, 0, 0.25),  # exp to 3 ulp, a sum and a division
    "tanh": Digits(5, 0, 1),
    "softplus": Digits(6, 0, 1),  # log1p of exp, and an addition of x
}
