"""What a block gives is what it declares: `out`, or `width` where it says nothing."""

from __future__ import annotations

import pytest

from compiler_tests.spec_texts import changed, graph, refusals, with_block

CONCAT = "residual: [{conv: {out: width, kernel: 3}}]\njoin: concat\n"


def test_a_block_without_an_out_gives_as_many_channels_as_its_width() -> None:
    (found,) = refusals(with_block("body: [{conv: {out: 5, kernel: 3}}]"))
    assert (found.code, found.message) == (
        "RD405",
        "`out` is 16 here, and the body gives 5 channels",
    )
    assert found.line_text == "  mine:"
    assert found.why == "where a block does not declare its `out`, that is its `width`"
    assert found.hint == "declare `out: 5`, or give `width` channels"
    graph(with_block("out: 5\nbody: [{conv: {out: 5, kernel: 3}}]"))


@pytest.mark.parametrize(
    ("block", "wanted"),
    [
        ("let: {n: width // 2}\nbody: [{conv: {out: n, kernel: 3}}]", "width // 2"),
        ("body: [{conv: {out: 'max(n, 7)', kernel: 3}}]\nparameters: {n: 5}", "max(n, 7)"),
        (CONCAT, "width + in"),
    ],
)
def test_what_to_declare_can_be_typed(block: str, wanted: str) -> None:
    text = with_block(f"{block}\nshortcut: identity" if block == CONCAT else block)
    (found,) = refusals(text)
    assert found.hint == f"declare `out: {wanted}`, or give `width` channels"
    graph(changed(("  mine:\n", f"  mine:\n    out: {wanted}\n"), text=text))


def test_a_block_that_is_called_in_a_body_declares_what_it_gives() -> None:
    body = "body: [wide, {conv: {out: width, kernel: 1}}]"
    wide = "  wide: {body: [{conv: {out: in * 2, kernel: 1}}]}\n"
    (found,) = refusals(with_block(body, more=wide))
    assert (found.code, found.hint) == ("RD405", "declare `out: in * 2`, or give `width` channels")


def test_a_concatenation_says_what_each_side_gives() -> None:
    text = with_block(f"out: in + width\n{CONCAT}")
    (found,) = refusals(text)
    assert found.message == "`out` is 32 here, and the body gives 48 channels"
    assert found.why == (
        "`join: concat` puts together 16 channels of the residual and 32 of the shortcut `B`, "
        "which makes them from 16"
    )
    assert found.hint == "`shortcut: identity` would give 32"
    graph(text.replace("join: concat", "join: concat\n    shortcut: identity"))


@pytest.mark.parametrize(
    ("shortcut", "hint"),
    [
        ("none", "write `join: none` in place of `shortcut: none`"),
        ("gate", "those that are only paths: `A`, `B`, `C`, `D`, `identity`"),
        ("matching", "those that are only paths: `A`, `B`, `C`, `D`, `identity`"),
    ],
)
def test_a_shortcut_that_is_no_path_in_a_body_has_a_remedy(shortcut: str, hint: str) -> None:
    body = "body:\n  - residual: [{conv: {out: width, kernel: 3}}]\n    shortcut: SHORTCUT\n"
    (found,) = refusals(with_block(body.replace("SHORTCUT", shortcut)))
    assert (found.code, found.hint) == ("RD404", hint)
    graph(with_block(body.replace("shortcut: SHORTCUT", "join: none")))
