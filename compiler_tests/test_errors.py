"""Diagnostics: how they are drawn, ordered, and said to a program."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import resnet_dsl
from resnet_dsl.errors import (
    CODES,
    CompileError,
    Diagnostic,
    Position,
    Related,
    as_json,
    closest,
    render,
    render_all,
    suggest,
)

LINE = "  - {block: botleneck, depth: 3, width: 64}"
WRONG_BLOCK = Diagnostic(
    "RD201",
    "there is no block `botleneck`",
    Position("specs/my.yaml", 9, 13, 9),
    LINE,
    why="the library has `basic` and `bottleneck`",
    hint="did you mean `bottleneck`?",
)


def test_a_diagnostic_is_drawn_with_its_line_and_a_caret():
    assert render(WRONG_BLOCK) == (
        "error[RD201]: there is no block `botleneck`\n"
        "  --> specs/my.yaml:9:13\n"
        "   |\n"
        " 9 |   - {block: botleneck, depth: 3, width: 64}\n"
        "   |             ^^^^^^^^^\n"
        "   = why: the library has `basic` and `bottleneck`\n"
        "   = hint: did you mean `bottleneck`?"
    )


def test_a_second_place_is_drawn_below_the_first_with_one_gutter():
    first = Related(Position("a.yaml", 2, 3, 5), "  depth: 3", "first given here")
    found = Diagnostic(
        "RD009",
        "the key `depth` is given twice",
        Position("a.yaml", 107, 3, 5),
        "  depth: 5",
        related=(first,),
    )
    assert render(found) == (
        "error[RD009]: the key `depth` is given twice\n"
        "    --> a.yaml:107:3\n"
        "     |\n"
        " 107 |   depth: 5\n"
        "     |   ^^^^^\n"
        "    ::: a.yaml:2:3\n"
        "     |\n"
        "   2 |   depth: 3\n"
        "     |   ----- first given here"
    )


def test_without_a_position_only_the_words_are_drawn():
    found = Diagnostic("RD001", "there is no file `a`", why="one\ntwo", hint="three")
    assert render(found) == (
        "error[RD001]: there is no file `a`\n  = why: one\n         two\n  = hint: three"
    )


def test_colour_only_adds_escapes():
    coloured = render(WRONG_BLOCK, color=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render(WRONG_BLOCK)


@pytest.mark.parametrize(
    ("line", "column", "width", "shown", "caret"),
    [
        ("a:\tb", 4, 1, "a:  b", "    ^"),
        ("\ta", 1, 1, "    a", "^^^^"),
        ("名: x", 4, 1, "名: x", "    ^"),
        ("e\u0301: x", 5, 1, "e\u0301: x", "   ^"),
        ("é: xy", 4, 2, "é: xy", "   ^^"),
        ("a: \x1b[31m", 4, 1, r"a: \x1b[31m", "   ^^^^"),
        ("a: \u202eb", 5, 1, r"a: \u202eb", "         ^"),
        ("key:", 5, 1, "key:", "    ^"),
        ("key:", 40, 3, "key:", "     ^"),
        ("abc", 2, 90, "abc", " ^^"),
        ("", 1, 1, "", "^"),
        ("abc\r\n", 3, 1, "abc", "  ^"),
    ],
    ids=[
        "tab", "caret on a tab", "wide", "combining", "accent", "control", "direction", "just after",
        "far after", "too wide", "empty line", "line break",
    ],
)  # fmt: skip
def test_the_caret_stands_under_what_it_means(line, column, width, shown, caret):
    text = render(Diagnostic("RD006", "m", Position("f", 1, column, width), line))
    assert text.split("\n")[3:] == [f" 1 | {shown}".rstrip(), f"   | {caret}"]


def test_a_long_line_is_cut_to_a_window_around_the_caret():
    line = "x" * 5000 + "HERE" + "y" * 5000
    text = render(Diagnostic("RD006", "m", Position("f", 1, 5001, 4), line)).split("\n")
    assert text[3] == " 1 | …" + "x" * 33 + "HERE" + "y" * 63 + "…"
    assert text[4] == "   | " + " " * 34 + "^^^^"


def test_the_window_reaches_the_end_of_a_long_line():
    line = "x" * 300
    text = render(Diagnostic("RD006", "m", Position("f", 1, 301), line)).split("\n")
    assert text[3] == " 1 | …" + "x" * 100
    assert text[4] == "   | " + " " * 101 + "^"


@given(st.text(), st.text(), st.integers(-5, 500), st.integers(-5, 500), st.booleans())
def test_no_text_steers_the_terminal(message, line, column, width, related):
    place = Position(message, 3, column, width)
    second = (Related(place, line, message),) if related else ()
    text = render(Diagnostic(message, message, place, line, message, line, second))
    assert all(character == "\n" or character.isprintable() for character in text)


def test_all_findings_are_printed_in_order_once_and_counted():
    late = Diagnostic("RD101", "late", Position("b.yaml", 9, 1))
    early = Diagnostic("RD101", "early", Position("b.yaml", 2, 5))
    other = Diagnostic("RD101", "other", Position("a.yaml", 50, 1))
    nowhere = Diagnostic("RD001", "nowhere")
    text = render_all(CompileError([nowhere, late, early, other, early]))
    assert re.findall(r"\]: (\w+)", text) == ["other", "early", "late", "nowhere"]
    assert text.endswith("\n\n4 errors")


def test_one_finding_is_counted_in_the_singular():
    assert render_all(CompileError(Diagnostic("RD001", "m"))) == "error[RD001]: m\n\n1 error"


def test_json_holds_everything_that_is_printed():
    first = Related(Position("a.yaml", 2, 3, 5), "  depth: 3", "first given here")
    found = Diagnostic(
        "RD009", "twice", Position("a.yaml", 4, 3, 5), "  depth: 5", related=(first,)
    )
    assert json.loads(json.dumps(as_json(CompileError(found)))) == [
        {
            "code": "RD009",
            "title": "a key is given twice",
            "message": "twice",
            "position": {"file": "a.yaml", "line": 4, "column": 3, "width": 5},
            "line_text": "  depth: 5",
            "why": None,
            "hint": None,
            "related": [
                {
                    "position": {"file": "a.yaml", "line": 2, "column": 3, "width": 5},
                    "line_text": "  depth: 3",
                    "label": "first given here",
                }
            ],
        }
    ]


@pytest.mark.parametrize(
    ("word", "expected"),
    [("botleneck", "bottleneck"), ("Basic", "basic"), ("pre-activation", "pre_activation")],
)
def test_the_nearest_name_is_suggested(word, expected):
    names = ["basic", "bottleneck", "pre_activation"]
    assert closest(word, names) == expected
    assert suggest(word, names) == f"did you mean `{expected}`?"


@pytest.mark.parametrize("word", ["zzz", "", "b" * 10_000])
def test_nothing_is_suggested_where_nothing_is_near(word):
    assert suggest(word, ["basic", "bottleneck"]) is None


def test_an_error_needs_a_finding():
    with pytest.raises(ValueError, match="at least one"):
        CompileError([])


def test_every_code_is_well_formed():
    assert all(re.fullmatch(r"RD\d{3}", code) and title for code, title in CODES.items())
    families = [code[:3] for code in CODES]
    assert families == sorted(families)


def test_every_code_that_is_raised_is_in_the_table() -> None:
    package = Path(resnet_dsl.__file__).parent
    raised: dict[str, set[str]] = {}
    for file in package.rglob("*.py"):
        for code in re.findall(r"\bRD\d{3}\b", file.read_text(encoding="utf-8")):
            raised.setdefault(code, set()).add(str(file.relative_to(package)))
    assert {code: files for code, files in raised.items() if code not in CODES} == {}
    assert {code for code, files in raised.items() if files == {"errors.py"}} == set()
