"""The nodes of an ONNX graph under construction, their small constants, and names that never collide."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_dsl.backends.onnx import proto
from resnet_dsl.backends.onnx.proto import Attribute
from resnet_dsl.ir.graph import FloatType
from resnet_dsl.ir.ops import CodeType
from resnet_dsl.weights.store import bfloat16_bits

_NODE, _INITIALIZER, _RAW_DATA = 1, 5, 9


class GraphBuilder:
    """Adds nodes and small constants, each serialised at once."""

    def __init__(self, opset: int, reserved: Iterable[str]) -> None:
        self.opset = opset
        self.nodes = 0
        self._used = set(reserved)
        self._parts: list[bytes] = []
        self._tensors: dict[str, bytes] = {}
        self._shared: dict[str, str] = {}

    def free(self, name: str) -> str:
        """`name`, or the next name like it that nothing has; taken from now on."""
        while name in self._used:
            name += "_"
        self._used.add(name)
        return name

    def node(self, kind: str, result: str, inputs: Iterable[str], **attributes: Attribute) -> str:
        """One node with one result, which is its own name and its result's; returns it."""
        message = proto.node(kind, result, inputs, attributes.items())
        self._parts.append(proto.block(_NODE, message))
        self.nodes += 1
        return result

    def once(self, kind: str, of: str, inputs: Iterable[str], **attributes: Attribute) -> str:
        """A node that several others read: added the first time that it is asked for by this name."""
        if of not in self._shared:
            self._shared[of] = self.node(kind, self.free(of), inputs, **attributes)
        return self._shared[of]

    def step(
        self, kind: str, of: str, inputs: Iterable[str], suffix: str = "", **attributes: Attribute
    ) -> str:
        """A node on the way to the result `of`: named after it and after what it does."""
        return self.node(kind, self.free(f"{of}.{suffix or kind.lower()}"), inputs, **attributes)

    def integers(self, *values: int) -> str:
        """A constant vector of int64, one for all uses of the same numbers."""
        return self._tensor(
            f"int64[{','.join(map(str, values))}]", proto.INT64, np.array(values, "<i8")
        )

    def scalar(self, value: float, dtype: FloatType) -> str:
        """A constant number of a floating type, one for all its uses."""
        return self._floats(f"{dtype}({value!r})", np.array(value, np.float32), dtype)

    def zero_point(self, value: int, dtype: CodeType) -> str:
        """A constant code for zero, which also says what type codes are of."""
        kind = np.dtype("i1" if dtype == "int8" else "u1")
        return self._tensor(f"{dtype}({value})", proto.ELEMENT_TYPES[dtype], np.array(value, kind))

    def zero_points(self, size: int, dtype: CodeType) -> str:
        """A constant vector of the code 0 for each channel."""
        return self._tensor(
            f"{dtype}(0)[{size}]", proto.ELEMENT_TYPES[dtype], np.zeros(size, np.uint8)
        )

    def filled(self, value: float, size: int, dtype: FloatType) -> str:
        """A constant vector of one number."""
        return self._floats(f"{dtype}({value!r})[{size}]", np.full(size, value, np.float32), dtype)

    def matrix(self, name: str, rows: list[list[float]], dtype: FloatType) -> str:
        """A constant matrix, under a name of the caller's."""
        return self._floats(self.free(name), np.array(rows, np.float32), dtype)

    @property
    def initializers(self) -> int:
        return len(self._tensors)

    def fields(self) -> bytes:
        """The nodes and the small constants, as fields of a GraphProto: node 1, initializer 5."""
        return b"".join(self._parts) + b"".join(self._tensors.values())

    def _floats(self, name: str, values: NDArray[np.float32], dtype: FloatType) -> str:
        data: NDArray[Any]
        match dtype:
            case "float32":
                data = values.astype("<f4")
            case "float16":
                data = values.astype("<f2")
            case "bfloat16":
                data = bfloat16_bits(values).astype("<u2")
        return self._tensor(name, proto.ELEMENT_TYPES[dtype], data)

    def _tensor(self, name: str, kind: int, data: NDArray[Any]) -> str:
        if name not in self._tensors:
            message = proto.tensor(name, kind, data.shape) + proto.block(_RAW_DATA, data.tobytes())
            self._tensors[name] = proto.block(_INITIALIZER, message)
        return name
