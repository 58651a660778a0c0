"""What people write who come from other frameworks, and what they are told."""

from __future__ import annotations

import pytest

from compiler_tests.spec_texts import changed, refusals, with_block
from resnet_dsl.errors import Diagnostic
from resnet_dsl.language.body import FORMS, OPERATIONS
from resnet_dsl.language.words import said_here


def about(body: str, stage: str = "block: mine, depth: 2, width: 16") -> Diagnostic:
    (found,) = refusals(with_block(body, stage))
    return found


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("batch_norm", "`norm` is the network's normalisation; the spec's `norm:` says which"),
        ("BatchNorm2d", "`norm` is the network's normalisation; the spec's `norm:` says which"),
        ("concat", "`residual` and `branches` join what they hold: `join: add`, `multiply` or `concat`"),
        ("swish", "did you mean `silu`?"),
        ("identity", "leave it out: a body without entries is the identity"),
        ("depthwise_conv", "a depthwise convolution has a group for each channel: `conv: {kernel: 3, groups: in}`"),
        ("upsample", "there is no such operation, and none that it could be made of"),
        ("maxpool", "did you mean `max_pool`?"),
    ],
)  # fmt: skip
def test_a_word_from_elsewhere_is_answered_with_the_one_here(word: str, hint: str) -> None:
    found = about(f"body:\n  - {word}")
    assert (found.code, found.hint) == ("RD201", hint)


def test_a_word_that_nothing_is_known_of_is_answered_with_the_operations() -> None:
    hint = about("body:\n  - zzzzzz").hint
    assert hint is not None
    assert hint.startswith("known: act, adaptive_avg_pool, avg_pool, conv,")
    assert "the activations, and the blocks basic, bottleneck," in hint


def test_no_word_of_the_language_is_one_from_elsewhere() -> None:
    assert not [word for word in OPERATIONS | FORMS if said_here(word)]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("act: relu", "`act` is the network's activation, and takes no arguments; `- relu` is one by itself"),
        ("norm: batch", "`norm` is the network's normalisation; the spec's `norm:` says which"),
        ("dropout: 0.5", "the arguments of `dropout` are a mapping, as in `dropout: {rate: 0.5}`"),
        ("conv: 64", "the arguments of `conv` are a mapping, as in `conv: {out: 64, kernel: 3}`"),
        ("relu6: true", "`relu6` takes no arguments: write `- relu6`"),
    ],
)  # fmt: skip
def test_arguments_in_another_form_are_answered_with_the_form(entry: str, message: str) -> None:
    assert about(f"body:\n  - {entry}").message == message


def test_a_branch_that_is_no_list_is_answered_with_the_form() -> None:
    found = refusals(with_block("branches:\n  - conv: {kernel: 1}\n  - conv: {kernel: 3}"))
    assert {item.hint for item in found} == {
        "as in `branches: [[{conv: {kernel: 1}}], [{conv: {kernel: 3}}, act]]`"
    }


def test_names_in_a_sequence_are_refused() -> None:
    found = about(
        "body:\n  - sequence:\n      - conv: {kernel: 3}\n        name: first\n    name: s"
    )
    assert found.message == "in a sequence modules are named by their places, `0`, `1`, …"


def test_a_let_in_out_is_answered_with_the_order() -> None:
    found = about("let: {inner: width * 2}\nout: inner\nbody:\n  - conv: {out: inner, kernel: 3}")
    assert found.hint == "`out` is worked out before `let`: write it out here"


def test_a_residual_without_the_stride_of_its_stage_is_told_so() -> None:
    residual = "residual:\n  - conv: {out: width, kernel: 3}"
    found = about(residual, "block: mine, depth: 2, width: 16, stride: 2")
    assert found.hint == (
        "the stride here is 2, and the residual has none: `stride: stride` in one of its layers"
    )


def test_a_residual_with_a_stride_of_its_own_is_told_that_its_shortcut_has_none() -> None:
    found = about("residual:\n  - conv: {out: width, kernel: 3, stride: 2}")
    assert found.hint == "the residual changes height or width, and no shortcut of stride 1 does"


def test_shortcuts_that_are_proposed_would_fit() -> None:
    residual = "residual:\n  - conv: {out: width, kernel: 3, stride: stride}\nshortcut: identity"
    text = with_block(residual, "block: mine, depth: 2, width: 24, stride: 2")
    (found,) = refusals(text)
    assert found.hint is not None
    assert found.hint.startswith("shortcut `A`, `B`, `C` or `D` would give 24 × 16 × 16")
    for name in "ABCD":
        assert changed(("shortcut: identity", f"shortcut: {name}"), text=text)
        with pytest.raises(AssertionError, match="the spec was accepted"):
            refusals(text.replace("shortcut: identity", f"shortcut: {name}"))
