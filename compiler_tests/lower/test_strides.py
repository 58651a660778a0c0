"""How many times smaller values are, where rows and columns differ."""

from __future__ import annotations

from compiler_tests.spec_texts import changed, graph, program, with_block
from resnet_dsl.ir.program import Stride

SIGNAL = ("input: {channels: 3, size: 32}", "input: {channels: 3, size: [1, 64]}")


def strides(text: str) -> list[Stride]:
    return [feature.stride for feature in program(text).features]


def test_the_stride_of_a_stage_is_that_of_its_rows_and_columns() -> None:
    assert strides(changed()) == [1, 2]


def test_a_stage_that_strides_its_axes_apart_has_a_stride_along_each() -> None:
    text = with_block("body:\n  - conv: {out: width, kernel: 3, stride: [4, 2]}")
    assert strides(text) == [(16, 4), (32, 8)]


def test_what_is_broadcast_to_a_stage_has_no_say_in_its_stride() -> None:
    text = with_block(
        "residual:\n  - global_avg_pool\n  - conv: {out: width, kernel: 1}\n"
        "shortcut: identity\njoin: multiply"
    )
    assert strides(text) == [1, 2]


def test_the_stride_of_a_signal_is_that_of_its_one_axis() -> None:
    text = with_block("body:\n  - conv: {out: width, kernel: [1, 3], stride: [1, 4]}")
    assert strides(changed(SIGNAL, text=text)) == [16, 32]


def test_the_stride_after_a_pooling_to_a_size_is_the_larger_one() -> None:
    text = with_block("body:\n  - adaptive_avg_pool: {size: [1, 8]}")
    assert strides(changed(SIGNAL, text=text)) == [8, 16]


def test_a_shortcut_around_a_residual_of_a_signal_has_its_stride() -> None:
    body = """
body:
  - residual:
      - conv: {out: width, kernel: [1, 3], stride: [1, stride]}
    shortcut: B
"""
    text = with_block(body, "block: mine, depth: 2, width: 24, stride: 2")
    shapes = {node.name: node.shape for node in graph(changed(SIGNAL, text=text)).nodes}
    assert shapes["layer1.0.add"] == (24, 1, 32)
