"""Where the schema refuses something, what is whole is checked with it, and nothing that only follows is said."""

from __future__ import annotations

import pytest

from compiler_tests.spec_texts import changed, refusals, with_block
from resnet_dsl.language import parts

TEN = """\
name: m1
input: {channels: 3, size: 32}
classes: 10
stem: {cifar: {widht: 3}}
shortcut: identty
stages:
  - {block: basic, depth: 2, width: 16, strid: 3}
  - {block: botleneck, depth: 2, width: 32, stride: 2}
  - {block: bottleneck, depth: 2, width: foo + 1, stride: 2}
  - {block: bottleneck, depth: 2, width: 32 +, stride: 2, groups: 7}
head: clasifier
blocks:
  q:
    body: [convv, {conv: {kernel: 3, outt: 4}}, {act: 3}]
"""


def found(text: str) -> list[tuple[str, int, str]]:
    """Each finding with its line, and the word in it that stands in the text."""
    return [
        (item.code, item.position.line, item.message.split("`")[1])
        for item in refusals(text)
        if item.position is not None
    ]


def test_ten_faults_of_every_phase_are_reported_together() -> None:
    assert found(TEN) == [
        ("RD203", 4, "cifar"),
        ("RD201", 5, "identty"),
        ("RD203", 7, "basic"),
        ("RD201", 8, "botleneck"),
        ("RD302", 9, "foo"),
        ("RD301", 10, "+"),
        ("RD201", 11, "clasifier"),
        ("RD201", 14, "convv"),
        ("RD101", 14, "outt"),
        ("RD105", 14, "act"),
    ]


def test_a_stage_that_is_refused_in_part_has_its_names_checked() -> None:
    text = changed(("depth: 2, width: 16", "depth: x, width: 16, zzz: 3"))
    assert found(text) == [("RD105", 7, "depth"), ("RD203", 7, "basic")]


def test_a_pattern_that_does_not_fit_its_depth_has_its_blocks_checked() -> None:
    stage = "block: [basic, 3, {bottleneck: {gruops: 2}}], depth: 2, width: 16"
    (_, strange) = refusals(changed(("block: basic, depth: 2, width: 16", stage)))
    assert (strange.code, strange.hint) == ("RD203", "did you mean `groups`?")


def test_own_definitions_and_stages_are_reported_together() -> None:
    text = with_block(
        "body: [{conv: {kernel: 3, out: widht}}]", "block: basic, depth: 2, width: 16, n: 3"
    )
    assert found(text) == [("RD203", 7, "basic"), ("RD302", 12, "widht")]


def test_what_an_item_that_is_refused_holds_is_checked() -> None:
    text = with_block(
        "body:\n"
        "  - {residual: [bogus, {basic: {zzz: 3}}], join: addd}\n"
        "  - {repeat: 3 +, body: [{conv: {kernel: i + qq}}]}\n"
        "  - {branches: [[bogas], 3]}\n"
        "  - {norm: {gama: 0}, when: transitoin}\n"
        "  - {pad_channels: {out: widht, side: 3}}\n"
    )  # fmt: skip
    assert found(text) == [
        ("RD201", 13, "bogus"),
        ("RD203", 13, "basic"),
        ("RD103", 13, "addd"),
        ("RD301", 14, "+"),
        ("RD302", 14, "qq"),
        ("RD201", 15, "bogas"),
        ("RD105", 15, "branches"),
        ("RD101", 16, "gama"),
        ("RD302", 16, "transitoin"),
        ("RD302", 17, "widht"),
        ("RD105", 17, "side"),
    ]


CONSEQUENCES = {
    "of a parameter": "parameters: {e: {minimum: 3}}\nlet: {k: e + 1}\n{conv}",
    "of a let": "let: {e: 4 +, k: e + 1}\n{conv}",
    "of parameters of another form": "parameters: [e, k]\n{conv}",
    "of a misspelt section": "parametres: {e: 4, k: 2}\n{conv}",
    "of another let": "let: {e: in / 'a', k: e + 1}\nbody:\n  - {conv: {kernel: k}, when: e}\n",
}


@pytest.mark.parametrize("body", CONSEQUENCES.values(), ids=CONSEQUENCES)
def test_what_only_follows_from_a_fault_is_not_reported(body: str) -> None:
    conv = "body:\n  - conv: {kernel: k, out: e * width}\n  - mine: {e: 3}\n"
    stage = "block: mine, depth: 2, width: 16, e: 3"
    if "let: {e" in body:
        conv, stage = conv.replace("  - mine: {e: 3}\n", ""), stage.removesuffix(", e: 3")
    assert len(refusals(with_block(body.replace("{conv}", conv), stage))) == 1


def test_a_block_that_is_refused_is_no_unknown_block() -> None:
    text = f"{changed(('block: basic, depth: 2, width: 16', 'block: mine, depth: 2, width: 16, n: 3'))}blocks: "
    for rest in (
        "{mine: 3}",
        "[mine]",
        "3",
        "{mine: {parameters: {n: {type: itn}}, body: [norm]}}",
    ):
        assert len(refusals(text + rest)) == 1, rest
    assert len(refusals(text.replace("blocks:", "blokcs:") + "{mine: {body: [norm]}}")) == 1


def test_looking_for_whole_parts_says_nothing_on_the_way(recwarn: pytest.WarningsRecorder) -> None:
    parts._adapter.cache_clear()
    assert refusals(f"{changed()}blocks: {{mine: {{as: Mine, body: [convv], zzz: 1}}}}\n")
    assert not recwarn.list
