"""An expression with a comma needs quotes within { }; without them the errors say so."""

from __future__ import annotations

import pytest

from compiler_tests.spec_texts import refusals, with_block
from resnet_dsl.language.misreadings import CUT_SHORT


@pytest.mark.parametrize(
    "body",
    [
        "let: {half: max(in // 2, 4)}\nbody: [norm]",
        "body:\n  - conv: {out: max(in // 2, 4), kernel: 3}",
        "body:\n  - squeeze_excite: {reduction: max(in // 2, 4)}",
    ],
    ids=["in a let", "in an operation", "in a call"],
)
def test_an_expression_that_a_comma_cuts_is_answered_with_quotes(body: str) -> None:
    found = refusals(with_block(body))
    hints = {(item.message, item.hint) for item in found if item.code == "RD301"}
    assert ("`(` is never closed", CUT_SHORT) in hints


def test_what_is_left_behind_the_comma_is_no_finding_of_another_kind() -> None:
    found = refusals(with_block("let: {half: max(in // 2, 4)}\nbody: [norm]"))
    end = "`4)` is the end of an expression, and stands where a key does"
    assert [(item.message, item.hint) for item in found[1:]] == [(end, CUT_SHORT)]


def test_the_rest_of_an_expression_may_be_long() -> None:
    body = "body:\n  - conv: {out: max(in, 8) if width > max(in, 8) else 4, kernel: 3}"
    found = refusals(with_block(body))
    assert [item.hint for item in found if item.code == "RD301"] == [CUT_SHORT] * 3


def test_a_parameter_of_a_stage_that_a_comma_cuts_is_answered_with_quotes() -> None:
    text = with_block(
        "parameters: {least: 1}\nbody: [norm]",
        "block: mine, depth: 2, width: 16, least: max(depth, 4)",
    )
    assert [item.hint for item in refusals(text)] == [CUT_SHORT, CUT_SHORT]


def test_a_parenthesis_that_is_left_open_in_quotes_is_to_be_closed() -> None:
    (found,) = refusals(with_block('body:\n  - conv: {out: "max(in, 4", kernel: 3}'))
    assert (found.message, found.hint) == ("`(` is never closed", "add `)`")
