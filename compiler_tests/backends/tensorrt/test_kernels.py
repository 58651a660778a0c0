"""The table of kernels in a build log."""

from __future__ import annotations

from resnet_dsl.backends.tensorrt.kernels import KernelTensor, read_bytes, read_kernels

TENSOR = (
    "{{ Name: {name}, Dimensions: [{shape}], Strides: [1,1], StrideOrder: [1,0], Datatype: Half, "
    "Format: (NHWC) Channel major format }}"
)
LAYERS = "\n".join(
    [
        "Layers:",
        "Name: __mye1149_0_myl0_0, LayerType: shape_call, Inputs: [], Constants: [], Outputs: [], TacticName: , "
        "StreamId: 0, Metadata: ",
        "Name: layer1.0.conv2_myl0_5, LayerType: correlation, Inputs: [ "
        + TENSOR.format(name="a", shape="-1,64,56,56")
        + ", "
        + TENSOR.format(name="b", shape="-1,64,56,56")
        + " ], Constants: [ "
        + TENSOR.format(name="w", shape="64,64,3,3")
        + " ], Outputs: [ "
        + TENSOR.format(name="c", shape="-1,64,56,56")
        + " ], TacticName: t, StreamId: 0, Metadata: [ONNX Layer: layer1.0.conv2][ONNX Layer: layer1.0.add]"
        "[ONNX Layer: layer1.0.add]__gemm_from_conv1x1",
        "Name: __mye3599_myl0_10, LayerType: wait, Inputs: [], Constants: [], Outputs: [], TacticName: , StreamId: 1, "
        "EventId: 1, Metadata: ",
        "",
        "I/O Tensors:",
        " Name: input, IOMode: Input, DataType: Half, Dimensions: [-1,3,224,224]",
    ]
)


def test_a_kernel_is_read_with_its_nodes_and_tensors_and_bookkeeping_is_none():
    found = read_kernels(["before", LAYERS, "after"])
    assert found is not None
    (kernel,) = found
    assert (kernel.name, kernel.kind) == ("layer1.0.conv2_myl0_5", "correlation")
    assert kernel.nodes == ("layer1.0.conv2", "layer1.0.add")
    shape = (-1, 64, 56, 56)
    assert kernel.inputs == tuple(KernelTensor(name, shape, "Half", "NHWC") for name in "ab")
    assert kernel.outputs == (KernelTensor("c", shape, "Half", "NHWC"),)


def test_a_log_without_the_table_gives_none():
    assert read_kernels(["Layer(Convolution): conv1"]) is None


def test_memory_is_read_from_the_log():
    log = ["Total Activation Memory: 181600256 bytes", "Total Weights Memory: 23368320 bytes"]
    assert read_bytes(log, "Total Weights Memory") == 23368320
    assert read_bytes(log, "Max Scratch Memory") is None
