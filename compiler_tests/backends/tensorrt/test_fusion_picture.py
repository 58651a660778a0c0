"""The picture of an engine: whole XML, the same for the same report, small however deep the network, and marked."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

from compiler_tests.backends.tensorrt.engine_logs import (
    FUSED,
    HEAD,
    engine,
    kernel,
    residual_graph,
    tensor,
)
from compiler_tests.graphs import RELU, Builder, conv
from resnet_dsl.backends.tensorrt.fusion import FusionReport, fusion_report
from resnet_dsl.backends.tensorrt.fusion_rows import LONGEST, rows
from resnet_dsl.ir.graph import Graph
from resnet_dsl.ir.ops import Add

NS = "{http://www.w3.org/2000/svg}"


def reported(graph: Graph | None, *kernels: str) -> FusionReport:
    report = fusion_report(graph, engine(*kernels))
    assert report is not None
    return report


def deep(blocks: int) -> FusionReport:
    """A stage of blocks of one convolution, of which the last has another width of weights."""
    build = Builder(16)
    kernels = []
    x = 0
    for number in range(blocks):
        place = {"group": "layer1", "block": f"layer1.{number}"}
        y = build.add(f"layer1.{number}.conv", conv(16, 16), x, **place)
        y = build.add(f"layer1.{number}.add", Add(), y, x, **place)
        x = build.add(f"layer1.{number}.relu", RELU, y, **place)
        nodes = [f"layer1.{number}.{word}" for word in ("conv", "add", "relu")]
        size = 16 if number < blocks - 1 else 32
        kernels.append(
            kernel(
                f"k{number}",
                "correlation",
                nodes,
                [tensor(f"t{number}", -1, 16, 8, 8)],
                [tensor(f"t{number + 1}", -1, 16, 8, 8)],
                [tensor("w", size, 16, 3, 3)],
            )
        )
    return reported(build.graph(), *kernels)


def test_the_picture_is_as_it_should_be(golden):
    golden("tensorrt/fusion.svg", reported(residual_graph(), *FUSED).svg())


def test_the_picture_is_whole_and_the_same_each_time():
    report = reported(residual_graph(), *FUSED)
    root = ElementTree.fromstring(report.svg())
    assert report.svg() == reported(residual_graph(), *FUSED).svg()
    boxes = root.findall(f"{NS}g")
    assert len(boxes) == len(report.kernels)
    tips = [box.findtext(f"{NS}title") or "" for box in boxes]
    assert tips[3].startswith("4  conv 3×3 16, add, relu\nlayer1.0.conv2, layer1.0.add")
    assert root.findtext(f"{NS}title") == "small in fp16: 6 kernels"


def test_a_box_is_as_wide_as_what_its_kernel_moves():
    report = reported(residual_graph(), *FUSED)
    root = ElementTree.fromstring(report.svg())
    boxes = [box.findall(f"{NS}rect")[0] for box in root.findall(f"{NS}g")]
    widths = [float(box.get("width", "0")) for box in boxes]
    moved = [(item.bytes_moved or 0) + item.weight_bytes for item in report.kernels]
    assert abs(widths[3] / widths[2] - moved[3] / moved[2]) < 0.01
    assert (
        max(float(box.get("x", "0")) + width for box, width in zip(boxes, widths, strict=True))
        <= 860
    )


def test_joins_are_marked_by_whether_they_are_in_a_convolution():
    fused = reported(residual_graph(), *FUSED).svg()
    assert 'class="full"' in fused
    assert 'class="open"' not in fused
    apart = (
        kernel(
            "c",
            "correlation",
            ["layer1.0.conv2"],
            [tensor("y", -1, 16, 8, 8)],
            [tensor("a", -1, 16, 8, 8)],
        ),
        kernel(
            "d", "kgen", ["layer1.0.add"], [tensor("a", -1, 16, 8, 8)], [tensor("z", -1, 16, 8, 8)]
        ),
    )
    alone = reported(residual_graph(), *FUSED[:3], *apart, *HEAD).svg()
    assert 'class="open"' in alone
    assert 'class="full"' not in alone


def test_blocks_that_are_alike_are_one_row():
    report = deep(3000)
    shown = rows(report.kernels, report.joins)
    assert [(row.block, row.times) for row in shown] == [("layer1.0", 2999), ("layer1.2999", 1)]
    svg = report.svg()
    assert len(svg) < 10_000
    assert "2999 alike" in svg


def test_blocks_of_a_shallow_net_are_each_a_row():
    report = deep(9)
    assert [row.times for row in rows(report.kernels, report.joins)] == [1] * 9


def test_many_kernels_without_a_block_go_on_in_the_next_row():
    kernels = [
        kernel(f"k{i}", "kgen", [], [tensor(f"t{i}", -1, 4)], [tensor(f"t{i + 1}", -1, 4)])
        for i in range(2 * LONGEST + 1)
    ]
    report = reported(None, *kernels)
    assert [len(row.kernels) for row in rows(report.kernels, ())] == [LONGEST, LONGEST, 1]
    ElementTree.fromstring(report.svg())


def test_sizes_that_are_unknown_make_boxes_of_one_width():
    kernels = [
        kernel(f"k{i}", "kgen", [], [tensor(f"t{i}", -1, -1)], [tensor(f"t{i + 1}", -1, -1)])
        for i in range(3)
    ]
    root = ElementTree.fromstring(reported(None, *kernels).svg())
    widths = {box.findall(f"{NS}rect")[0].get("width") for box in root.findall(f"{NS}g")}
    assert len(widths) == 1


def test_names_of_a_users_cannot_break_the_picture():
    strange = kernel(
        '<k>&"\x1b', "kgen", ["<node>&\x00"], [tensor("<in>", -1, 4)], [tensor("&out\x07", -1, 4)]
    )
    root = ElementTree.fromstring(reported(None, strange).svg())
    tip = root.findtext(f"{NS}g/{NS}title") or ""
    assert "<k>&" in tip
    assert "<node>&" in tip


def test_the_title_says_what_the_rest_is_in():
    report = fusion_report(residual_graph(), replace(engine(*FUSED, precision="int8"), rest="fp16"))
    assert report is not None
    assert "small in int8, the rest in fp16: 6 kernels" in report.svg()
    assert report.as_dict()["rest"] == "fp16"
