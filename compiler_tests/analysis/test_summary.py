import json
from typing import Any

from compiler_tests.effort import grows_linearly
from resnet_dsl.analysis.receptive import ReceptiveField
from resnet_dsl.analysis.summary import describe
from resnet_dsl.ir.graph import Graph


def small(net: Any) -> Graph:
    """A stem, two stages of one and two blocks, a head."""
    n = net(3, 32, 32)
    n.group = "stem"
    x = n.conv_norm_relu(0, 8)
    n.group, n.block = "layer1", "layer1.0"
    x = n.basic(x, 8)
    n.group = "layer2"
    for i in range(2):
        n.block = f"layer2.{i}"
        x = n.basic(x, 16, stride=2 - i)
    n.group, n.block = "head", ""
    n.linear(n.flatten(n.global_pool(x)), 10)
    graph: Graph = n.graph(name="small")
    return graph


def test_one_row_a_stage_in_order_with_numbers_by_hand(net):
    summary = describe(small(net))
    assert [row.name for row in summary.rows] == ["stem", "layer1", "layer2", "head"]
    stem, layer1, layer2, head = summary.rows
    assert [row.output for row in summary.rows] == [(8, 32, 32), (8, 32, 32), (16, 16, 16), (10,)]
    assert [row.blocks for row in summary.rows] == [0, 1, 2, 0]
    assert [row.layers for row in summary.rows] == [1, 2, 4, 1]
    # stem 3·8·9 + 16; layer1 2·(8·8·9 + 16); layer2 8·16·9 + 3·16·16·9 + 8·16 + 5·32; head 160 + 10
    assert [row.parameters for row in summary.rows] == [232, 1184, 1152 + 6912 + 128 + 160, 170]
    # stem 216·1024; layer1 2·576·1024; layer2 (1152 + 6912 + 128)·256; head 160
    assert [row.macs for row in summary.rows] == [221_184, 1_179_648, 2_097_152, 160]
    # kept, in units of 4·8·1024 = 32768 (layer2's tensors are half of that), and the image (12288):
    # stem conv, relu; layer1 conv, relu, conv, relu; layer2 (conv, relu, conv, projection, relu),
    # (conv, relu, conv, relu); head: the pooled vector, 64 bytes
    unit = 32_768
    assert stem.activation_bytes_training == 2 * unit + 12_288
    assert layer1.activation_bytes_training == 4 * unit
    assert layer2.activation_bytes_training == 9 * unit // 2
    assert head.activation_bytes_training == 64
    # layer1's second convolution: shortcut, operand, result
    assert layer1.activation_bytes_inference_peak == 3 * unit
    assert [row.receptive_field.size[0] for row in summary.rows] == [3, 7, 21, 32]
    assert head.receptive_field == ReceptiveField((32, 32), (32, 32), whole=True)


def test_totals_are_the_sums_and_the_largest(net):
    summary = describe(small(net))
    total = summary.total
    assert (total.name, total.output, total.layers, total.blocks) == ("small", (10,), 8, 3)
    for field in ("parameters", "buffers", "weight_bytes", "macs", "elementwise_operations"):
        assert getattr(total, field) == sum(getattr(row, field) for row in summary.rows)
    trained = sum(row.activation_bytes_training for row in summary.rows)
    peaks = [row.activation_bytes_inference_peak for row in summary.rows]
    assert total.activation_bytes_training == trained
    assert total.activation_bytes_inference_peak == max(peaks)
    assert total.flops_2x_macs == 2 * total.macs


def test_the_json_form_names_units_and_conventions(net):
    data = json.loads(json.dumps(describe(small(net)).as_dict()))
    assert data["input_shape"] == [3, 32, 32]
    assert data["total"]["flops_2x_macs"] == 2 * data["total"]["macs"]
    assert [stage["name"] for stage in data["stages"]] == ["stem", "layer1", "layer2", "head"]
    assert data["stages"][1]["receptive_field"] == {
        "height": 7,
        "width": 7,
        "vertical_jump": 1,
        "horizontal_jump": 1,
        "whole_input": False,
    }
    explained = set(data["conventions"]) - {"batch"}
    assert explained <= set(data["total"])


def test_blocks_inside_of_a_block_are_not_counted_apart(net):
    n = net(8, 8, 8)
    n.group = "layer1"
    inner = 0
    for i in range(2):
        n.block = f"layer1.0.{i}"
        inner = n.basic(inner, 8)
    n.block = "layer1.0"
    n.plus(inner, 0)
    assert describe(n.graph()).rows[0].blocks == 1


def test_ten_thousand_layers_take_linear_time(net):
    def prepare(blocks: int):
        n = net(2, 8, 8)
        x = n.conv(0, 2)
        for i in range(blocks):
            n.group, n.block = "layer1", f"layer1.{i}"
            x = n.basic(x, 2)
        graph = n.graph()
        assert describe(graph).total.layers == 2 * blocks + 1
        return lambda: describe(graph)

    assert grows_linearly(prepare, 500)
