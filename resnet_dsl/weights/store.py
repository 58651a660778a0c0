"""Where the numbers in a graph come from: drawn from a seed or loaded, then folded and rounded as its constants say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Protocol, assert_never

import numpy as np
from numpy.typing import NDArray

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.ir.graph import (
    LARGEST_CODE,
    Codes,
    Constant,
    DType,
    FoldedBias,
    FoldedWeight,
    Norm,
    Scales,
    Shape,
    Stored,
)
from resnet_dsl.ir.ops import Init
from resnet_dsl.weights.encode import codes, decoded, scales
from resnet_dsl.weights.initialise import draw

Array = NDArray[np.float32]
_BFLOAT16_INFINITY = 0x7F80
_SMALLEST_HALF = 2.0**-24  # above zero


class Weights(Protocol):
    """A source of float32 tensors by state-dict key. A tensor that can be written is the caller's own; one that is
    shared comes read-only. Threads may call."""

    def get(self, key: str, shape: Shape, fill: Init | float) -> Array: ...


@dataclass(frozen=True, slots=True)
class SeededWeights:
    """Weights drawn from a seed, each by its own rule."""

    seed: int = 0

    def get(self, key: str, shape: Shape, fill: Init | float) -> Array:
        return draw(key, shape, fill, self.seed)


@dataclass(frozen=True, slots=True)
class LoadedWeights:
    """Weights that were loaded, under the graph's own keys."""

    tensors: Mapping[str, NDArray[Any]]

    def get(self, key: str, shape: Shape, fill: Init | float) -> Array:
        """Raises CompileError RD507 where the key is missing or its shape is another."""
        tensor = self.tensors.get(key)
        if tensor is None:
            raise _unfit(f"the weights have no `{key}`")
        if tensor.shape != shape:
            raise _unfit(f"`{key}` has the shape {tensor.shape}, and the network wants {shape}")
        view = np.asarray(tensor, np.float32).view()
        view.flags.writeable = False
        return view


@dataclass(slots=True)
class RecordingWeights:
    """Weights that pass through, leaving the hash of each tensor behind: the digest of what a target was made of."""

    source: Weights
    hashes: dict[str, bytes] = field(default_factory=dict)
    _vectors: dict[str, Array] = field(default_factory=dict)

    def get(self, key: str, shape: Shape, fill: Init | float) -> Array:
        vector = self._vectors.get(key)
        if vector is not None and vector.shape == shape:
            return vector
        tensor = self.source.get(key, shape, fill)
        if key not in self.hashes:
            self.hashes[key] = _tensor_hash(key, tensor)
        if len(shape) == 1:
            # A folded weight and a folded bias read the same vectors; they are small, and are kept.
            tensor.flags.writeable = False
            self._vectors[key] = tensor
        return tensor

    def digest(self) -> str:
        """SHA-256, in hexadecimal, over the names, element types, shapes and bytes of all tensors that have passed.

        It does not depend on their order (each is hashed, and the hashes are hashed in the order of names), so that
        every target of the same weights has the same digest, whatever order it writes them in; nor on how they are
        folded or rounded, since it is taken of the float32 state dict. Integers (`num_batches_tracked`) do not count:
        they do not come from a source of weights.
        """
        state = sha256()
        for key in sorted(self.hashes):
            state.update(self.hashes[key])
        return state.hexdigest()


def materialise(constant: Constant, weights: Weights) -> NDArray[Any]:
    """The numbers of a constant, in its element type; bfloat16 and float8 as their bits, in uint16 and uint8.

    Those of a constant with an encoding are what it computes with: its codes times their scales. Factors of folding are
    computed in float64; a float32 weight is multiplied in float32. Raises CompileError: RD507 where the weights lack a
    tensor, RD511 where float16 cannot hold a number, RD512 where statistics cannot be folded.
    """
    source = constant.source
    if constant.encoding is not None:
        found, steps = _encoded(constant, weights)
        return _rounded(decoded(found, steps, constant.encoding), constant)
    match source:
        case Codes(of):
            return _encoded(of, weights)[0]
        case Scales(of):
            return _rounded(scales_of(of, weights), constant)
        case Stored(key, fill):
            return _rounded(weights.get(key, constant.shape, fill), constant)
        case FoldedWeight(weight, norm):
            shape = constant.shape
            scale = _scale(norm, shape[:1], weights).reshape(-1, *[1] * (len(shape) - 1))
            tensor = weights.get(weight.key, shape, weight.fill)
            if constant.dtype == "float32":
                out = tensor if tensor.flags.writeable else np.empty(shape, np.float32)
                with np.errstate(over="ignore", invalid="ignore"):
                    np.multiply(tensor, scale.astype(np.float32), out=out)
                return _finite(out, constant)
            return _finite(_rounded(tensor * scale, constant), constant)
        case FoldedBias(bias, norm):
            size = constant.shape
            centred = -_read(norm.mean, size, weights)
            if bias is not None:
                centred += _read(bias, size, weights)
            shift = centred * _scale(norm, size, weights) + _read(norm.beta, size, weights)
            return _finite(_rounded(shift, constant), constant)
        case _:
            assert_never(source)


def scales_of(constant: Constant, weights: Weights) -> Array:
    """The scales of a constant with an encoding, (C,), rounded to the type in which they are kept. Raises CompileError
    as `materialise` does."""
    return _scales_under(constant, materialise(_plain(constant), weights))


def _scales_under(constant: Constant, plain: Array) -> Array:
    """The scales of numbers that are to be encoded as a constant says."""
    assert constant.encoding is not None
    exact = scales(plain, constant.encoding)
    if constant.dtype == "float16":
        exact = np.maximum(exact, np.float32(_SMALLEST_HALF))
    steps = _as_float32(_rounded(exact, constant), constant.dtype)
    _rounded(steps * np.float32(LARGEST_CODE[constant.encoding]), constant)  # which it refuses
    return steps


def _encoded(constant: Constant, weights: Weights) -> tuple[NDArray[Any], Array]:
    """The codes of a constant, and the scales that they were made with."""
    assert constant.encoding is not None
    plain = materialise(_plain(constant), weights)
    steps = _scales_under(constant, plain)
    return codes(plain, steps, constant.encoding), steps


def _plain(constant: Constant) -> Constant:
    """The constant as it is before it is encoded."""
    return replace(constant, encoding=None, dtype="float32")


def _as_float32(tensor: NDArray[Any], dtype: DType) -> Array:
    if dtype != "bfloat16":
        return tensor.astype(np.float32, copy=False)
    return (tensor.astype(np.uint32) << 16).view(np.float32)


def _finite(tensor: NDArray[Any], constant: Constant) -> NDArray[Any]:
    """What folding has made, refused where it has left the range of float32."""
    if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
        raise CompileError(
            Diagnostic(
                "RD511",
                f"`{constant.name}` is beyond {constant.dtype} once its batch normalisation is folded in",
                why="folding multiplies a weight by gamma / sqrt(variance + eps), and one of these is extreme",
                hint="the training diverged: take an earlier checkpoint; or keep the normalisation, with --no-fold",
            )
        )
    return tensor


def _scale(norm: Norm, size: Shape, weights: Weights) -> NDArray[np.float64]:
    """gamma / sqrt(variance + eps), (C,)."""
    variance = _read(norm.variance, size, weights) + norm.eps
    if not (variance > 0).all():
        raise CompileError(
            Diagnostic(
                "RD512",
                f"`{norm.variance.key}` holds a variance that is negative or not a number",
                why="a batch normalisation is folded by dividing by the square root of its variance",
                hint="the checkpoint is damaged, or its training diverged: take an earlier one",
            )
        )
    return _read(norm.gamma, size, weights) / np.sqrt(variance)


def _read(stored: Stored, size: Shape, weights: Weights) -> NDArray[np.float64]:
    return weights.get(stored.key, size, stored.fill).astype(np.float64)


def _rounded(tensor: NDArray[Any], constant: Constant) -> NDArray[Any]:
    dtype: DType = constant.dtype
    match dtype:
        case "float32":
            with np.errstate(over="ignore"):
                return tensor.astype(np.float32, copy=False)
        case "bfloat16":
            with np.errstate(over="ignore"):
                bits = bfloat16_bits(tensor.astype(np.float32, copy=False))
            if ((bits & 0x7FFF) == _BFLOAT16_INFINITY).any() and np.isfinite(tensor).all():
                raise _too_large(tensor, constant, "3.39e38", "fp32, which has a little more room")
            return bits
        case "float16":
            with np.errstate(over="ignore"):
                half = tensor.astype(np.float16)
            if not np.isfinite(half).all() and np.isfinite(tensor).all():
                raise _too_large(tensor, constant, "65504", "bf16, which has the range of fp32")
            return half
        case "int8" | "uint8" | "float8_e4m3fn":
            raise ValueError(f"`{constant.name}` cannot be rounded to {dtype}: codes need scales")
        case _:
            assert_never(dtype)


def _too_large(
    tensor: NDArray[Any], constant: Constant, largest: str, instead: str
) -> CompileError:
    found = float(np.abs(tensor).max())
    layer = constant.name.rpartition(".")[0] or constant.name
    precision = "fp16" if constant.dtype == "float16" else "bf16"
    return CompileError(
        Diagnostic(
            "RD511",
            f"`{constant.name}` holds {found:.6g}, and {constant.dtype} ends at {largest}",
            why=f"weights are rounded to {constant.dtype}",
            hint=f"take {instead}; or leave the layer in fp32, with --precision {precision} --keep {layer}",
        )
    )


def bfloat16_bits(tensor: NDArray[np.float32]) -> NDArray[np.uint16]:
    """float32 rounded to the nearest bfloat16, ties to even, as its 16 bits; a NaN stays one."""
    bits = np.ascontiguousarray(tensor).view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    quiet = (bits >> 16) | 0x40
    return np.where(np.isnan(tensor), quiet, rounded).astype(np.uint16)


def _tensor_hash(key: str, tensor: NDArray[Any]) -> bytes:
    state = sha256(
        f"{key}\0{tensor.dtype.kind}{tensor.dtype.itemsize}\0{','.join(map(str, tensor.shape))}\0".encode()
    )
    state.update(np.ascontiguousarray(tensor).data)
    return state.digest()


def _unfit(message: str) -> CompileError:
    return CompileError(
        Diagnostic(
            "RD507",
            message,
            why="a graph takes its weights by name and shape",
            hint="load the file for this spec, so that its names are mapped",
        )
    )
