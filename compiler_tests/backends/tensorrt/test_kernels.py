"""The table of kernels in a build log."""

from __future__ import annotations

import pytest

from resnet_dsl.backends.tensorrt.kernels import Kernel, KernelTensor, read_bytes, read_kernels

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
    assert kernel.constants == (KernelTensor("w", (64, 64, 3, 3), "Half", "NHWC"),)
    assert kernel.tactic == "t"


def test_a_log_without_the_table_gives_none():
    assert read_kernels(["Layer(Convolution): conv1"]) is None


def test_memory_is_read_from_the_log():
    log = ["Total Activation Memory: 181600256 bytes", "Total Weights Memory: 23368320 bytes"]
    assert read_bytes(log, "Total Weights Memory") == 23368320
    assert read_bytes(log, "Max Scratch Memory") is None


def test_of_several_profiles_the_largest_memory_counts():
    log = [f"Total Activation Memory: {count} bytes" for count in (12, 265, 100)]
    assert read_bytes(log, "Total Activation Memory") == 265


@pytest.mark.parametrize(
    "names",
    [
        (
            "conv1_U1_myl0_1",
            "__myl_Cast_myl0_2",
            "__myl_Cast_myl3_1",
            "conv1 [profile 1]_U1_myl3_2",
        ),
        ("conv1", "reformat", "conv1 [profile 1]", "reformat [profile 1]"),
    ],
    ids=["rtx", "full"],
)
def test_a_kernel_is_of_the_profile_that_it_or_another_of_its_graph_names(names: tuple[str, ...]):
    line = "Name: {}, LayerType: kgen, Inputs: [], Constants: [], Outputs: [], Metadata: "
    found = read_kernels(["\n".join(["Layers:", *map(line.format, names)])])
    assert found is not None
    assert [item.profile for item in found] == [0, 0, 1, 1]


FULL = "\n".join(
    [
        "Layers:",
        "Name: Reformatting CopyNode for Input Tensor 0 to conv1 + relu, LayerType: Reformat, Inputs: [ { Name: input, "
        "Location: Device, Dimensions: [1,3,224,224], Format/Datatype: Row major linear FP32 format }], Outputs: [ { "
        "Name: Reformatted Input Tensor 0 to conv1 + relu, Location: Device, Dimensions: [1,3,224,224], "
        "Format/Datatype: Channel major FP16 format where channel % 4 == 0 }], ParameterType: Reformat, Origin: "
        "REFORMAT, TacticValue: 0x00000000000003e8, StreamId: 0, Metadata: ",
        "Name: conv1 + relu, LayerType: CaskConvolution, Inputs: [ { Name: Reformatted Input Tensor 0 to conv1 + relu, "
        "Location: Device, Dimensions: [1,3,224,224], Format/Datatype: Half }], Outputs: [ { Name: relu, Location: "
        "Device, Dimensions: [1,64,112,112], Format/Datatype: Thirty-two wide channel vectorized row major Int8 format "
        '}], ParameterType: Convolution, Kernel: [7,7], Stride: [2,2], Weights: {"Type": "Half", "Count": 9408}, Bias: '
        '{"Type": "Float", "Count": 64}, Activation: RELU, TacticName: sm80_xmma_fprop, TacticValue: 0x1, StreamId: 0, '
        "Metadata: [ONNX Layer: conv1]\x1e[ONNX Layer: relu]",
    ]
)


def test_the_table_of_full_tensorrt_is_read_too():
    found = read_kernels([FULL])
    assert found is not None
    copy, conv = found
    assert (copy.kind, copy.multiplies_matrices, copy.nodes) == ("Reformat", False, ())
    assert [(item.data_type, item.format) for item in (*copy.inputs, *copy.outputs)] == [
        ("Float", "Row major linear"),
        ("Half", "Channel major format where channel % 4 == 0"),
    ]
    assert (conv.multiplies_matrices, conv.nodes) == (True, ("conv1", "relu"))
    assert conv.inputs[0].name == copy.outputs[0].name
    assert conv.inputs[0].data_type == "Half"
    wide = "Thirty-two wide channel vectorized row major"
    assert (conv.outputs[0].data_type, conv.outputs[0].format) == ("Int8", wide)
    assert [(item.name, item.shape, item.data_type) for item in conv.constants] == [
        ("Weights", (9408,), "Half"),
        ("Bias", (64,), "Float"),
    ]
    assert (copy.tactic, conv.tactic) == ("", "sm80_xmma_fprop")


@pytest.mark.parametrize(
    ("name", "kind", "steps", "multiplies"),
    [
        ("layer1.0.conv1_U3_myl0_3", "correlation", (), True),
        ("fc_myl0_52", "gemm", (), True),
        (
            "__myl_CorrMulAddRelu_myl0_56",
            "runtime_fusion",
            ("Corr", "Mul", "Add", "Relu"),
            True,
        ),
        ("__myl_FcAddCast_myl0_25", "runtime_fusion", ("Fc", "Add", "Cast"), True),
        ("__myl_CastReplConc_myl0_1", "kgen", ("Cast", "Repl", "Conc"), False),
        ("__myl_SubMulAddTran_myl0_38", "kgen", ("Sub", "Mul", "Add", "Tran"), False),
        ("maxpool_U3_myl0_3", "maxpool", (), False),
    ],
)
def test_what_multiplies_matrices_is_told_by_kind_and_by_name(name, kind, steps, multiplies):
    kernel = Kernel(name, kind, (), (), ())
    assert (kernel.steps, kernel.multiplies_matrices) == (steps, multiplies)
