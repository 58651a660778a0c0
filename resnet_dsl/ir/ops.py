"""The closed set of operations.

Each operation is one frozen dataclass, generic over its integers `I` and its reals `F`: inside a function they are
expressions over the function's parameters (`Op[Expr, Expr]`), in a flat graph they are numbers (`Op[int, float]`).
Tensors are `(N, C, H, W)` or, after a flatten, `(N, F)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Literal, TypeAlias, TypeVar

I = TypeVar("I", covariant=True)  # noqa: E741
F = TypeVar("F", covariant=True)

InitKind: TypeAlias = Literal[
    "he_normal", "he_uniform", "xavier_normal", "xavier_uniform", "normal", "uniform", "zeros"
]
ActivationKind: TypeAlias = Literal[
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "gelu",
    "silu",
    "mish",
    "hardswish",
    "hardsigmoid",
    "sigmoid",
    "tanh",
    "softplus",
]
CodeType: TypeAlias = Literal["int8", "uint8", "float8_e4m3fn"]
"""What quantised numbers are kept in; float8_e4m3fn: 4 bits of exponent, 3 of mantissa, no infinity."""
PadSide: TypeAlias = Literal["symmetric", "trailing"]


@dataclass(frozen=True, slots=True)
class Init:
    """How a weight is drawn. He: N(0, 2/fan) (He et al. 2015, "Delving Deep into Rectifiers", eq. 10 and 14).

    he_normal std = sqrt(2/fan); he_uniform bound = sqrt(6/fan); xavier_normal std = sqrt(2/(fan_in+fan_out));
    xavier_uniform bound = sqrt(6/(fan_in+fan_out)); normal: std = `scale`; uniform: bound = 1/sqrt(fan_in), which is
    torch's default for linear layers; zeros: 0. `fan` is chosen by `mode` and counts kernel area times channels
    (fan_in = C_in/groups * kh * kw, fan_out = C_out * kh * kw, torch's convention: fan_out is not divided by groups).
    """

    kind: InitKind = "he_normal"
    mode: Literal["fan_in", "fan_out"] = "fan_out"
    scale: float = 0.01


@dataclass(frozen=True, slots=True)
class Conv(Generic[I]):
    """2-d convolution, (N, in_channels, H, W) -> (N, out_channels, H', W'); `padding` is zeros on both sides."""

    in_channels: I
    out_channels: I
    kernel: tuple[I, I]
    stride: tuple[I, I]
    padding: tuple[I, I]
    dilation: tuple[I, I]
    groups: I
    bias: bool
    init: Init
    bias_fill: float = 0.0


@dataclass(frozen=True, slots=True)
class Linear(Generic[I]):
    """(N, in_features) -> (N, out_features). With `init.kind == "uniform"` the bias is drawn as the weight is, as torch
    does; otherwise it is filled with `bias_fill`."""

    in_features: I
    out_features: I
    bias: bool
    init: Init
    bias_fill: float = 0.0


@dataclass(frozen=True, slots=True)
class BatchNorm(Generic[I]):
    """Batch normalisation over C. `momentum` is torch's (weight of the new batch); `gamma` fills the weight."""

    channels: I
    eps: float
    momentum: float
    gamma: float = 1.0


@dataclass(frozen=True, slots=True)
class FrozenBatchNorm(Generic[I]):
    """Batch normalisation whose statistics and affine terms are buffers that training never moves."""

    channels: I
    eps: float
    gamma: float = 1.0


@dataclass(frozen=True, slots=True)
class GroupNorm(Generic[I]):
    """Group normalisation (Wu & He 2018)."""

    channels: I
    groups: I
    eps: float
    gamma: float = 1.0


@dataclass(frozen=True, slots=True)
class Activation:
    """Elementwise nonlinearity. `slope` is leaky_relu's negative slope or elu's alpha, and unused elsewhere."""

    kind: ActivationKind
    slope: float = 0.01


@dataclass(frozen=True, slots=True)
class MaxPool(Generic[I]):
    """Max pooling; padding counts as minus infinity."""

    kernel: tuple[I, I]
    stride: tuple[I, I]
    padding: tuple[I, I]
    ceil: bool = False


@dataclass(frozen=True, slots=True)
class AvgPool(Generic[I]):
    """Average pooling; padded places do not count in the mean (count_include_pad=False)."""

    kernel: tuple[I, I]
    stride: tuple[I, I]
    padding: tuple[I, I]
    ceil: bool = False


@dataclass(frozen=True, slots=True)
class AdaptiveAvgPool(Generic[I]):
    """Average pooling to a fixed output size; (1, 1) is global average pooling."""

    size: tuple[I, I]


@dataclass(frozen=True, slots=True)
class Flatten:
    """(N, C, H, W) -> (N, C*H*W)."""


@dataclass(frozen=True, slots=True)
class Dropout(Generic[F]):
    """Dropout with probability `rate`; the identity at inference."""

    rate: F


@dataclass(frozen=True, slots=True)
class DropPath(Generic[F]):
    """Stochastic depth, per sample, scaled by 1/(1-rate) in training (Huang et al. 2016); the identity at inference."""

    rate: F


@dataclass(frozen=True, slots=True)
class Subsample(Generic[I]):
    """Every `stride`-th row and column (option A, He et al. 2015, section 3.3)."""

    stride: I


@dataclass(frozen=True, slots=True)
class PadChannels(Generic[I]):
    """Zero channels added up to `out_channels`.

    symmetric puts (out - in) // 2 of them before and the rest after; trailing puts all after.
    """

    in_channels: I
    out_channels: I
    side: PadSide = "symmetric"


@dataclass(frozen=True, slots=True)
class Add:
    """Elementwise sum of its operands; of equal shapes."""


@dataclass(frozen=True, slots=True)
class Multiply:
    """Elementwise product; a spatial size of 1 broadcasts."""


@dataclass(frozen=True, slots=True)
class Concat:
    """Concatenation along C."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Highway join of (h, x, t): h * t + x * (1 - t) (Srivastava et al. 2015, eq. 3)."""


@dataclass(frozen=True, slots=True)
class Cast:
    """Change of element type; put in by the precision passes only."""

    dtype: Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True, slots=True)
class Quantize:
    """x -> clip(round(x / scale) + zero_point), to even, into the range of `dtype`; for float8 there is no zero point.
    One scale for the whole tensor. Put in by the quantize pass only."""

    dtype: CodeType
    scale: float
    zero_point: int = 0


@dataclass(frozen=True, slots=True)
class Dequantize:
    """q -> (q - zero_point) * scale, of codes of `dtype`. Put in by the quantize pass only."""

    dtype: CodeType
    scale: float
    zero_point: int = 0


Op: TypeAlias = (
    Conv[I]
    | Linear[I]
    | BatchNorm[I]
    | FrozenBatchNorm[I]
    | GroupNorm[I]
    | Activation
    | MaxPool[I]
    | AvgPool[I]
    | AdaptiveAvgPool[I]
    | Flatten
    | Dropout[F]
    | DropPath[F]
    | Subsample[I]
    | PadChannels[I]
    | Add
    | Multiply
    | Concat
    | Gate
    | Cast
    | Quantize
    | Dequantize
)
