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
    """The program with `_` before the variables of loops that nothing in their function reads any more."""
    lines = text.split("\n")
    tree = ast.parse(text)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    unread: set[tuple[int, int]] = set()
    for scope in (tree, *functions):
        read = {name.id for name in _names(scope) if isinstance(name.ctx, ast.Load)}
        loops = [node.target for node in ast.walk(scope) if isinstance(node, ast.For)]
        names = [name for target in loops for name in _names(target)]
        unread |= {
            (name.lineno - 1, name.col_offset)
            for name in names
            if name.id not in read and not name.id.startswith("_")
        }
    for line, column in sorted(unread, reverse=True):
        whole = lines[line].encode()
        lines[line] = (whole[:column] + b"_" + whole[column:]).decode()
    return "\n".join(lines)


def _names(node: ast.AST) -> list[ast.Name]:
    return [item for item in ast.walk(node) if isinstance(item, ast.Name)]
