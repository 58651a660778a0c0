"""Conditions that settings decide become what they are; all others stay as they were written."""

from __future__ import annotations

import ast

import pytest

from resnet_dsl.backends.trainer.conditions import UnknownError, settle_conditions, value_of

SETTINGS = {
    "ON": True,
    "OFF": False,
    "SIZE": 4,
    "ZERO": 0,
    "KIND": "bce",
    "NONE": None,
    "MANY": (1, 2),
}


def settled(text: str) -> str:
    return settle_conditions(text, SETTINGS)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("SIZE", 4),
        ("'a'", "a"),
        ("(SIZE, KIND)", (4, "bce")),
        ("not SIZE", False),
        ("KIND == 'bce'", True),
        ("KIND != 'bce'", False),
        ("1 < SIZE <= 4", True),
        ("1 > SIZE", False),
        ("SIZE >= 5", False),
        ("NONE is None", True),
        ("SIZE is not None", True),
        ("KIND in ('bce', 'ce')", True),
        ("3 not in MANY", True),
        ("ON and SIZE", True),
        ("OFF or ZERO", False),
        ("OFF and unknown", False),
        ("unknown or ON", True),
    ],
)
def test_the_value_of_an_expression_follows_from_the_settings(text, value):
    assert value_of(ast.parse(text, mode="eval").body, SETTINGS) == value


@pytest.mark.parametrize(
    "text",
    [
        "unknown",
        "SIZE + 1",
        "ON and unknown",
        "unknown or OFF",
        "SIZE == other",
        "f(SIZE)",
        "a.SIZE",
    ],
)
def test_what_does_not_follow_from_them_is_unknown(text):
    with pytest.raises(UnknownError):
        value_of(ast.parse(text, mode="eval").body, SETTINGS)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("if SIZE: pass", "if True: pass"),
        ("if not SIZE: pass", "if False: pass"),
        ("if SIZE > 4 or OFF: pass", "if False: pass"),
        ("while KIND == 'bce': pass", "while True: pass"),
        ("assert ON", "assert True"),
        ("call(fused=KIND == 'ce')", "call(fused=False)"),
        ("half = not OFF", "half = True"),
        ("x = [SIZE is None, y]", "x = [False, y]"),
    ],
)
def test_a_condition_that_is_settled_is_true_or_false(before, after):
    assert settled(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("if ON and x: pass", "if x: pass"),
        ("if x and ON: pass", "if x: pass"),
        ("if x or OFF or y: pass", "if x or y: pass"),
        ("if OFF or x or ZERO: pass", "if x: pass"),
        ("if ON and x and SIZE and y and ON: pass", "if x and y: pass"),
        ("if x and (y or OFF): pass", "if x and y: pass"),
        ("if x and (y or OFF or z): pass", "if x and (y or z): pass"),
        ("if ON and (x or y) and z: pass", "if (x or y) and z: pass"),
        ("if z and (x or y) and ON: pass", "if z and (x or y): pass"),
        ("if not (ON and x): pass", "if not x: pass"),
        ("if not (x or ON): pass", "if False: pass"),
        ("if f(x) and (ON): pass", "if f(x): pass"),
        ("if (ON and x.y(1)): pass", "if x.y(1): pass"),
        ("if x == (ON and y): pass", "if x == (ON and y): pass"),
    ],
)
def test_of_a_condition_operands_that_are_settled_go(before, after):
    assert settled(before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("x = a if ON else b", "x = a"),
        ("x = a if OFF else b", "x = b"),
        ("x = (a if ON else b) * 2", "x = a * 2"),
        ("x = (a + 1 if ON else b) * 2", "x = (a + 1) * 2"),
        ("x = f(a if ON else b)", "x = f(a)"),
        ("x = f((a if ON else b))", "x = f(a)"),
        ("x = y[(a if ON else b)]", "x = y[a]"),
        ("return (a if ON else b)", "return a"),
        ("x = a if OFF else b if ON else c", "x = b"),
        ("x = a if y else b if ON else c", "x = a if y else b"),
        ("x = a if ON and y else b", "x = a if y else b"),
        ("x = (a if SIZE > 2 else b) if y else c", "x = a if y else c"),
        ("x = (\n    a\n    if ON\n    else b\n)", "x = a"),
        ("für = 'ö', a if ON else b", "für = 'ö', a"),
    ],
)
def test_of_a_conditional_expression_the_side_that_is_taken_stays(before, after):
    assert settled(before) == after


@pytest.mark.parametrize(
    "text",
    [
        "x = SIZE and y",  # the value may be asked for
        "x = ON or y",
        "x = SIZE",
        "x = a if y else b",
        "if x and y or z: pass",
        "if f(ON, SIZE): pass",
        "x = f'{a if ON else b}'",
        "if x > SIZE: pass",
        "x = y and not z",
    ],
)
def test_what_is_not_settled_stays_as_it_is(text):
    assert settled(text) == text


def test_comments_and_layout_stay():
    text = "x = {  # what\n    'a':  1,\n}\nif (\n    ON  # why\n    and x\n):\n    pass\n"
    assert settled(text) == "x = {  # what\n    'a':  1,\n}\nif x:\n    pass\n"
