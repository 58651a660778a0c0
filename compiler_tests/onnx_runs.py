"""Writing graphs to ONNX in memory, and running them with ONNX Runtime."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import onnx
import onnxruntime

from resnet_dsl.backends.onnx.options import OnnxOptions
from resnet_dsl.backends.onnx.writer import write_model
from resnet_dsl.ir.graph import Graph
from resnet_dsl.weights.store import Array, Weights


def to_bytes(graph: Graph, weights: Weights, options: OnnxOptions | None = None) -> bytes:
    stream = BytesIO()
    write_model(graph, weights, stream, options or OnnxOptions())
    return stream.getvalue()


def to_model(graph: Graph, weights: Weights, options: OnnxOptions | None = None) -> onnx.ModelProto:
    """The model after ONNX's own full check, with shapes inferred and compared."""
    model = onnx.load_from_string(to_bytes(graph, weights, options))
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    return model


def session(model: bytes | Path, *, codes: bool = True) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not codes:
        # ONNX Runtime 1.31 takes float8 for int8: it fuses a convolution that it then refuses, and has other numbers.
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = level
    source = str(model) if isinstance(model, Path) else model
    return onnxruntime.InferenceSession(source, options, ["CPUExecutionProvider"])


def run(model: bytes | Path, x: Array, *, codes: bool = True) -> dict[str, Array]:
    """All outputs by name; without `codes`, what is quantised is computed in floating point."""
    runner = session(model, codes=codes)
    names = [item.name for item in runner.get_outputs()]
    return dict(zip(names, runner.run(names, {"input": x}), strict=True))
