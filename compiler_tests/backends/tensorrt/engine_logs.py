"""Build logs as TensorRT for RTX writes them, of kernels that a test makes up, and the report of an engine with one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from compiler_tests.graphs import RELU, Builder, conv
from resnet_dsl.backends.tensorrt.child import LogLine
from resnet_dsl.backends.tensorrt.kernels import read_bytes, read_kernels
from resnet_dsl.backends.tensorrt.messages import Tensor
from resnet_dsl.backends.tensorrt.options import Profile
from resnet_dsl.backends.tensorrt.report import EngineReport
from resnet_dsl.ir.graph import Graph
from resnet_dsl.ir.ops import AdaptiveAvgPool, Add, Flatten, Init, Linear

MEMORY = ("Max Scratch Memory: 4096 bytes", "Total Activation Memory: 8192 bytes")


def tensor(name: str, *shape: int, kind: str = "Half", layout: str = "NHWC") -> str:
    sizes = ",".join(map(str, shape))
    return (
        f"{{ Name: {name}, Dimensions: [{sizes}], Strides: [1], StrideOrder: [0], Datatype: {kind}, "
        f"Format: ({layout}) a layout }}"
    )


def kernel(
    name: str,
    kind: str,
    nodes: Sequence[str],
    reads: Sequence[str],
    writes: Sequence[str],
    weights: Sequence[str] = (),
) -> str:
    """One line of the table; tensors by `tensor`."""

    def listed(items: Sequence[str]) -> str:
        return f"[ {', '.join(items)}]" if items else "[]"

    metadata = "".join(f"[ONNX Layer: {node}]" for node in nodes)
    return (
        f"Name: {name}, LayerType: {kind}, Inputs: {listed(reads)}, Constants: {listed(weights)}, "
        f"Outputs: {listed(writes)}, TacticName: a_tactic, StreamId: 0, Metadata: {metadata}"
    )


def engine(
    *kernels: str,
    precision: str = "fp16",
    lines: Sequence[str] = MEMORY,
    profiles: tuple[Profile, ...] = (Profile(),),
    shape: tuple[int, ...] = (-1, 3, 8, 8),
) -> EngineReport:
    """The report of an engine whose log has these kernels; with none, the log has no table."""
    texts = [*lines, *(["\n".join(["Layers:", *kernels])] if kernels else [])]
    return EngineReport(
        engine=Path("net.engine"),
        product="tensorrt_rtx",
        version="1.7.1.116",
        precision=precision,
        targets=(89,),
        profiles=profiles,
        inputs=(Tensor("input", "float32", shape),),
        outputs=(),
        size=64,
        sha256="00",
        seconds=1.0,
        stages={},
        peak_memory=None,
        kernels=read_kernels(texts),
        weight_memory=2048,
        scratch_memory=read_bytes(texts, "Total Activation Memory"),
        notes=(),
        log=tuple(LogLine("VERBOSE", text) for text in texts),
    )


def residual_graph() -> Graph:
    """A stem, one residual block without a projection, and a head: 3×8×8 to 10."""
    build = Builder()
    block = {"group": "layer1", "block": "layer1.0"}
    build.add("conv1", conv(3, 16, bias=True), group="stem")
    x = build.add("relu", RELU, group="stem")
    build.add("layer1.0.conv1", conv(16, 16, bias=True), **block)
    build.add("layer1.0.relu1", RELU, **block)
    y = build.add("layer1.0.conv2", conv(16, 16, bias=True), **block)
    build.add("layer1.0.add", Add(), y, x, **block)
    build.add("layer1.0.relu2", RELU, **block)
    build.add("avgpool", AdaptiveAvgPool((1, 1)), group="head")
    build.add("flatten", Flatten(), group="head")
    build.add("fc", Linear(16, 10, True, Init()), group="head")
    return build.graph(name="small")


_X = tensor("x", -1, 16, 8, 8)
HEAD = (
    kernel(
        "__myl_Mean_myl0_4",
        "kgen",
        ["avgpool"],
        [tensor("z", -1, 16, 8, 8)],
        [tensor("p", -1, 16, 1, 1)],
    ),
    kernel(
        "__myl_FcAdd_myl0_5",
        "runtime_fusion",
        ["logits"],
        [tensor("p", -1, 16, layout="Linear")],
        [tensor("logits", -1, 10, layout="Linear")],
        [tensor("w3", 16, 10), tensor("b3", 1, 10)],
    ),
)
FUSED = (
    kernel(
        "__myl_CastReplConc_myl0_1",
        "kgen",
        ["conv1", "relu"],
        [tensor("input", -1, 3, 8, 8, kind="Float", layout="Linear")],
        [tensor("padded", -1, 4, 8, 8)],
    ),
    kernel(
        "conv1_U1_myl0_2",
        "correlation",
        ["conv1", "relu"],
        [tensor("padded", -1, 4, 8, 8)],
        [_X],
        [tensor("w0", 16, 4, 3, 3)],
    ),
    kernel(
        "layer1.0.conv1_U2_myl0_2",
        "correlation",
        ["layer1.0.conv1", "layer1.0.relu1"],
        [_X],
        [tensor("y", -1, 16, 8, 8)],
        [tensor("w1", 16, 16, 3, 3)],
    ),
    kernel(
        "layer1.0.conv2_U3_myl0_3",
        "correlation",
        ["layer1.0.conv2", "layer1.0.relu2", "layer1.0.add"],
        [tensor("y", -1, 16, 8, 8), _X],
        [tensor("z", -1, 16, 8, 8)],
        [tensor("w2", 16, 16, 3, 3)],
    ),
    *HEAD,
)
"""What RTX makes of `residual_graph` in fp16. The first kernel lays out the image, and names the convolution behind."""
