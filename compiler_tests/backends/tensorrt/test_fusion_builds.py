"""What TensorRT for RTX makes of our networks, by its own log, with no GPU: the shape of the ONNX file is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from resnet_dsl.analysis.macs import total_macs
from resnet_dsl.backends.onnx.options import OnnxOptions
from resnet_dsl.backends.onnx.writer import write_model
from resnet_dsl.backends.tensorrt import products
from resnet_dsl.backends.tensorrt.builder import build_engine
from resnet_dsl.backends.tensorrt.fusion import FusionReport, fusion_report
from resnet_dsl.backends.tensorrt.fusion_joins import READ_ELSEWHERE, UNSAID
from resnet_dsl.backends.tensorrt.options import EngineOptions, Profile, Range
from resnet_dsl.catalogue import find_spec
from resnet_dsl.commands.build import weights_of
from resnet_dsl.compiler import compile_spec
from resnet_dsl.ir.graph import Graph
from resnet_dsl.passes.numbers import Numbers

pytestmark = pytest.mark.skipif(
    products.RTX not in products.available(), reason="tensorrt_rtx is not installed"
)
BATCH = Range(1, 8, 64)
DYNAMIC = Profile(BATCH)
SIZES = Range(16, 32, 64)


def build(
    folder: Path,
    spec: str,
    *overrides: str,
    precision: str = "fp16",
    profile: Profile = DYNAMIC,
    strange: bool = False,
) -> tuple[Graph, FusionReport]:
    """The graph of a spec and what became of it; `strange` keeps the graph from the report."""
    compilation = compile_spec(find_spec(spec), overrides)
    symbolic = profile.height is not None
    graph = compilation.inference_graph(
        numbers=numbers(compilation.inference_graph(), precision), fixed_size=not symbolic
    )
    weights, _ = weights_of(compilation, None, 0)
    onnx = folder / "net.onnx"
    with onnx.open("wb") as stream:
        write_model(graph, weights, stream, OnnxOptions(dynamic_size=symbolic))
    options = EngineOptions(precision=precision, targets=(89,), profiles=(profile,))
    report = fusion_report(
        None if strange else graph, build_engine(onnx, folder / "net.engine", options)
    )
    assert report is not None
    return graph, report


def numbers(graph: Graph, precision: str) -> Numbers:
    """Numbers of a precision, with made-up ranges where it needs some."""
    if precision not in ("int8", "fp8"):
        return Numbers(precision)  # type: ignore[arg-type]
    bare = Numbers(precision, rest="fp16", placement="tensorrt")  # type: ignore[arg-type]
    plan = bare.plan(graph)
    assert plan is not None
    ranges = dict.fromkeys(plan.ranges, 4.0)
    return Numbers(precision, rest="fp16", placement="tensorrt", ranges=ranges)  # type: ignore[arg-type]


def check(graph: Graph, report: FusionReport) -> None:
    """What holds of every engine: nothing that matters is lost, and nothing is counted twice."""
    assert report.totals.macs == total_macs(graph)
    assert not any(item.strangers for item in report.kernels)
    assert max(map(len, report.table())) <= 100
    views = ("flatten", "quantized", "dequantized")
    assert all(name.rpartition(".")[2] in views for name in report.nowhere)


@pytest.mark.parametrize("option", ["A", "B", "C"])
def test_every_residual_addition_fuses_under_each_shortcut(tmp_path, option):
    graph, report = build(tmp_path, "resnet20", f"shortcut={option}")
    check(graph, report)
    assert (report.totals.additions, report.totals.additions_fused) == (9, 9)
    assert report.lines()[1] == "fused     every residual addition: 9 of 9"
    projections = {"A": 0, "B": 2, "C": 9}[option]
    assert report.totals.roles["matrix"] == 20 + projections
    assert len(report.kernels) <= 25 + max(0, projections - 2)


def test_option_a_is_one_small_kernel(tmp_path):
    _, report = build(tmp_path, "resnet20", "shortcut=A")
    moves = [item for item in report.kernels if item.role == "move"]
    assert [[one.label for one in item.computes] for item in moves] == [
        ["slice /2", "pad to 32"],
        ["slice /2", "pad to 64"],
    ]
    assert {item.why for item in report.apart} == {READ_ELSEWHERE}


@pytest.mark.slow
@pytest.mark.parametrize("spec", ["resnet18", "resnet34_a", "resnet34_c"])
def test_every_residual_addition_fuses_at_imagenet_size(tmp_path, spec):
    graph, report = build(tmp_path, spec)
    check(graph, report)
    assert report.totals.additions_fused == report.totals.additions == len(blocks(graph))


@pytest.mark.slow
@pytest.mark.parametrize(("profile", "most"), [(DYNAMIC, 59), (Profile(Range(8, 8, 8)), 58)])
def test_resnet_50_has_59_kernels_at_most_and_58_at_one_batch(tmp_path, profile, most):
    graph, report = build(tmp_path, "resnet50", profile=profile)
    check(graph, report)
    assert len(report.kernels) <= most
    assert report.lines()[1] == "fused     every residual addition: 16 of 16"
    assert report.totals.bytes_moved is not None
    assert report.totals.bytes_apart is not None
    assert report.totals.bytes_moved < 0.6 * report.totals.bytes_apart


def blocks(graph: Graph) -> set[str]:
    return {node.block for node in graph.nodes if node.block}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_floating_point_fuses_as_well(tmp_path, precision):
    graph, report = build(tmp_path, "resnet20", precision=precision)
    check(graph, report)
    assert report.totals.additions_fused == 9


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_what_eight_bits_leave_apart_is_told_with_its_reason(tmp_path, precision):
    graph, report = build(tmp_path, "resnet20", "shortcut=B", precision=precision)
    check(graph, report)
    assert len(report.additions) == 9
    assert all(item.fused or item.why not in ("", UNSAID) for item in report.additions)
    scaling = [item for item in report.kernels if item.requantises]
    assert len(scaling) == report.totals.requantise + report.totals.requantise_too
    assert any(precision in (*item.reads_types, *item.writes_types) for item in report.kernels)
    assert report.totals.narrow == report.totals.roles["matrix"]


def test_norms_that_stand_before_a_convolution_are_told(tmp_path):
    graph, report = build(
        tmp_path, "resnet110_preact", "stages.0.depth=2", "stages.1.depth=2", "stages.2.depth=2"
    )
    check(graph, report)
    assert report.totals.additions_fused == 6
    assert report.totals.norms == 7
    assert all(item.why for item in report.apart)
    assert report.lines()[2].startswith("norms ")


@pytest.mark.slow
def test_symbolic_sizes_move_what_fixed_ones_do(tmp_path):
    _, fixed = build(tmp_path, "resnet20")
    _, symbolic = build(tmp_path, "resnet20", profile=Profile(BATCH, SIZES, SIZES))
    assert symbolic.totals.bytes_moved == fixed.totals.bytes_moved
    assert symbolic.totals.additions_fused == 9


@pytest.mark.slow
def test_a_graph_of_anybodys_is_read_off_the_log(tmp_path):
    graph, known = build(tmp_path, "resnet20")
    _, strange = build(tmp_path, "resnet20", strange=True)
    assert (strange.totals.additions, strange.totals.additions_fused) == (9, 9)
    assert strange.totals.macs == total_macs(graph)
    assert strange.totals.bytes_moved == known.totals.bytes_moved
