"""Python source to Python source: what settings decide is decided, and the rest keeps its lines.

The text is edited, not printed from a tree, so that comments and layout stay as they were written.
"""

from __future__ import annotations

import ast

from resnet_dsl.backends.trainer.branches import fold_branches
from resnet_dsl.backends.trainer.conditions import Settings, settle_conditions


def specialise(text: str, settings: Settings) -> str:
    """The program for these settings. Raises ValueError where they leave none: see `fold_branches`."""
    return mark_unused(fold_branches(settle_conditions(text, settings)))


def mark_unused(text: str) -> str:
    """The program with `_` before the variables of loops that nothing in the loop reads any more."""
    lines = text.split("\n")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.For):
            read = {name.id for statement in node.body for name in _names(statement)}
            for name in sorted(_names(node.target), key=lambda name: -name.col_offset):
                if name.id not in read and not name.id.startswith("_"):
                    line, column = lines[name.lineno - 1].encode(), name.col_offset
                    lines[name.lineno - 1] = (line[:column] + b"_" + line[column:]).decode()
    return "\n".join(lines)


def _names(node: ast.AST) -> list[ast.Name]:
    return [item for item in ast.walk(node) if isinstance(item, ast.Name)]
