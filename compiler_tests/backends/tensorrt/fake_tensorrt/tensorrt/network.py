"""A network definition, and the parser that fills it from an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import onnx

from .enums import STRONG_ONLY, DataType, ErrorCode, LayerType, NetworkDefinitionCreationFlag

_TYPES: dict[int, DataType] = {
    onnx.TensorProto.FLOAT: DataType.FLOAT,
    onnx.TensorProto.FLOAT16: DataType.HALF,
    onnx.TensorProto.BFLOAT16: DataType.BF16,
    onnx.TensorProto.INT8: DataType.INT8,
    onnx.TensorProto.FLOAT8E4M3FN: DataType.FP8,
    onnx.TensorProto.INT64: DataType.INT64,
}
_LAYERS = {
    "Conv": LayerType.CONVOLUTION,
    "Cast": LayerType.CAST,
    "Relu": LayerType.ACTIVATION,
    "MaxPool": LayerType.POOLING,
    "GlobalAveragePool": LayerType.REDUCE,
    "Add": LayerType.ELEMENTWISE,
    "Flatten": LayerType.SHUFFLE,
    "Reshape": LayerType.SHUFFLE,
    "Gemm": LayerType.MATRIX_MULTIPLY,
    "Identity": LayerType.IDENTITY,
    "Slice": LayerType.SLICE,
    "Pad": LayerType.SLICE,
    "QuantizeLinear": LayerType.QUANTIZE,
    "DequantizeLinear": LayerType.DEQUANTIZE,
}


@dataclass
class ITensor:
    name: str
    dtype: DataType
    shape: tuple[int, ...]


@dataclass
class ILayer:
    name: str
    type: LayerType
    inputs: list[ITensor]
    outputs: list[ITensor]

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    def get_input(self, index: int) -> ITensor:
        return self.inputs[index]

    def get_output(self, index: int) -> ITensor:
        return self.outputs[index]


class INetworkDefinition:
    def __init__(self, flags: int) -> None:
        self.strongly_typed = STRONG_ONLY or bool(
            flags >> int(NetworkDefinitionCreationFlag.STRONGLY_TYPED) & 1
        )
        self.layers: list[ILayer] = []
        self.inputs: list[ITensor] = []
        self.outputs: list[ITensor] = []

    @property
    def num_layers(self) -> int:
        return len(self.layers)

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    @property
    def num_outputs(self) -> int:
        return len(self.outputs)

    def get_layer(self, index: int) -> ILayer:
        return self.layers[index]

    def get_input(self, index: int) -> ITensor:
        return self.inputs[index]

    def get_output(self, index: int) -> ITensor:
        return self.outputs[index]


@dataclass
class ParserError:
    _code: ErrorCode
    _node: int
    _name: str
    _operator: str
    _desc: str

    def code(self) -> ErrorCode:
        return self._code

    def desc(self) -> str:
        return self._desc

    def node(self) -> int:
        return self._node

    def node_name(self) -> str:
        return self._name

    def node_operator(self) -> str:
        return self._operator


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: Any) -> None:
        self._network = network
        self._logger = logger
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def parse_from_file(self, path: str) -> bool:
        try:
            model = onnx.load(path)
        except Exception:
            words = "Failed to parse the ONNX model."
            error = ParserError(ErrorCode.MODEL_DESERIALIZE_FAILED, -1, "", "", words)
            self._errors.append(error)
            return False
        return self._take(model.graph, onnx.shape_inference.infer_shapes(model).graph)

    def _take(self, graph: onnx.GraphProto, inferred: onnx.GraphProto) -> bool:
        values = (*inferred.value_info, *inferred.input, *inferred.output)
        known = {item.name: _tensor(item) for item in values}
        for weight in graph.initializer:
            dtype = _TYPES.get(weight.data_type, DataType.INT32)
            known[weight.name] = ITensor(weight.name, dtype, tuple(weight.dims))
        for index, node in enumerate(graph.node):
            kind = _LAYERS.get(node.op_type)
            if kind is None:
                words = "Plugin not found, are the plugin name, version, and namespace correct?"
                self._errors.append(
                    ParserError(ErrorCode.UNSUPPORTED_NODE, index, node.name, node.op_type, words)
                )
                continue
            inputs = [known[name] for name in node.input if name in known]
            made = [known.get(name, _like(name, inputs)) for name in node.output]
            known |= {item.name: item for item in made}
            self._network.layers.append(ILayer(node.name, kind, inputs, made))
        weights = {item.name for item in graph.initializer}
        self._network.inputs = [
            known[item.name] for item in graph.input if item.name not in weights
        ]
        self._network.outputs = [known[item.name] for item in graph.output]
        return not self._errors


def _tensor(value: onnx.ValueInfoProto) -> ITensor:
    kind = value.type.tensor_type
    sizes = [size.dim_value if size.HasField("dim_value") else -1 for size in kind.shape.dim]
    return ITensor(value.name, _TYPES.get(kind.elem_type, DataType.INT32), tuple(sizes))


def _like(name: str, inputs: Sequence[ITensor]) -> ITensor:
    return ITensor(name, inputs[0].dtype, inputs[0].shape)
