"""Rounding: what one operation of floating-point arithmetic may be off by, and how such errors add up.

The model of arithmetic is the usual one: fl(a op b) = (a op b)(1 + δ), |δ| <= u, with u = 2**-p for a mantissa of p
bits (Higham 2002, "Accuracy and stability of numerical algorithms", section 2.2), beside numbers so small that they
lose digits, which are off by an absolute amount, half the spacing of subnormals.

Sums of many terms follow Higham & Mary 2019, "A new approach to probabilistic rounding error analysis", SIAM J. Sci.
Comput. 41(5): where the δ are independent random variables of mean zero, n of them multiply to 1 + θ with

    |θ| <= γ̃_n(λ) = exp(λ sqrt(n) u + n u² / (1 - u)) - 1      but with probability 2 exp(-λ² (1 - u)² / 2)

(theorem 2.4), instead of the n u that is sure. λ follows from how seldom a sound network may be called unsound:
`CHANCE` in all, for `ROUNDINGS` roundings, so that 2 ROUNDINGS exp(-λ²/2) = CHANCE.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import exp, expm1, log, sqrt

from resnet_dsl.ir.graph import FloatType

CHANCE = 1e-6
"""The probability with which a sound network is called unsound, by the model of rounding."""
ROUNDINGS = 1e12
"""More roundings than a verification sees: a hundred images of a network of 10^10 multiply-adds."""
CHANNELS = 1e8
"""More channels, of all values and all targets, than a verification compares."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A floating-point type: `roundoff` is u, `tiny` half the spacing of its smallest numbers, `largest` its end."""

    name: FloatType
    roundoff: float
    tiny: float
    largest: float


# Of float32 that is 2**-127, where subnormals are flushed to zero; 2**-100 says as little of a network's values, and
# its square is not subnormal itself, which processors are slow with.
UNITS: dict[FloatType, Unit] = {
    "float32": Unit("float32", 2.0**-24, 2.0**-100, 3.4028234663852886e38),
    "float16": Unit("float16", 2.0**-11, 2.0**-25, 65504.0),
    "bfloat16": Unit("bfloat16", 2.0**-8, 2.0**-100, 3.3895313892515355e38),
}
TF32_ROUNDOFF = 2.0**-11


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How a target computes. Sums are formed in `sums`; `reads` is the unit roundoff of what the operands of products
    are rounded to before (TF32), or 0. With `loose`, what is read may be what was before its rounding to the half type
    that the graph says, of which the target's value, as it is seen, is the rounded one. With `fused`, layers between
    codes are computed in integers, and their bias is rounded to the steps of these."""

    sums: Unit = UNITS["float32"]
    reads: float = 0.0
    loose: bool = False
    fused: bool = False


FLOAT32 = Arithmetic()


@cache
def certainty(events: float = ROUNDINGS, chance: float = CHANCE) -> float:
    """λ: how many standard deviations no one of so many sums exceeds, but with that chance."""
    return sqrt(2 * log(2 * events / chance))


@cache
def mean_square_certainty(channels: float = CHANNELS, chance: float = CHANCE) -> float:
    """λ for the root mean square of errors, each as in Higham & Mary's model, however they depend on one another.

    For a centred variable Z with E exp(tZ) <= exp(t²/2) it holds that E exp(s Z²) <= (1 - 2s)^(-1/2), and by Jensen's
    inequality for the mean of many such squares too, whatever binds them. Markov's inequality with s = (1 - 1/λ²) / 2
    gives P(mean Z² > λ²) <= λ sqrt(e) exp(-λ²/2); λ is solved for by iteration.
    """
    found = 1.0
    for _ in range(50):
        found = sqrt(2 * log(max(found, 1.0) * sqrt(exp(1)) * channels / chance))
    return found


def gamma(terms: int, unit: Unit) -> float:
    """γ̃_n(λ), or n u / (1 - n u), which is sure, where that is less."""
    u = unit.roundoff
    random = expm1(min(certainty() * sqrt(terms) * u + terms * u * u / (1 - u), 50.0))
    return min(random, terms * u / (1 - terms * u)) if terms * u < 1 else random


@cache
def student(seeds: int, chance: float) -> float:
    """The quantile t of Student's distribution with an even number of degrees of freedom: P(|T| > t) = chance.

    Abramowitz & Stegun 1964, equation 26.7.4: P(|T| <= t) = sin θ (1 + 1/2 cos² θ + … ) with tan θ = t / sqrt(seeds).
    """
    if seeds < 2 or seeds % 2:
        raise ValueError("an even number of seeds is needed")
    low, high = 0.0, 1.0
    while _beyond(high, seeds) > chance:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _beyond(middle, seeds) > chance else (low, middle)
    return high


def _beyond(t: float, seeds: int) -> float:
    """P(|T| > t)."""
    cosine = seeds / (seeds + t * t)
    term, total = 1.0, 1.0
    for number in range(1, seeds // 2):
        term *= cosine * (2 * number - 1) / (2 * number)
        total += term
    # 1 - sin θ total loses all digits for large t, where the terms that are left out are summed instead.
    sine = sqrt(1 - cosine)
    if sine * total < 0.9:
        return 1 - sine * total
    number, rest = max(seeds // 2, 1), 0.0
    term = 1.0
    for index in range(1, number + 1):
        term *= cosine * (2 * index - 1) / (2 * index)
    while term > 1e-20 * max(rest, 1e-300) and number < 100_000:
        rest += term
        number += 1
        term *= cosine * (2 * number - 1) / (2 * number)
    return sine * rest
