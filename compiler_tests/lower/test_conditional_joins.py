"""Shortcuts whose join depends on a condition: a sum where shapes agree, and none where they differ."""

from __future__ import annotations

from compiler_tests.spec_texts import BASE, changed, graph, program, refusals, with_block
from resnet_dsl.ir.ops import Add, Gate


def joins(text: str) -> list[str]:
    return [
        node.name.rpartition(".")[0]
        for node in graph(text).nodes
        if isinstance(node.op, Add | Gate)
    ]


def test_matching_adds_where_shapes_agree_and_nowhere_else() -> None:
    text = changed(("shortcut: B", "shortcut: matching"))
    assert joins(text) == ["layer1.0", "layer1.1", "layer2.1"]


def test_a_function_for_each_join_is_named_after_the_condition() -> None:
    text = changed(("shortcut: B", "shortcut: matching"))
    assert set(program(text).functions) == {"basic_block", "basic_block_transition"}


def test_a_residual_without_a_sum_is_not_dropped() -> None:
    text = changed(
        ("shortcut: B", "shortcut: matching\ndrop_path: {rate: 0.5, schedule: constant}")
    )
    dropped = [node.name for node in graph(text).nodes if node.name.endswith("drop_path")]
    assert dropped == [f"{block}.drop_path" for block in joins(text)]


def test_a_conditional_join_has_a_path_where_the_condition_does_not_hold() -> None:
    """As in RepVGG, whose third branch is a normalisation where shapes agree (Ding et al. 2021)."""
    text = f"""{BASE}shortcuts:
  normal:
    body: [norm]
    join: none
    when: transition
"""
    found = joins(text.replace("shortcut: B", "shortcut: normal"))
    assert found == ["layer1.0", "layer1.1", "layer2.1"]


def test_the_condition_knows_the_parameters_of_the_shortcut() -> None:
    text = f"""{BASE}shortcuts:
  some:
    parameters: {{least: 17}}
    join: none
    when: transition or out < least
"""
    assert joins(text.replace("shortcut: B", "shortcut: some")) == ["layer2.1"]
    assert joins(text.replace("shortcut: B", "shortcut: {some: {least: 1}}")) == [
        "layer1.0",
        "layer1.1",
        "layer2.1",
    ]


def test_a_condition_without_a_join_is_refused() -> None:
    (found,) = refusals(f"{BASE}shortcuts:\n  some:\n    when: transition\n")
    assert found.message == "`when` is the condition of a `join`"


def test_a_condition_is_a_truth() -> None:
    (found,) = refusals(f"{BASE}shortcuts:\n  some:\n    join: none\n    when: in\n")
    assert found.code == "RD303"


def test_identity_where_shapes_differ_is_answered_with_matching() -> None:
    text = with_block(
        "shortcut: identity\nresidual:\n  - conv: {out: width, kernel: 3, stride: stride}",
        "block: mine, depth: 2, width: 24",
    )
    (found,) = refusals(text)
    assert found.hint is not None
    assert "`matching` adds only where shapes agree" in found.hint
