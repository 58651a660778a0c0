"""The programs of small specs, as text, beside golden files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from compiler_tests.spec_texts import changed, graph, program, with_block
from resnet_dsl.ir.text import program_text

SMALL = changed(("depth: 2, width: 16", "depth: 1, width: 16"))
STAGE = "block: mine, depth: 2, width: 8, stride: 2"

SPECS = {
    "residual": SMALL,
    "plain": SMALL.replace("shortcut: B", "shortcut: none"),
    "gated": SMALL.replace("shortcut: B", "shortcut: gate"),
    "option_a": SMALL.replace("shortcut: B", "shortcut: {A: {padding: trailing}}"),
    "stochastic_depth": SMALL + "drop_path: {rate: 0.5}\n",
    "zero_last_norm": SMALL + "init: {zero_last_norm: true}\n",
    "skips": SMALL.replace("width: 16}", "width: 16, skip: identity}") + "skip: B\n",
    "trunk": SMALL.replace("shortcut: B", "shortcut: none\ntrunk: features"),
    "policies": SMALL + "norm: {group: {groups: 4}}\nactivation: {leaky_relu: {slope: 0.2}}\n",
    "pre_activation": SMALL.replace("block: basic", "block: preact_basic"),
    "mixed": SMALL.replace("block: basic, depth: 2", "block: [bottleneck, basic], expansion: 1"),
    "nested": with_block(
        "residual:\n"
        "  - conv: {out: width, kernel: 3}\n"
        "  - residual:\n"
        "      - conv: {out: width * 2, kernel: 3, stride: stride}\n"
        "      - norm\n"
        "    shortcut: B\n"
        "  - conv: {out: out, kernel: 1}\n",
        STAGE,
    ),
    "dense": with_block(
        "parameters: {growth: 4}\n"
        "out: in + growth\n"
        "residual:\n"
        "  - norm\n"
        "  - act\n"
        "  - conv: {out: growth, kernel: 3}\n"
        "join: concat\n"
        "shortcut: identity\n",
        "block: mine, depth: 3, width: 8",
    ),
    "branches": with_block(
        "residual:\n"
        "  - branches:\n"
        "      - - conv: {out: width // 2, kernel: 1}\n"
        "      - - conv: {out: width // 2, kernel: [1, 3]}\n"
        "        - conv: {out: width - width // 2, kernel: [3, 1]}\n"
        "  - conv: {out: out, kernel: 1, stride: stride}\n"
        "  - norm\n",
        STAGE,
    ),
    "calls": with_block(
        "body:\n  - reduced: {n: width // 2}\n  - conv: {out: width, kernel: 1, stride: stride}\n",
        STAGE,
        "  reduced:\n"
        "    parameters: {n: {type: int, minimum: 2}}\n"
        "    out: n\n"
        "    body:\n"
        "      - conv: {out: n, kernel: 1}\n"
        "      - squeeze_excite: {reduction: n // 2}\n"
        "        name: se\n",
    ),
    "repeats": with_block(
        "parameters: {layers: 2}\n"
        "residual:\n"
        "  - repeat: layers\n"
        "    body:\n"
        "      - conv: {out: width, kernel: 3, stride: stride if i == 0 else 1}\n"
        "      - norm\n"
        "      - act: {}\n"
        "        when: i < layers - 1\n",
        "block: mine, depth: 2, width: 8, stride: 2, layers: 3",
    ),
}


@pytest.mark.parametrize("name", SPECS)
def test_the_program_is_the_expected_text(
    name: str, golden: Callable[[str | Path, str], None]
) -> None:
    golden(f"program/{name}.txt", program_text(program(SPECS[name])))
    graph(SPECS[name])


def test_calls_of_one_structure_share_one_function() -> None:
    functions = program(SMALL).functions
    assert sorted(functions) == ["basic_block", "projection"]


def test_a_structure_of_its_own_is_a_function_named_after_what_tells_it_apart() -> None:
    spec = changed(("block: basic, depth: 2, width: 16", "block: vgg, depth: 2, width: 16"))
    assert {"conv_layer", "conv_layer_last"} <= set(program(spec).functions)


def test_a_library_block_means_the_same_where_a_spec_shadows_what_it_calls() -> None:
    spec = changed(("block: basic, depth: 2, width: 16", "block: se_basic, depth: 2, width: 16"))
    own = spec + "blocks: {squeeze_excite: {body: [tanh]}}\n"
    assert program_text(program(own)) == program_text(program(spec))


def test_a_definition_of_the_spec_wins_over_the_library_s() -> None:
    own = changed() + (
        "blocks: {basic: {body: [{conv: {out: width, kernel: 1, stride: stride}}]}}\n"
        "stems: {cifar: {body: [relu]}}\n"
        "heads: {classifier: {body: [flatten, {linear: {out: classes}}]}}\n"
    )
    kinds = [type(node.op).__name__ for node in graph(own).nodes]
    assert kinds == ["Activation", "Conv", "Conv", "Conv", "Conv", "Flatten", "Linear"]


def test_widths_may_grow_with_the_number_of_the_block() -> None:
    spec = changed(("width: 16}", "width: 16 + 48 * number // 54}"))
    stages = program(spec).features
    assert stages[0].channels == 16 + 48 * 2 // 54


def test_height_and_width_differ_all_the_way() -> None:
    spec = changed(("size: 32", "size: [17, 60]"))
    ends = [(item.height, item.width, item.stride) for item in program(spec).features]
    assert ends == [(17, 60, 1), (9, 30, 2)]


def test_the_stride_of_a_stage_is_the_product_of_strides_whatever_the_rounding() -> None:
    spec = changed(("size: 32", "size: 225"), ("stem: cifar", "stem: imagenet"))
    assert [item.stride for item in program(spec).features] == [4, 8]


def test_an_image_of_one_pixel_passes_every_stem() -> None:
    for stem in ("cifar", "imagenet", "deep", "conv"):
        graph(changed(("size: 32", "size: 1"), ("stem: cifar", f"stem: {stem}")))


def test_the_shortcut_around_all_stages_has_the_stride_of_all_stages() -> None:
    spec = changed(("size: 32", "size: 9"), ("width: 16}", "width: 16, stride: 2}")) + "skip: B\n"
    (outer,) = [node for node in graph(spec).nodes if node.name == "downsample.0"]
    assert outer.op.stride == (4, 4)  # type: ignore[union-attr]


def test_a_spec_without_stem_and_head_ends_with_its_last_stage() -> None:
    flat = graph(changed(("stem: cifar\n", ""), ("head: classifier\n", "")))
    assert flat.nodes[flat.output - 1].shape == (32, 16, 16)
