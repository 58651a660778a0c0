"""What is read off a parsed network, and what is set on a builder's configuration. Runs in the child process.

TensorRT has no type stubs, so its objects are `Any` here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from resnet_dsl.backends.tensorrt import device, gpus
from resnet_dsl.backends.tensorrt.messages import Tensor
from resnet_dsl.backends.tensorrt.products import PRECISIONS, RTX, TURING, Product
from resnet_dsl.errors import CompileError, Diagnostic

_NUMPY_NAMES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "BF16": "bfloat16",
    "FP8": "float8_e4m3fn",
}
_NARROWEST_FIRST = ("FP8", "INT8", "BF16", "HALF", "FLOAT")


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


def targets_for(product: Product, targets: Sequence[int]) -> tuple[int, ...]:
    """The capabilities that the engine will be for: those asked for, or the GPU at hand where that is the only one.

    Raises CompileError: RD621 where a GPU is needed and there is none, RD623 where another was asked for.
    """
    if product.ahead_of_time:
        return tuple(targets)
    at_hand = device.local_gpus()
    if not at_hand:
        raise CompileError(
            Diagnostic(
                "RD621",
                f"{product.title} needs the GPU that it builds for, and there is none here",
                why="the NVIDIA driver finds no GPU, or is not installed",
                hint=f"run this on the machine that has the GPU; or `{RTX.install}`, which builds engines for RTX "
                "GPUs without one",
            )
        )
    # The builder takes the current device, which is the first unless someone chose another.
    first = at_hand[0]
    others = [gpus.describe(target) for target in targets if target != first.capability]
    if others:
        raise CompileError(
            Diagnostic(
                "RD623",
                f"{product.title} cannot build for {', '.join(others)} here",
                why=f"it builds for the GPU at hand, which is {first.name}, {gpus.describe(first.capability)}",
                hint="leave the GPUs out, or run this on a machine that has the other",
            )
        )
    return (first.capability,)


def precision_of(definition: Any, asked: str | None) -> str:
    """The precision of a network, which is strongly typed: the narrowest type that one of its tensors has.

    Raises CompileError (RD624) where another one was asked for and no tensor has it.
    """
    present: set[str] = set()
    for index in range(definition.num_layers):
        layer = definition.get_layer(index)
        present.update(layer.get_output(i).dtype.name for i in range(layer.num_outputs))
    narrowest = next((name for name in _NARROWEST_FIRST if name in present), "FLOAT")
    found = next(item.name for item in PRECISIONS.values() if item.data_type == narrowest)
    if asked is None:
        return found
    if PRECISIONS[asked].data_type == narrowest:
        return asked
    raise CompileError(
        Diagnostic(
            "RD624",
            f"the engine was to be {asked}, and the ONNX graph is {found}",
            why="an engine computes in the types that the graph is written in",
            hint=f"write the graph in {asked} first",
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
                    hint="build Turing in fp16, and fp32 for the other GPUs alone",
                )
            )


def set_targets(trt: Any, product: Product, config: Any, targets: Sequence[int]) -> None:
    """Tell an ahead-of-time builder its targets: always, because its default asks the driver for a GPU.

    Raises CompileError (RD623) for a capability that this release does not know.
    """
    known = trt.ComputeCapability.__members__
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        member = known.get(f"SM{target}")
        if member is None or not config.set_compute_capability(member, index):
            names = ", ".join(name.lower() for name in known if name.startswith("SM"))
            raise CompileError(
                Diagnostic(
                    "RD623",
                    f"{product.title} {trt.__version__} cannot build for {gpus.describe(target)}",
                    why=f"this release knows {names}",
                    hint=f"release {product.since[target]} and newer know it: `{product.install} --upgrade`"
                    if target in product.since
                    else None,
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
