"""Docstrings and comments from text that anyone may have written."""

from __future__ import annotations

import re
from collections.abc import Iterable
from textwrap import wrap

from resnet_dsl.backends.layout import LINE_LENGTH, width
from resnet_dsl.ir.expr import literal, to_source

NO_BREAK = "\N{NO-BREAK SPACE}"
_QUOTES = '"""'
_ATOM = re.compile(r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)|.")


def paragraphs(text: str) -> list[str]:
    """The paragraphs of `text`, each on one line, as they may stand inside a docstring.

    Backslashes and quotes that could end the docstring are taken care of here, and what does not
    print (control characters, marks that change the direction of writing) is written as an escape.
    """
    found = []
    for part in re.split(r"\n\s*\n", text):
        line = " ".join(part.split()).replace("\\", "\\\\")
        line = re.sub(r'"{2,}', lambda run: "'" * len(run[0]), line)
        line = re.sub(r'^"|"$', "'", line)
        line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
        if line:
            found.append(line)
    return found


def docstring(parts: Iterable[str], indent: int) -> list[str]:
    """A docstring of paragraphs (as `paragraphs` gives them); a part with line breaks keeps them."""
    pad = " " * indent
    blocks = list(parts)
    if len(blocks) == 1 and "\n" not in blocks[0]:
        line = f"{pad}{_QUOTES}{blocks[0]}{_QUOTES}"
        if width(line) <= LINE_LENGTH:
            return [line]
    lines: list[str] = []
    for block in blocks:
        lines += [""] if lines else []
        if "\n" in block:
            lines += [f"{pad}{line}".rstrip() for line in block.splitlines()]
        else:
            columns = LINE_LENGTH - indent - len(_QUOTES)
            wrapped = _wrapped(block, columns)
            if len(blocks) == len(wrapped) == 1:  # no room for the closing quotes, which go with it
                wrapped = _wrapped(block, columns - len(_QUOTES))
            lines += [f"{pad}{line}" for line in wrapped]
    lines[0] = f"{pad}{_QUOTES}{lines[0].lstrip()}"
    return [*lines, f"{pad}{_QUOTES}"]


def quoted(text: str) -> str:
    """A string literal, in the quotes that `ruff format` prefers."""
    return to_source(literal(text))


def sentence(text: str) -> str:
    """`text` with a full stop at its end."""
    return text if text.endswith((".", "!", "?", ":")) else f"{text}."


def _wrapped(text: str, columns: int) -> list[str]:
    # Wide characters take two columns each; where there are any, half as many surely fit.
    fitting = columns if width(text) == len(text) else columns // 2
    lines = wrap(text, fitting, break_on_hyphens=False, break_long_words=False)
    return [part.replace(NO_BREAK, " ") for line in lines for part in _cut(line, fitting)]


def _cut(line: str, columns: int) -> list[str]:
    """A line that holds one long word in parts, none of which begins inside an escape."""
    if len(line) <= columns:
        return [line]
    parts = [""]
    for atom in _ATOM.findall(line):
        if len(parts[-1]) + len(atom) > columns:
            parts.append("")
        parts[-1] += atom
    return parts
