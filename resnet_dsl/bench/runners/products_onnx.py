"""Products of matrices by ONNX Runtime: a graph of one node, a constant its second operand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from resnet_dsl.backends.onnx import proto
from resnet_dsl.bench.messages import Load
from resnet_dsl.bench.runners.onnx_runtime import session

_OPERATORS = {"fp32": "MatMul", "int8": "MatMulInteger"}
_IR_VERSION, _OPSET = 8, 18
_INT32 = 6  # TensorProto.DataType
_RAW = 9  # TensorProto.raw_data


def products(load: Load, side: int) -> dict[str, Callable[[], object]]:
    """What multiplies two matrices of side × side in the precision; none where ONNX Runtime has none on a CPU."""
    operator = _OPERATORS.get(load.precision)
    if operator is None:
        return {}
    drawn = np.random.default_rng(0)
    if load.precision == "int8":
        x = drawn.integers(0, 256, (side, side), np.uint8)
        y: np.typing.NDArray[np.generic] = drawn.integers(-127, 128, (side, side), np.int8)
        kinds = (proto.ELEMENT_TYPES["uint8"], proto.ELEMENT_TYPES["int8"], _INT32)
    else:
        x, y = drawn.standard_normal((2, side, side), np.float32)
        kinds = (proto.ELEMENT_TYPES["float32"],) * 2 + (proto.ELEMENT_TYPES["float32"],)
    runner = session(_model(operator, side, kinds, y.tobytes()), load)
    return {"ONNX Runtime": lambda: runner.run(None, {"x": x})}


def _model(operator: str, side: int, kinds: tuple[int, ...], constant: bytes) -> bytes:
    """ModelProto of `operator`(x, y), whose y is the constant."""
    size = (side, side)
    weight = proto.tensor("y", kinds[1], size) + proto.block(_RAW, constant)
    body = proto.block(1, proto.node(operator, "z", ("x", "y"), ())) + proto.block(5, weight)
    ends = proto.value_info("x", kinds[0], size), proto.value_info("z", kinds[2], size)
    graph = proto.graph("product", "", body, [ends[0]], [ends[1]])
    head = proto.model_head(_IR_VERSION, "resnet-dsl", "", "")
    return head + proto.block(7, graph) + proto.model_tail(_OPSET, ())
