"""Specs as texts, for tests of the language and of the lowering.

A text marks the place that an error has to point to: `width: «ten»`.
"""

from __future__ import annotations

from resnet_dsl.errors import CompileError, Diagnostic, Position, in_order
from resnet_dsl.ir.graph import Graph
from resnet_dsl.ir.program import Program
from resnet_dsl.ir.verify import verify
from resnet_dsl.language.reading import read_spec
from resnet_dsl.language.source import parse_text
from resnet_dsl.lower import lower
from resnet_dsl.passes.inline import inline

FILE = "my.yaml"

BASE = """\
name: net
input: {channels: 3, size: 32}
classes: 10
stem: cifar
shortcut: B
stages:
  - {block: basic, depth: 2, width: 16}
  - {block: basic, depth: 2, width: 32, stride: 2}
head: classifier
"""


def changed(*changes: tuple[str, str], text: str = BASE) -> str:
    """`text` with some of it replaced; what is replaced must be there."""
    for old, new in changes:
        assert old in text, f"{old!r} is not in the spec"
        text = text.replace(old, new, 1)
    return text


def with_block(body: str, stage: str = "block: mine, depth: 2, width: 16", more: str = "") -> str:
    """The base spec with a block `mine`, given by its body, in its first stage."""
    lines = "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    text = changed(("block: basic, depth: 2, width: 16", stage))
    return f"{text}blocks:\n  mine:\n{lines}{more}"


def program(text: str) -> Program:
    """The program of a spec. Raises CompileError."""
    source = parse_text(text, FILE)
    return lower(read_spec(source), source)


def graph(text: str) -> Graph:
    """The verified graph of a spec. Raises CompileError."""
    flat = inline(program(text))
    verify(flat)
    return flat


def refusals(text: str) -> list[Diagnostic]:
    """What the compiler has against a spec, in order."""
    try:
        program(text)
    except CompileError as error:
        return in_order(error)
    raise AssertionError("the spec was accepted")


def marked(text: str) -> tuple[str, Position]:
    """A text without its marks, and the one place that they mark."""
    begin, end = text.index("«"), text.index("»") - 1
    plain = text.replace("«", "").replace("»", "")
    assert len(plain) == len(text) - 2, "a text marks one place"
    line = plain.count("\n", 0, begin) + 1
    column = begin - plain.rfind("\n", 0, begin)
    return plain, Position(FILE, line, column, end - begin)


def refused(text: str, code: str) -> Diagnostic:
    """The one finding about a spec, which points to what stands between « and »."""
    plain, place = marked(text)
    (found,) = refusals(plain)
    assert found.code == code, found
    assert found.position == place, found
    return found
