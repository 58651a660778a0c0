"""Small residual nets as ONNX bytes, written by hand with the onnx package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_TYPES: dict[str, tuple[int, Any]] = {
    "fp32": (TensorProto.FLOAT, np.float32),
    "fp16": (TensorProto.FLOAT16, np.float16),
    "bf16": (TensorProto.BFLOAT16, ml_dtypes.bfloat16),
}


def residual_net(
    path: Path,
    precision: str = "fp16",
    *,
    shape: Sequence[int | str] = ("N", 8, 32, 32),
    quantised: bool = False,
    code: str = "INT8",
    classifier: bool = True,
    wide: str = "",
    casts: bool = False,
    replace: dict[str, str] | None = None,
) -> Path:
    """A stem, an identity block and a projection block with a fused norm, a head: nodes named as in a spec.

    `quantised` puts symmetric Q/DQ around every convolution, with codes of that element type; the node `wide` computes
    in fp32, between casts; with `casts`, input and output are fp32; `replace` gives nodes other operators.
    """
    proto, array_type = _TYPES[precision]
    random = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def weight(name: str, *size: int) -> str:
        values = (random.standard_normal(size) * 0.1).astype(array_type)
        weights.append(numpy_helper.from_array(values, name))
        return name

    def node(op: str, name: str, inputs: list[str], **attributes: Any) -> str:
        op = (replace or {}).get(name, op)
        if name == wide:
            before = node("Cast", f"{name}.before", inputs, to=TensorProto.FLOAT)
            nodes.append(helper.make_node(op, [before], [f"{name}.wide"], name=name, **attributes))
            return node("Cast", f"{name}.after", [f"{name}.wide"], to=proto)
        nodes.append(helper.make_node(op, inputs, [f"{name}.out"], name=name, **attributes))
        return f"{name}.out"

    def around(name: str, value: str) -> str:
        if not quantised:
            return value
        inner = node("QuantizeLinear", f"{name}.q", [value, "scale", "zero"])
        return node("DequantizeLinear", f"{name}.dq", [inner, "scale", "zero"])

    def conv(name: str, value: str, into: int, out: int, size: int = 3, stride: int = 1) -> str:
        kernel = around(f"{name}.weight", weight(f"{name}.weight", out, into, size, size))
        inputs = [around(f"{name}.input", value), kernel, weight(f"{name}.bias", out)]
        pads = [size // 2] * 4
        return node("Conv", name, inputs, pads=pads, strides=[stride, stride])

    if quantised:
        weights.append(numpy_helper.from_array(np.array(0.05, array_type), "scale"))
        weights.append(helper.make_tensor("zero", getattr(TensorProto, code), [], [0]))
    x = node("Cast", "input.cast", ["input"], to=proto) if casts else "input"
    x = node("Relu", "relu", [conv("conv1", x, int(shape[1]), 16)])
    y = node("Relu", "layer1.0.relu1", [conv("layer1.0.conv1", x, 16, 16)])
    y = conv("layer1.0.conv2", y, 16, 16)
    x = node("Relu", "layer1.0.relu2", [node("Add", "layer1.0.add", [y, x])])
    y = node("Relu", "layer2.0.relu1", [conv("layer2.0.conv1", x, 16, 32, 3, 2)])
    y = conv("layer2.0.conv2", y, 32, 32)
    shortcut = conv("layer2.0.downsample.0", x, 16, 32, 1, 2)
    x = node("Relu", "layer2.0.relu2", [node("Add", "layer2.0.add", [y, shortcut])])
    x = node("Flatten", "flatten", [node("GlobalAveragePool", "avgpool", [x])])
    if classifier:
        x = node("Gemm", "fc", [x, weight("fc.weight", 10, 32)], transB=1)
    if casts:
        node("Cast", "logits.cast", [x], to=TensorProto.FLOAT)
        proto = TensorProto.FLOAT
    nodes[-1].output[0] = "logits"
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("input", proto, list(shape))],
        [helper.make_tensor_value_info("logits", proto, [shape[0], 10 if classifier else 32])],
        weights,
    )
    opsets = [helper.make_opsetid("", 22)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path
