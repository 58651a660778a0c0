"""A program for one choice of settings does what the whole program does with it."""

from __future__ import annotations

import ast
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_dsl.backends.trainer.conditions import UnknownError, value_of
from resnet_dsl.backends.trainer.specialise import mark_unused, specialise

Lines = list[str]

# Conditions that settings decide, and others of the arguments x and y.
ATOMS = ["ON", "not ON", "SIZE", "SIZE > 1", "KIND == 'a'", "KIND in ('b', 'c')", "SPAN is None"]
OPEN = ["x", "not y", "x > y", "x == SIZE", "(x, y) == (1, SIZE)", "f(x)"]
CHOICES = st.fixed_dictionaries(
    {
        "ON": st.booleans(),
        "SIZE": st.integers(0, 2),
        "KIND": st.sampled_from("abc"),
        "SPAN": st.sampled_from([None, (1, 2)]),
    }
)


def joined(parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    two = st.tuples(parts, st.sampled_from([" and ", " or "]), parts)
    return st.one_of(
        two.map(lambda words: f"({''.join(words)})"),
        st.lists(st.sampled_from([*ATOMS, *OPEN]), min_size=2, max_size=4).map(" and ".join),
        parts.map(lambda part: f"not ({part})"),
    )


CONDITIONS = st.recursive(st.sampled_from([*ATOMS, *OPEN]), joined, max_leaves=5)
VALUES = st.one_of(
    st.integers(0, 99).map(str),
    CONDITIONS.map(lambda condition: f"bool({condition})"),
    st.tuples(CONDITIONS, st.sampled_from(["(3 if {} else 4) + x", "f(x if {} else y)"])).map(
        lambda pair: pair[1].format(pair[0])
    ),
)
SIMPLE = st.one_of(
    VALUES.map(lambda value: [f"out.append({value})"]),
    VALUES.map(lambda value: ["# A note.", f"x = int({value})", ""]),
)


def indented(block: Lines) -> Lines:
    return [f"    {line}" if line else line for line in block]


@st.composite
def chains(draw: st.DrawFn, blocks: st.SearchStrategy[Lines]) -> Lines:
    found: Lines = []
    for word in ["if", *["elif"] * draw(st.integers(0, 2))]:
        found += [f"{word} {draw(CONDITIONS)}:", *indented(draw(blocks))]
    if draw(st.booleans()):
        found += ["else:", *indented(draw(blocks))]
    return found


@st.composite
def loops(draw: st.DrawFn, blocks: st.SearchStrategy[Lines]) -> Lines:
    leave = draw(st.sampled_from(["continue", "break", "return out", "out.append(i)"]))
    inside = [*draw(blocks), f"if {draw(CONDITIONS)}:", f"    {leave}", *draw(SIMPLE)]
    return ["for i, k in enumerate(range(3)):", *indented(inside)]


def blocks(inner: st.SearchStrategy[Lines]) -> st.SearchStrategy[Lines]:
    """A first statement that stays, and others after it."""
    parts = st.lists(st.one_of(chains(inner), loops(inner), SIMPLE), max_size=3)
    ends = st.sampled_from([[], [], ["return out"]])
    return st.tuples(SIMPLE, parts, ends).map(
        lambda found: [*found[0], *(line for part in found[1] for line in part), *found[2]]
    )


PROGRAMS = st.recursive(SIMPLE, blocks, max_leaves=8)


def outcomes(text: str, settings: dict[str, object]) -> list[object]:
    names: dict[str, object] = {**settings, "f": lambda value: value + 1}
    exec(text, names)
    run = names["run"]
    assert callable(run)
    return [run(x, y) for x in range(3) for y in range(3)]


@given(PROGRAMS, CHOICES)
def test_what_is_specialised_does_what_the_whole_program_does(block, settings):
    body = indented(["out = []", *block, "return out"])
    text = "\n".join(["def run(x, y):", *body, ""])
    found = specialise(text, settings)
    assert outcomes(found, settings) == outcomes(text, settings)
    assert specialise(found, settings) == found
    for node in ast.walk(ast.parse(found)):
        if isinstance(node, ast.If | ast.IfExp):
            with pytest.raises(UnknownError):
                value_of(node.test, settings)


def test_conditions_branches_and_loops_are_done_one_after_the_other():
    text = textwrap.dedent(
        """\
        def batches(order):
            for step, index in enumerate(order):
                # How images are drawn.
                if FLIP == "random" and index % 2:
                    yield mirrored(index)
                elif FLIP == "alternate":
                    yield mirrored(index, step)
                scale = 2 if FLIP == "none" else 3
                if FLIP == "none":
                    return
                yield index * scale
        """
    )
    assert specialise(text, {"FLIP": "random"}) == textwrap.dedent(
        """\
        def batches(order):
            for _step, index in enumerate(order):
                # How images are drawn.
                if index % 2:
                    yield mirrored(index)
                scale = 3
                yield index * scale
        """
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("for i in x:\n    f()\n", "for _i in x:\n    f()\n"),
        ("for i, (a, b) in x:\n    f(a)\n", "for _i, (a, _b) in x:\n    f(a)\n"),
        (
            "for i in x:\n    for j in i:\n        f(j)\n",
            "for i in x:\n    for j in i:\n        f(j)\n",
        ),
        ("for _ in x:\n    f()\n", "for _ in x:\n    f()\n"),
        ("for a.b in x:\n    f(a)\n", "for a.b in x:\n    f(a)\n"),
        (
            "für = [i for i in x]\nfor ä, ö in x:\n    f(ö)\n",
            "für = [i for i in x]\nfor _ä, ö in x:\n    f(ö)\n",
        ),
    ],
)
def test_a_variable_that_a_loop_does_not_read_is_marked(before, after):
    assert mark_unused(before) == after


def test_settings_that_leave_an_empty_loop_are_refused():
    with pytest.raises(ValueError, match="line 1: nothing is left"):
        specialise("for x in y:\n    if ON:\n        a()\n", {"ON": False})
