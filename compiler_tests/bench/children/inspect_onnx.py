"""Print the number of nodes of an ONNX model and the bytes of its weights, as JSON. Usage: inspect_onnx.py FILE.onnx"""

from __future__ import annotations

import json
import math
import sys

import onnx
from onnx import helper


def main(path: str) -> None:
    graph = onnx.load(path, load_external_data=False).graph
    weights = sum(
        math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        for tensor in graph.initializer
    )
    print(json.dumps({"nodes": len(graph.node), "weights": weights}))


if __name__ == "__main__":
    main(*sys.argv[1:])
