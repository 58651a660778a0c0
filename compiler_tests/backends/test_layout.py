"""The layout is that of `ruff format`: given the same code on one line, both break it the same."""

from __future__ import annotations

import subprocess
import sys
from typing import Any, assert_never

from hypothesis import given, settings
from hypothesis import strategies as st

from resnet_dsl.backends.layout import (
    LINE_LENGTH,
    Atom,
    Call,
    Each,
    Group,
    Node,
    Noted,
    Prefixed,
    keyword,
    signature,
    statement,
    width,
)

CLOSING = {"(": ")", "[": "]", "{": "}"}


def formatted(source: str) -> str:
    """What `ruff format` makes of the source."""
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length", "100", "-"]
    return subprocess.run(command, input=source, capture_output=True, text=True, check=True).stdout


def on_one_line(node: Node) -> str:
    """The node as it would be typed by someone in a hurry."""
    match node:
        case Atom(text):
            return text
        case Prefixed(prefix, inner):
            return prefix + on_one_line(inner)
        case Call(function, arguments, exploded):
            comma = "," if exploded and arguments else ""
            return f"{function}({', '.join(map(on_one_line, arguments))}{comma})"
        case Group(opening, items, exploded):
            single = opening == "(" and len(items) == 1
            comma = "," if exploded or single else ""
            return f"{opening}{', '.join(map(on_one_line, items))}{comma}{CLOSING[opening]}"
        case Each(element, clauses):
            return f"({' '.join(map(on_one_line, (element, *clauses)))})"
        case Noted():
            raise ValueError("a comment needs a line")
        case _:
            assert_never(node)


atoms = st.sampled_from(
    ["x", "16", "width * 4", "in_channels", "out_channels // reduction", "number * 0.5 / 54"]
).map(Atom)
functions = st.sampled_from(
    ["f", "Bottleneck", "nn.Conv2d", "nn.Sequential", "self.relu", "projection_with_a_long_name"]
)


def calls(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    named = st.lists(inside, max_size=3).map(
        lambda items: [keyword(f"keyword_{place}", item) for place, item in enumerate(items)]
    )
    return st.builds(
        lambda function, items, more, exploded: Call(function, (*items, *more), exploded),
        functions,
        st.lists(inside, max_size=4),
        named,
        st.integers(0, 15).map(lambda draw: draw == 0),
    )


def groups(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    items = st.lists(inside, min_size=1, max_size=4).map(tuple)
    entries = items.map(
        lambda found: tuple(Prefixed(f'"key{i}": ', each) for i, each in enumerate(found))
    )
    return st.one_of(
        st.builds(Group, st.sampled_from(["(", "["]), items),
        st.builds(Group, st.just("{"), entries),
    )


def loops(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    clause = st.integers(1, 99).map(lambda count: Atom(f"for index in range({count})"))
    each = st.builds(lambda element, loop: Each(element, (loop,)), calls(inside), clause)
    return st.builds(
        lambda loop, more: Call("nn.Sequential", (more, Prefixed("*", loop))), each, inside
    )


nodes = st.recursive(
    atoms, lambda inside: st.one_of(calls(inside), calls(inside), groups(inside), loops(inside)),
    max_leaves=25,
)  # fmt: skip
broken = nodes.filter(lambda node: not isinstance(node, Atom))
targets = st.sampled_from(["x = ", "self.layer1 = ", "y: Tensor = ", 'outputs["layer1"] = x = '])


@settings(max_examples=5)
@given(st.lists(st.tuples(targets, broken), min_size=20, max_size=60))
def test_statements_are_laid_out_as_ruff_does(cases: list[tuple[str, Node]]) -> None:
    typed = "\n".join(target + on_one_line(node) for target, node in cases) + "\n"
    ours = "\n".join(line for target, node in cases for line in statement(target, node)) + "\n"
    assert ours == formatted(typed)


lengths = st.lists(st.integers(1, 40), max_size=5)


@settings(max_examples=4)
@given(st.lists(st.tuples(lengths, lengths), min_size=20, max_size=60))
def test_signatures_are_laid_out_as_ruff_does(cases: list[tuple[list[int], list[int]]]) -> None:
    signatures = [
        [f"{'r' * length}{place}: int" for place, length in enumerate(required)]
        + [f"{'o' * length}{place}: int = 1" for place, length in enumerate(optional)]
        for required, optional in cases
    ]
    typed = "".join(f"def f({', '.join(each)}) -> Module:\n    pass\n\n\n" for each in signatures)
    ours = "".join(
        "\n".join(signature("f", each, "Module")) + "\n    pass\n\n\n" for each in signatures
    )
    assert ours.rstrip() == formatted(typed).rstrip()


def test_arguments_share_a_line_before_each_gets_its_own() -> None:
    wide = Call("nn.Conv2d", tuple(Atom(f"argument_number_{place}") for place in range(4)))
    lines = statement("self.convolution = ", wide, indent=8)
    assert len(lines) == 3
    assert lines[1].startswith(" " * 12 + "argument_number_0, argument_number_1, ")


def test_a_comment_above_an_item_breaks_the_call() -> None:
    call = Call("nn.Sequential", (Noted("(N, 8, 4, 4)", Atom("a")), Atom("b")))
    lines = statement("x = ", call)
    assert lines == ["x = nn.Sequential(", "    # (N, 8, 4, 4)", "    a,", "    b,", ")"]
    assert formatted("\n".join(lines) + "\n").splitlines() == lines


def test_a_long_form_that_is_asked_for_stays() -> None:
    lines = statement("x = ", Call("f", (Atom("a"), Atom("b")), exploded=True))
    assert lines == ["x = f(", "    a,", "    b,", ")"]
    assert formatted("\n".join(lines) + "\n").splitlines() == lines


def test_a_line_is_filled_to_its_last_column() -> None:
    room = LINE_LENGTH - len("x = f()")
    assert len(statement("x = ", Call("f", (Atom("a" * room),)))) == 1
    assert len(statement("x = ", Call("f", (Atom("a" * (room + 1)),)))) == 3


def test_wide_characters_take_two_columns() -> None:
    assert width("深い") == 4
    assert width("3×3") == 3
