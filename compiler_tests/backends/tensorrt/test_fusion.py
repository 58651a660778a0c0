"""What is read off a build log: which kernel computes what, what is fused, what is not and why, bytes and words."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from compiler_tests.backends.tensorrt.engine_logs import (
    FUSED,
    HEAD,
    engine,
    kernel,
    residual_graph,
    tensor,
)
from compiler_tests.graphs import RELU, Builder, conv, norm
from resnet_dsl.analysis.macs import total_macs
from resnet_dsl.backends.tensorrt.fusion import FusionReport, fusion_report, fusion_reports
from resnet_dsl.backends.tensorrt.fusion_joins import READ_ELSEWHERE, UNSAID
from resnet_dsl.backends.tensorrt.operations import operations_of
from resnet_dsl.backends.tensorrt.options import Profile, Range
from resnet_dsl.ir.graph import Graph
from resnet_dsl.ir.ops import AdaptiveAvgPool, Add, Concat, Dequantize, Flatten, Multiply, Quantize

X, Y, Z = (tensor(name, -1, 16, 8, 8) for name in "xyz")
WIDE = tensor("wide", -1, 16, 8, 8, kind="Float")
FIRST, SECOND = FUSED[:3], FUSED[3]
ADD_ALONE = kernel(
    "__myl_AddRelu_myl0_4",
    "kgen",
    ["layer1.0.add", "layer1.0.relu2"],
    [tensor("a", -1, 16, 8, 8), X],
    [Z],
)


def reported(*kernels: str, graph: Graph | None = None, **about: object) -> FusionReport:
    report = fusion_report(graph or residual_graph(), engine(*kernels, **about))  # type: ignore[arg-type]
    assert report is not None
    return report


@pytest.fixture(scope="module")
def fused() -> FusionReport:
    return reported(*FUSED)


def test_every_residual_addition_is_found_in_its_convolution(fused):
    (join,) = fused.additions
    assert (join.name, join.block, join.kernel) == ("layer1.0.add", "layer1.0", 4)
    assert join.fused
    assert join.matrices == ("layer1.0.conv2",)
    assert (join.why, join.evidence) == ("", "")
    assert fused.lines()[1] == "fused     every residual addition: 1 of 1"


def test_a_kernel_that_only_names_a_convolution_does_not_compute_it(fused):
    first, second = fused.kernels[:2]
    assert [item.name for item in first.prepares] == ["conv1", "relu"]
    assert (first.computes, first.macs, first.role) == ((), 0, "convert")
    assert [item.name for item in second.computes] == ["conv1", "relu"]
    assert second.role == "matrix"
    assert fused.totals.macs == total_macs(residual_graph())


def test_kernels_stand_in_their_stage_and_block(fused):
    assert [item.stage for item in fused.kernels] == ["stem"] * 2 + ["layer1"] * 2 + ["head"] * 2
    assert [item.block for item in fused.kernels] == ["", "", "layer1.0", "layer1.0", "", ""]
    assert fused.kernels[3].blocks == ("layer1.0",)


def test_an_output_is_called_after_what_it_is_and_counts_as_its_operation(fused):
    assert [item.name for item in fused.kernels[5].computes] == ["fc"]
    assert fused.nowhere == ("flatten",)
    assert "no kernel names flatten" in fused.table()


def test_bytes_are_those_of_one_image_each_tensor_once(fused):
    cast, _, _, last, *_ = fused.kernels
    assert (cast.bytes_read, cast.bytes_written) == (3 * 64 * 4, 4 * 64 * 2)
    assert (last.bytes_read, last.bytes_written) == (2 * 16 * 64 * 2, 16 * 64 * 2)
    assert last.weight_bytes == 16 * 16 * 9 * 2
    assert last.intensity == pytest.approx(16 * 16 * 9 * 64 / (3 * 2048 + 4608))
    twice = reported(*FUSED[:3], SECOND.replace("Name: y,", "Name: x,"), *HEAD)
    assert twice.kernels[3].bytes_read == 16 * 64 * 2


def test_a_batch_that_never_changes_is_taken_out():
    fixed = [line.replace("[-1,", "[4,") for line in FUSED]
    profile = Profile(Range(4, 4, 4))
    at_four = reported(*fixed, profiles=(profile,))
    assert at_four.totals.bytes_moved == reported(*FUSED).totals.bytes_moved
    of_the_graph = reported(*fixed, profiles=(), shape=(4, 3, 8, 8))
    assert of_the_graph.totals.bytes_moved == at_four.totals.bytes_moved


def test_symbolic_sizes_are_those_of_the_graph():
    symbolic = [line.replace(",8,8]", ",-1,-1]") for line in FUSED]
    assert reported(*symbolic).totals == reported(*FUSED).totals
    without = fusion_report(None, engine(*symbolic))
    assert without is not None
    assert without.totals.bytes_moved is None


def test_an_unknown_type_makes_bytes_unknown_and_nothing_fail(fused):
    strange = reported(*FUSED[:3], SECOND.replace("Half", "Fp6E3M2"), *HEAD)
    assert strange.kernels[3].bytes_moved is None
    assert strange.totals.bytes_moved is None
    assert "fp6e3m2" in "\n".join(strange.table())
    assert strange.svg().startswith("<svg")


def test_an_addition_alone_is_told_and_nothing_is_made_up():
    alone = kernel("conv2", "correlation", ["layer1.0.conv2"], [Y], [tensor("a", -1, 16, 8, 8)])
    report = reported(*FIRST, alone, ADD_ALONE, *HEAD)
    (join,) = report.additions
    assert (join.fused, join.kernel, join.why) == (False, 5, UNSAID)
    assert join.evidence == "layer1.0.conv2 in kernel 4"
    assert report.lines()[1] == "fused     no residual addition: 0 of 1"
    assert report.totals.additions_fused == 0


def test_an_addition_of_what_another_kernel_converts_says_so():
    alone = kernel("conv2", "correlation", ["layer1.0.conv2"], [Y], [tensor("b", -1, 16, 8, 8)])
    turned = kernel(
        "__myl_Tran_myl0_3", "kgen", [], [tensor("b", -1, 16, 8, 8)], [tensor("a", -1, 16, 8, 8)]
    )
    report = reported(*FIRST, alone, turned, ADD_ALONE, *HEAD)
    assert report.additions[0].why == "a kernel that only converts stands between"
    assert report.kernels[4].block == "layer1.0"  # of what reads its result
    assert report.totals.convert == 2


def test_another_layout_or_type_is_told():
    for changed, why in (
        (Z.replace("NHWC", "Linear"), "its kernel changes the layout, NHWC to Linear"),
        (Z.replace("Half", "Float"), "its kernel changes the type, fp16 to fp32"),
    ):
        alone = kernel("conv2", "correlation", ["layer1.0.conv2"], [Y], [tensor("a", -1, 16, 8, 8)])
        report = reported(*FIRST, alone, ADD_ALONE.replace(Z, changed), *HEAD)
        assert report.additions[0].why == why


def test_an_addition_that_no_kernel_names_is_told():
    report = reported(*FIRST, SECOND.replace("[ONNX Layer: layer1.0.add]", ""), *HEAD)
    (join,) = report.additions
    assert (join.kernel, join.why) == (None, "no kernel in the log names it")
    assert report.nowhere == ("layer1.0.add", "flatten")


def test_eight_bit_products_that_are_written_wide_are_told_and_their_scaling_counted():
    """As RTX does it: the convolution writes fp32, and a kernel behind scales, adds and rounds."""
    graph = quantised_graph()
    codes = tensor("codes", -1, 16, 8, 8, kind="Int8")
    conv2 = kernel(
        "conv2",
        "correlation",
        ["layer1.0.conv2", "layer1.0.relu1.dequantized", "layer1.0.conv2.weight.dequantized"],
        [codes],
        [WIDE],
    )
    scale = kernel(
        "__myl_MulCastAddAddReluMulMinMaxRounCast_myl0_8",
        "kgen",
        ["layer1.0.conv2", "layer1.0.add", "layer1.0.relu2"],
        [WIDE, X],
        [Z],
    )
    rounds = kernel(
        "__myl_ReluMulRounCast_myl0_2", "kgen", ["layer1.0.relu1.quantized"], [Y], [codes]
    )
    report = reported(*FIRST, rounds, conv2, scale, *HEAD, graph=graph, precision="int8")
    (join,) = report.additions
    assert join.why == (
        "the convolution multiplies in int8 and writes fp32, which the next kernel scales"
    )
    assert join.evidence == "layer1.0.conv2 in kernel 5"
    assert [item.name for item in report.kernels[5].finishes] == ["layer1.0.conv2"]
    assert [item.role for item in report.kernels[3:6]] == ["requantise", "matrix", "join"]
    assert (report.totals.requantise, report.totals.requantise_too) == (1, 0)
    assert [line for line in report.lines() if line.startswith("codes")] == [
        "codes     1 of 4 convolutions and products multiply int8",
        "codes     1 of the kernels only requantise",
    ]
    table = "\n".join(report.table())
    assert "scale, add, relu" in table
    assert "int8→fp32" in table


@pytest.mark.parametrize(
    ("rest", "targets", "advice"),
    [
        ("bf16", (89,), "`--rest fp16`"),
        ("bf16", (75,), "`--precision fp16`"),
        ("fp16", (75,), "`--precision fp16`"),
    ],
)
def test_codes_that_nothing_multiplies_are_told(
    rest: str, targets: tuple[int, ...], advice: str
) -> None:
    built = replace(engine(*FUSED, precision="int8"), rest=rest, targets=targets)
    report = fusion_report(residual_graph(), built)
    assert report is not None
    assert report.totals.narrow == 0
    (line,) = [line for line in report.lines() if line.startswith("codes")]
    assert line.startswith("codes     0 of 4 convolutions and products multiply int8")
    assert advice in line
    assert reported(*FUSED).totals.narrow is None


def quantised_graph() -> Graph:
    """`residual_graph` with a pair after the first activation of its block."""
    graph = residual_graph()
    nodes = list(graph.nodes)
    place = next(i for i, node in enumerate(nodes) if node.name == "layer1.0.relu1") + 1
    name = "layer1.0.relu1"
    codes = replace(
        nodes[place - 1], name=f"{name}.quantized", op=Quantize("int8", 0.1), inputs=(place,)
    )
    back = replace(
        codes, name=f"{name}.dequantized", op=Dequantize("int8", 0.1), inputs=(place + 1,)
    )
    moved = [
        replace(node, inputs=tuple(i + 2 if i >= place else i for i in node.inputs))
        for node in nodes[place:]
    ]
    return replace(graph, nodes=(*nodes[:place], codes, back, *moved), output=graph.output + 2)


def test_an_operation_between_is_named_and_a_gate_of_means_too():
    build = Builder(16)
    block = {"group": "layer1", "block": "layer1.0"}
    y = build.add("layer1.0.conv", conv(16, 16), 0, **block)
    nested = {"group": "layer1", "block": "layer1.0.se"}
    build.add("layer1.0.se.pool", AdaptiveAvgPool((1, 1)), y, **nested)
    gate = build.add("layer1.0.se.fc", conv(16, 16, 1), **nested)
    scaled = build.add("layer1.0.se.mul", Multiply(), y, gate, **nested)
    build.add("layer1.0.add", Add(), scaled, 0, **block)
    small = tensor("g", -1, 16, 1, 1)
    report = reported(
        kernel("a", "correlation", ["layer1.0.conv"], [tensor("input", -1, 16, 8, 8)], [Y]),
        kernel("b", "kgen", ["layer1.0.se.pool"], [Y], [small]),
        kernel("c", "correlation", ["layer1.0.se.fc"], [small], [tensor("h", -1, 16, 1, 1)]),
        kernel("d", "kgen", ["layer1.0.se.mul", "layer1.0.add"], [Y, X], [Z]),
        graph=build.graph(),
    )
    product, addition = report.joins
    assert product.why == "its other operand is computed from the mean of the first"
    assert addition.why == "between the convolution and it stands another operation, multiply"
    assert addition.evidence == "layer1.0.conv in kernel 1, layer1.0.se.mul in kernel 4"
    assert {item.block for item in report.kernels} == {"layer1.0"}  # the outermost
    assert report.kernels[3].blocks == ("layer1.0.se", "layer1.0")


def test_branches_without_a_convolution_are_told():
    build = Builder(16)
    first = build.add("relu1", RELU, 0)
    pooled = build.add("cat", Concat(), first, 0)
    build.add("add", Add(), pooled, pooled)
    report = reported(kernel("a", "kgen", ["relu1", "cat", "add"], [X], [Y]), graph=build.graph())
    assert report.joins[1].why == "no operand is a convolution's result"
    assert report.joins[1].evidence == "cat is concat, cat is concat"


def test_a_norm_after_what_is_read_twice_is_told_and_counted():
    build = Builder(16)
    x = build.add("conv", conv(16, 16), 0)
    build.add("bn", norm(16), x)
    y = build.add("conv2", conv(16, 16))
    build.add("add", Add(), y, x)
    report = reported(
        kernel("a", "correlation", ["conv"], [tensor("input", -1, 16, 8, 8)], [X]),
        kernel("b", "kgen", ["bn"], [X], [Y]),
        kernel("c", "correlation", ["conv2", "add"], [Y, X], [Z]),
        graph=build.graph(),
    )
    (pair,) = report.apart
    assert (pair.first, pair.second, pair.kernels) == ("conv", "bn", (1, 2))
    assert (pair.titles, pair.why) == (("conv", "batch norm"), READ_ELSEWHERE)
    assert (report.totals.norms, report.totals.norms_alone) == (1, 1)
    assert "norms     0 of 1 that could not be folded" in "\n".join(report.lines())


def test_strangers_are_kept_by_their_names():
    strange = kernel("__myl_Foo_myl0_9", "kgen", ["somewhere/Foo"], [Z], [X])
    report = reported(*FUSED, strange)
    assert report.kernels[-1].strangers == ("somewhere/Foo",)
    assert report.kernels[-1].role == "unknown"
    assert any("somewhere/Foo" in line for line in report.table())


def test_parts_and_taken_names_are_their_operation():
    operations = operations_of(residual_graph())
    for node, name in (
        ("layer1.0.conv1", "layer1.0.conv1"),
        ("layer1.0.conv1.weight.dequantized", "layer1.0.conv1"),
        ("conv1_", "conv1"),
        ("logits", "fc"),
        ("layer1.0", None),
        ("layer1.0.conv9", None),
        ("", None),
        ("_", None),
    ):
        found = operations.of_node(node)
        assert (found.name if found else None) == name, node


def test_each_profile_has_its_own_kernels():
    second = [line.replace("_myl0_", "_myl1_").replace("_U", " [profile 1]_U") for line in FUSED]
    fixed, several = Profile(Range(1, 1, 1)), Profile(Range(1, 8, 64))
    built = engine(*FUSED, *second, profiles=(fixed, several))
    first, other = fusion_reports(residual_graph(), built)
    assert (first.totals.kernels, other.totals.kernels) == (len(FUSED), len(FUSED))
    assert (first.totals.additions_fused, other.totals.additions_fused) == (1, 1)
    assert first.lines()[0] == "profile   batch 1/1/1"
    assert other.lines()[0] == "profile   batch 1/8/64"
    assert sum(line.startswith("memory") for line in (*first.lines(), *other.lines())) == 1
    assert (first.as_dict()["profile"], other.as_dict()["profile"]) == (0, 1)
    assert "batch 1/8/64: 6 kernels</title>" in other.svg()
    assert built.as_dict()["kernel_count"] == len(FUSED)
    assert fusion_report(residual_graph(), built, 2) is None
    assert reported(*FUSED).shapes == ""


def test_a_log_without_the_table_gives_no_report():
    assert fusion_report(residual_graph(), engine()) is None


PARSED = (
    "Adding network input: image with dtype: float16, dimensions: (-1, 3, 8, 8)",
    "a [Conv] inputs: [image -> (-1, 3, 8, 8)[HALF]], [a.w -> (16, 3, 3, 3)[HALF]], ",
    "a [Conv] outputs: [a.out -> (-1, 16, 8, 8)[HALF]], ",
    "b [Conv] inputs: [a.out -> (-1, 16, 8, 8)[HALF]], [b.w -> (16, 16, 1, 1)[HALF]], ",
    "b [Conv] outputs: [b.out -> (-1, 16, 8, 8)[HALF]], ",
    "c [Add] inputs: [b.out -> (-1, 16, 8, 8)[HALF]], [a.out -> (-1, 16, 8, 8)[HALF]], ",
    "c [Add] outputs: [c.out -> (-1, 16, 8, 8)[HALF]], ",
    "d [Add] inputs: [c.out -> (-1, 16, 8, 8)[HALF]], [constant -> (1)[HALF]], ",
    "d [Add] outputs: [d.out -> (-1, 16, 8, 8)[HALF]], ",
    "e [Gemm] inputs: [d.out -> (-1, 16)[HALF]], [e.w -> (10, 16)[HALF]], ",
    "e [Gemm] outputs: [e.out -> (-1, 10)[HALF]], ",
)


def test_without_a_graph_the_parsers_lines_are_the_graph():
    report = fusion_report(
        None,
        engine(
            kernel("a_1", "correlation", ["a"], [tensor("image", -1, 3, 8, 8)], [X]),
            kernel("b_2", "correlation", ["b", "c", "d"], [X], [Y]),
            kernel("e_3", "gemm", ["e"], [tensor("y", -1, 16)], [tensor("e.out", -1, 10)]),
            lines=PARSED,
        ),
    )
    assert report is not None
    assert [(item.name, item.kind, item.fused) for item in report.joins] == [("c", "add", True)]
    assert report.totals.macs == 16 * 64 * 27 + 16 * 64 * 16 + 16 * 10
    assert [item.label for item in report.kernels[0].computes] == ["conv 3×3 16"]
    assert report.totals.bytes_apart is None
    assert {item.stage for item in report.kernels} == {""}


def test_the_report_is_json_and_says_all(fused):
    data = json.loads(json.dumps(fused.as_dict()))
    assert data["totals"]["additions"] == data["totals"]["additions_fused"] == 1
    assert data["memory"] == {"weights": 2048, "activations": 8192, "scratch": 4096}
    assert data["targets"] == ["sm89"]
    assert data["joins"][0]["fused"] is True
    last = data["kernels"][3]
    assert (last["number"], last["name"], last["tactic"]) == (
        4,
        "layer1.0.conv2_U3_myl0_3",
        "a_tactic",
    )
    assert last["computes"][1] == {
        "name": "layer1.0.add",
        "operation": "add",
        "block": "layer1.0",
    }
    assert last["inputs"][1] == {
        "name": "x",
        "shape": [-1, 16, 8, 8],
        "data_type": "Half",
        "format": "NHWC",
    }
    assert last["macs_per_byte"] == pytest.approx(13.714)


def test_the_table_and_the_lines_read_as_they_should(fused, golden):
    assert max(map(len, fused.table())) <= 100
    golden("tensorrt/fusion.txt", "\n".join([*fused.lines(), "", *fused.table(), ""]))


def test_a_graph_of_one_operation_is_no_special_case():
    build = Builder(16)
    build.add("flatten", Flatten(), 0)
    report = reported(kernel("a", "kgen", ["flatten"], [X], [Y]), graph=build.graph())
    assert (report.totals.additions, report.kernels[0].role) == (0, "move")
    assert report.lines()[0] == "kernels   1: 1 moving"
    assert report.svg().count("<rect") >= 2
