"""What is read off a parsed network. Runs in the child process.

TensorRT has no type stubs, so its objects are `Any` here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from resnet_dsl.backends.tensorrt.messages import Tensor
from resnet_dsl.backends.tensorrt.precisions import PRECISIONS
from resnet_dsl.backends.tensorrt.products import TURING, Product
from resnet_dsl.errors import CompileError, Diagnostic

_NUMPY_NAMES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "FP8": "float8_e4m3fn",
}
_NARROWEST_FIRST = ("FP8", "INT8", "BF16", "HALF", "FLOAT")
_NAMES = {item.data_type: item.name for item in PRECISIONS.values() if item.name != "tf32"}
_MOVES = frozenset(
    {"CAST", "CONCATENATION", "CONSTANT", "GATHER", "IDENTITY", "PADDING", "SHAPE", "SHUFFLE", "SLICE", "SQUEEZE",
     "UNSQUEEZE"}
)  # fmt: skip
"""Layers that compute nothing."""


def check_not_empty(definition: Any, path: str) -> None:
    """Raises CompileError (RD626) for a network of nothing: empty or foreign bytes parse as a valid, empty model."""
    if definition.num_layers and definition.num_inputs and definition.num_outputs:
        return
    what = "operations" if not definition.num_layers else "inputs and outputs"
    raise CompileError(
        Diagnostic(
            "RD626",
            f"{path} holds no ONNX graph",
            why=f"it can be read as one, but with no {what}",
            hint="write it again with `resnet-dsl build SPEC --target onnx`",
        )
    )


def precision_of(
    definition: Any, asked: str | None, asked_rest: str | None = None
) -> tuple[str, str | None]:
    """The precision of a network, which is strongly typed: the narrowest type that something in it computes with or is
    quantised to; and what the rest computes with, where that is wider, such as "fp16", or "fp16, fp32".

    Raises CompileError (RD624) where something else was asked for.
    """
    present = _types(definition)
    narrowest = next((name for name in _NARROWEST_FIRST if name in present), "FLOAT")
    found = _NAMES[narrowest]
    wider = [_NAMES[name] for name in _NARROWEST_FIRST if name in present and name != narrowest]
    rest = ", ".join(wider) or None
    if asked is not None and PRECISIONS[asked].data_type != narrowest:
        raise _other_precision(asked, found, f"--precision {asked}")
    if asked_rest is not None and asked_rest not in wider:
        words = f"{found} with the rest in {asked_rest}", f"{found} with the rest in {rest}"
        raise _other_precision(*words, f"--precision {found} --rest {asked_rest}")
    return asked or found, rest


def _types(definition: Any) -> set[str]:
    """The types that layers compute with, and those that values are quantised to; what merely moves values is not
    counted, such as a cast of the input."""
    moved: set[str] = set()
    present: set[str] = set()
    for index in range(definition.num_layers):
        layer = definition.get_layer(index)
        kind = layer.type.name
        given = {layer.get_output(i).dtype.name for i in range(layer.num_outputs)}
        if kind == "QUANTIZE":
            present |= given
        elif kind == "DEQUANTIZE":
            present.add(layer.get_input(0).dtype.name)
        elif kind in _MOVES:
            moved |= given
        else:
            present |= given
    return present if present & set(_NARROWEST_FIRST) else present | moved


def _other_precision(asked: str, found: str, options: str) -> CompileError:
    return CompileError(
        Diagnostic(
            "RD624",
            f"the engine was to be {asked}, and the ONNX graph is {found}",
            why="an engine computes in the types that the graph is written in",
            hint=f"write the graph in it first: `resnet-dsl build SPEC --target onnx {options}`",
        )
    )


def check_turing(trt: Any, product: Product, definition: Any, targets: Sequence[int]) -> None:
    """Raises CompileError (RD624) for fp32 matrix products on Turing, which TensorRT for RTX has no kernels for."""
    if not (product.ahead_of_time and TURING in targets):
        return
    for index in range(definition.num_layers):
        layer = definition.get_layer(index)
        if layer.type == trt.LayerType.MATRIX_MULTIPLY and layer.get_output(0).dtype == trt.float32:
            raise CompileError(
                Diagnostic(
                    "RD624",
                    f"`{layer.name}` is a matrix product in fp32, which {product.title} cannot build for Turing (sm75)",
                    why="it has no such kernels for this generation, and a classifier is such a product",
                    hint="build `--precision fp16 --gpus sm75`, and fp32 for other GPUs; int8 has `--rest fp16`",
                )
            )


def tensors(get: Callable[[int], Any], count: int) -> tuple[Tensor, ...]:
    """The inputs or outputs of a network, -1 for a symbolic dimension."""
    found = []
    for index in range(count):
        tensor = get(index)
        name = tensor.dtype.name
        shape = tuple(int(size) for size in tensor.shape)
        found.append(Tensor(tensor.name, _NUMPY_NAMES.get(name, name.lower()), shape))
    return tuple(found)
