"""One file of many: a program, and from the modules that it imports just what it refers to.

What is linked is whole definitions (functions, classes, constants of a module), with their comments, in the order of
the modules; and the imports that the program and they still need, sorted as `ruff` sorts them.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from resnet_dsl.backends.layout import LINE_LENGTH

PACKAGE = "resnet_dsl.runtime"


@dataclass(frozen=True, slots=True)
class Definition:
    """A definition at the top of a module: its lines, and the names that it refers to."""

    name: str
    order: tuple[str, int]
    text: str
    uses: frozenset[str]
    constant: bool


@dataclass(frozen=True, slots=True)
class Imported:
    """What makes a name: `import module as name`, or `from module import item as name`."""

    module: str
    item: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Module:
    """The text of a program in its parts: what it imports, and what it defines."""

    definitions: tuple[Definition, ...]
    imports: tuple[Imported, ...]


@dataclass(frozen=True, slots=True)
class Linked:
    """The parts of the one file: lines of imports, and definitions that the program does not have itself."""

    imports: list[str]
    definitions: list[Definition]


@cache
def library() -> dict[str, Module]:
    """The modules of the runtime package that a script is linked with, by their names in it."""
    folder = resources.files(PACKAGE)
    names = sorted(item.name.removesuffix(".py") for item in folder.iterdir())
    return {
        name: parsed(folder.joinpath(f"{name}.py").read_text(encoding="utf-8"), name)
        for name in names
        if name not in ("__init__", "__pycache__", "train", "network")
    }


def parsed(text: str, name: str) -> Module:
    """A module's text, taken apart."""
    tree, lines = ast.parse(text), text.split("\n")
    imports: list[Imported] = []
    definitions: list[Definition] = []
    for node in tree.body:
        match node:
            case ast.Import(names=names):
                imports += [Imported(item.name, None, item.asname or item.name) for item in names]
            case ast.ImportFrom(module=str(source), names=names):
                imports += [Imported(source, item.name, item.asname or item.name) for item in names]
            case _:
                for bound in _bound(node):
                    order = name, node.lineno
                    constant = not isinstance(node, ast.FunctionDef | ast.ClassDef)
                    text_of = _text(node, lines)
                    definitions.append(Definition(bound, order, text_of, names_in(node), constant))
    return Module(tuple(definitions), tuple(imports))


def link(program: str) -> Linked:
    """What the program needs beside itself. Raises ValueError for a name of the package that is not there, and where
    two things that are needed share one."""
    module = parsed(program, "train")
    needed: dict[str, Definition] = {}
    imports: set[Imported] = set()
    waiting = [(names_in(ast.parse(program)), "train", module)]
    while waiting:
        names, place, source = waiting.pop()
        wanted = [(place, item.name) for item in source.definitions if item.name in names]
        for item in source.imports:
            if _root(item.name) not in names:
                continue
            if not item.module.startswith(f"{PACKAGE}."):
                imports.add(item)
            elif item.item is not None:
                wanted.append((item.module.removeprefix(f"{PACKAGE}."), item.item))
        for target, name in wanted:
            if target in ("train", "network"):  # the script's own, and the emitted module's
                continue
            found = _definition(target, name)
            if name not in needed:
                needed[name] = found
                waiting.append((found.uses, target, library()[target]))
            elif needed[name] is not found:
                raise ValueError(f"{name} is defined in {needed[name].order[0]} and in {target}")
    ordered = sorted(needed.values(), key=lambda definition: definition.order)
    return Linked(import_lines(imports), ordered)


def _definition(module: str, name: str) -> Definition:
    for definition in library()[module].definitions:
        if definition.name == name:
            return definition
    raise ValueError(f"{PACKAGE}.{module} has no {name}")


def names_in(node: ast.AST) -> frozenset[str]:
    """Every name that stands anywhere in a tree, attributes not counted."""
    return frozenset(item.id for item in ast.walk(node) if isinstance(item, ast.Name))


def import_lines(imports: Iterable[Imported]) -> list[str]:
    """The statements, sorted: Python's own, then others; `import` before `from`."""
    own = [item for item in imports if _standard(item.module)]
    other = [item for item in imports if not _standard(item.module)]
    groups = [list(_sorted(group)) for group in (own, other) if group]
    return [line for group in groups for line in ("", *group)][1:]


def _sorted(group: list[Imported]) -> Iterator[str]:
    plain = [item for item in group if item.item is None]
    for item in sorted(plain, key=lambda item: item.module.lower()):
        alias = f" as {item.name}" if item.name != item.module else ""
        yield f"import {item.module}{alias}"
    sources: dict[str, set[str]] = {}
    for item in group:
        if item.item is not None:
            alias = f" as {item.name}" if item.name != item.item else ""
            sources.setdefault(item.module, set()).add(f"{item.item}{alias}")
    for module in sorted(sources, key=str.lower):
        yield from _from(module, sorted(sources[module], key=_by_type))


def _from(module: str, names: list[str]) -> Iterator[str]:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= LINE_LENGTH:
        yield line
        return
    yield f"from {module} import ("
    yield from (f"    {name}," for name in names)
    yield ")"


def _by_type(name: str) -> tuple[int, str]:
    """Constants, classes, then the rest, as ruff orders them."""
    word = name.split(" as ")[0]
    kind = 0 if word.isupper() and len(word) > 1 else 1 if word[0].isupper() else 2
    return kind, name


def _standard(module: str) -> bool:
    return _root(module) in sys.stdlib_module_names


def _root(name: str) -> str:
    return name.split(".")[0]


def _bound(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case _:
            pass


def _text(node: ast.stmt, lines: list[str]) -> str:
    """The lines of a definition, with its decorators and the comments right above it."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(item.lineno for item in decorators)]) - 1
    while first > 0 and lines[first - 1].startswith("#"):
        first -= 1
    assert node.end_lineno is not None
    return "\n".join(lines[first : node.end_lineno])
