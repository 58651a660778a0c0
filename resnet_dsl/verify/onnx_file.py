"""What an ONNX file holds besides what can be run: nodes, constants, and what it says of itself."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.ir.graph import DType

FLOAT, FLOAT16, BFLOAT16 = (
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
)
ELEMENTS: Mapping[int, DType] = {
    onnx.TensorProto.FLOAT: "float32",
    onnx.TensorProto.FLOAT16: "float16",
    onnx.TensorProto.BFLOAT16: "bfloat16",
    onnx.TensorProto.INT8: "int8",
    onnx.TensorProto.UINT8: "uint8",
    onnx.TensorProto.FLOAT8E4M3FN: "float8_e4m3fn",
}
_KEPT = 64  # numbers of a constant that the inference of types may need
Setting: TypeAlias = Any


@dataclass(frozen=True, slots=True)
class Operator:
    """A node of a file."""

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: Mapping[str, Setting]


@dataclass(frozen=True)
class OnnxFile:
    """A file, read. Constants are read from it when they are asked for."""

    path: Path
    model: onnx.ModelProto

    @cached_property
    def sha256(self) -> str:
        """Of the file, in hexadecimal."""
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @cached_property
    def said(self) -> Mapping[str, str]:
        """What the file says of itself: our own have `spec_sha256` and `weights_sha256`."""
        return {item.key: item.value for item in self.model.metadata_props}

    @cached_property
    def operators(self) -> tuple[Operator, ...]:
        """The nodes in order."""
        return tuple(
            Operator(
                node.op_type,
                node.name,
                tuple(node.input),
                tuple(node.output),
                {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute},
            )
            for node in self.model.graph.node
        )

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The names of the graph's outputs."""
        return tuple(item.name for item in self.model.graph.output)

    @cached_property
    def input_shape(self) -> tuple[int | str, ...]:
        """The shape of the first input; what is open is a word."""
        given = {item.name for item in self.model.graph.initializer}
        images = next((item for item in self.model.graph.input if item.name not in given), None)
        sizes = images.type.tensor_type.shape.dim if images is not None else []
        return tuple(
            size.dim_value if size.HasField("dim_value") else size.dim_param or "?"
            for size in sizes
        )

    @property
    def dynamic(self) -> bool:
        """Whether the height or width of the images is open."""
        return any(isinstance(size, str) for size in self.input_shape[2:])

    @cached_property
    def types(self) -> Mapping[str, DType]:
        """The element types of constants, and of values as far as they can be inferred."""
        found = {
            item.name: ELEMENTS[item.data_type]
            for item in self.model.graph.initializer
            if item.data_type in ELEMENTS
        }
        try:
            inferred = onnx.shape_inference.infer_shapes(self._light())
        except Exception:  # onnx's have no common class; what runs the file says what is wrong
            return found
        for value in inferred.graph.value_info:
            kind = value.type.tensor_type.elem_type
            if kind in ELEMENTS:
                found[value.name] = ELEMENTS[kind]
        return found

    def constant(self, name: str) -> NDArray[Any] | None:
        """The numbers of a constant, with bfloat16 and float8 as their bits; None where there is none of the name."""
        tensor = self._constants.get(name)
        return None if tensor is None else _numbers(tensor, self.path.parent)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes of the constants by name."""
        return {name: tuple(tensor.dims) for name, tensor in self._constants.items()}

    @cached_property
    def _constants(self) -> Mapping[str, onnx.TensorProto]:
        found = {item.name: item for item in self.model.graph.initializer}
        for node in self.model.graph.node:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
                found[node.output[0]] = node.attribute[0].t
        return found

    def _light(self) -> onnx.ModelProto:
        """The model without the numbers of its large constants."""
        light = onnx.ModelProto()
        light.CopyFrom(self.model)
        for tensor in light.graph.initializer:
            if np.prod(tensor.dims, dtype=np.int64) > _KEPT:
                del tensor.external_data[:]
                for part in ("raw_data", "float_data", "int32_data", "int64_data", "data_location"):
                    tensor.ClearField(part)
        return light


def read(path: Path) -> OnnxFile:
    """The file. Raises CompileError RD691 where it cannot be read."""
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # what damaged files raise has no common class
        what = "there is no file" if isinstance(error, FileNotFoundError) else "cannot be read:"
        message = f"{what} `{path}`" if what.startswith("there") else f"`{path}` {what[:-1]}"
        raise CompileError(
            Diagnostic(
                "RD691",
                message,
                why=None if isinstance(error, FileNotFoundError) else _first_line(error),
                hint="give the path of an ONNX file",
            )
        ) from error
    if not model.graph.node or not model.graph.output:
        raise CompileError(
            Diagnostic(
                "RD691",
                f"`{path}` holds no graph",
                why="it has no nodes, or no outputs",
                hint="give a whole ONNX file",
            )
        )
    return OnnxFile(path, model)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:300] or type(error).__name__


def _numbers(tensor: onnx.TensorProto, folder: Path) -> NDArray[Any]:
    try:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(folder))
            tensor.data_location = onnx.TensorProto.DEFAULT
        found: NDArray[Any] = numpy_helper.to_array(tensor)
    except Exception as error:  # onnx's have no common class
        raise CompileError(
            Diagnostic(
                "RD691",
                f"the constant `{tensor.name}` cannot be read",
                why=_first_line(error),
                hint="the data file that the ONNX file refers to belongs beside it",
            )
        ) from error
    if tensor.data_type == onnx.TensorProto.BFLOAT16:
        return found.view(np.uint16)
    if tensor.data_type == onnx.TensorProto.FLOAT8E4M3FN:
        return found.view(np.uint8)
    return found
