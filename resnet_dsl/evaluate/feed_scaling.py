"""What the images of a feed are standardised by, as NumPy arrays: known, or measured on the training images."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.util import find_spec
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from resnet_dsl.errors import CompileError
from resnet_dsl.evaluate.normalise import Standard, standard_of
from resnet_dsl.evaluate.refusal import refusal

if TYPE_CHECKING:
    from resnet_dsl.evaluate.request import DataChoice
    from resnet_dsl.evaluate.subjects import Subject

Shape = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Scaling:
    """Images become (image - mean) / std, where pixels count from 0 to 1. Shapes are (C, 1, 1), or (C, H, W) for a mean
    image. `source` says where the numbers are from."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    source: str

    def applied(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Pixels (N, C, H, W), uint8 or floats in [0, 1], standardised; the arithmetic is the training's."""
        unit = np.float32(255 if images.dtype == np.uint8 else 1)
        found = images - self.mean * unit
        found /= self.std * unit
        return np.ascontiguousarray(found, np.float32)


def scaling_of(
    subject: Subject, shape: Shape, given: Standard | None, training: DataChoice | None
) -> Scaling:
    """What the images of a network of `shape` (C, H, W) are standardised by: what its training has written down, what
    the user has `given`, or what its spec says; measured, if need be, on the images of `training` (None: on those that
    the spec names).

    Raises CompileError: RD650 where they must be measured and torch is missing, RD671 where nothing says it, RD672
    where training images cannot be read.
    """
    try:
        standard = standard_of(subject, shape[0], (shape[1], shape[2]), given)
        if standard.measured is not None:
            return _measured(subject, standard, shape, training)
    except CompileError as error:
        raise _with_way_out(error) from error
    mean = _as_channels(standard.mean or (0.0,), shape)
    return Scaling(mean, _as_channels(standard.std or (1.0,), shape), standard.source)


def check_torch() -> None:
    """Raises CompileError RD650 where what reads image files is not installed."""
    missing = [name for name in ("torch", "torchvision") if find_spec(name) is None]
    if missing:
        raise refusal(
            "RD650",
            f"this needs {', '.join(missing)}",
            why="image files and the embedded digits are read with it",
            hint="pip install 'resnet-dsl[all]', or give the images as an .npy of (N, C, H, W)",
        )


def _measured(
    subject: Subject, standard: Standard, shape: Shape, training: DataChoice | None
) -> Scaling:
    check_torch()
    from resnet_dsl.evaluate.feed_images import measure

    mean, std = measure(subject, standard, shape, training)
    return Scaling(mean, std, str(standard))


def _as_channels(numbers: tuple[float, ...], shape: Shape) -> NDArray[np.float32]:
    """Numbers for each channel as (C, 1, 1), or for each pixel as (C, H, W)."""
    found = np.array(numbers, np.float32)
    return found.reshape(shape if found.size == prod(shape) else (-1, 1, 1))


def _with_way_out(error: CompileError) -> CompileError:
    """The same error, with what can be done about it where a network is not evaluated but fed."""
    hint = (
        "give the weights as the training left them, beside their result.json; write `mean` and `std` into the "
        "spec's train section; or give images that are standardised already, as a float32 .npy of (N, C, H, W)"
    )
    return CompileError(
        replace(item, hint=hint) if item.code == "RD671" else item for item in error.diagnostics
    )
