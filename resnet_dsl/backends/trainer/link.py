"""One file of many: a program, and from the modules of a library just what it refers to.

What is linked is whole definitions (functions, classes, constants of a module) with the comments right above them:
those that the program's statements refer to, those that these refer to, and so on. A definition of the program's own
stays only if it is among them. What is left of the imports is sorted as `ruff` sorts it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from resnet_dsl.backends.layout import LINE_LENGTH

PACKAGE = "resnet_dsl.runtime"
_PROGRAM = "train"
_STAND_IN = "network"  # the module in the place of the emitted network


@dataclass(frozen=True, slots=True)
class Definition:
    """What defines a name at the top of a module: its lines, counted from 1, and the names that it refers to."""

    name: str
    module: str
    first: int
    text: str
    uses: frozenset[str]
    constant: bool

    @property
    def last(self) -> int:
        """Its last line."""
        return self.first + self.text.count("\n")


@dataclass(frozen=True, slots=True)
class Imported:
    """What makes a name: `import module as name`, or `from module import item as name`."""

    module: str
    item: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Module:
    """A text in its parts: the first paragraph of its docstring; what it imports from elsewhere and (`inner`) from the
    package, of which the modules are named without it; what it defines; and its other statements."""

    doc: str
    outer: tuple[Imported, ...]
    inner: tuple[Imported, ...]
    definitions: tuple[Definition, ...]
    statements: tuple[ast.stmt, ...]


@dataclass(frozen=True, slots=True)
class Linked:
    """The parts of the one file: statements that import Python's own modules and others, the program's definitions, and
    those that it needs beside them."""

    standard: list[str]
    others: list[str]
    own: list[Definition]
    definitions: list[Definition]


@cache
def library() -> dict[str, Module]:
    """The modules of the runtime package that a script is linked with, by their names in it."""
    files = {item.name.removesuffix(".py"): item for item in resources.files(PACKAGE).iterdir()}
    return {
        name: parsed(file.read_text(encoding="utf-8"), name)
        for name, file in sorted(files.items())
        if file.name.endswith(".py") and name not in ("__init__", _PROGRAM, _STAND_IN)
    }


def parsed(text: str, name: str) -> Module:
    """A module's text, taken apart."""
    tree, lines = ast.parse(text), text.split("\n")
    doc = (ast.get_docstring(tree) or "").partition("\n\n")[0]
    imports: list[Imported] = []
    definitions: list[Definition] = []
    statements: list[ast.stmt] = []
    for node in tree.body:
        match node:
            case ast.Import(names=names):
                imports += [Imported(item.name, None, item.asname or item.name) for item in names]
            case ast.ImportFrom(module=str(source), names=names):
                imports += [Imported(source, item.name, item.asname or item.name) for item in names]
            case ast.FunctionDef(name=bound) | ast.ClassDef(name=bound):
                definitions.append(_definition(bound, name, node, lines, constant=False))
            case (
                ast.Assign(targets=[ast.Name(id=bound)]) | ast.AnnAssign(target=ast.Name(id=bound))
            ):
                definitions.append(_definition(bound, name, node, lines, constant=True))
            case _:
                statements.append(node)
    inner = [
        Imported(item.module.removeprefix(f"{PACKAGE}."), item.item, item.name)
        for item in imports
        if item.module.startswith(f"{PACKAGE}.") and not item.module.endswith(f".{_STAND_IN}")
    ]
    outer = [item for item in imports if not item.module.startswith(PACKAGE)]
    return Module(doc, tuple(outer), tuple(inner), tuple(definitions), tuple(statements))


def link(program: str, modules: Mapping[str, Module] | None = None) -> Linked:
    """What the program consists of, with what it needs of the modules (those of the runtime package).

    Raises ValueError for a name of the package that is not there, and where two things that are needed share one.
    """
    source = parsed(program, _PROGRAM)
    known = {**(library() if modules is None else modules), _PROGRAM: source}
    imports: set[Imported] = set()
    needed: dict[str, Definition] = {}
    waiting = [(names_in(statement), source) for statement in source.statements]
    while waiting:
        names, module = waiting.pop()
        imports.update(item for item in module.outer if _root(item.name) in names)
        for definition in _referred(names, module, known):
            found = needed.get(definition.name)
            if found is None:
                needed[definition.name] = definition
                waiting.append((definition.uses, known[definition.module]))
            elif found is not definition:
                raise ValueError(f"{found.name} is both in {found.module} and {definition.module}")
    in_order = sorted(needed.values(), key=lambda item: (item.module, item.first))
    return Linked(
        import_lines(item for item in imports if _is_standard(item.module)),
        import_lines(item for item in imports if not _is_standard(item.module)),
        [item for item in in_order if item.module == _PROGRAM],
        [item for item in in_order if item.module != _PROGRAM],
    )


def _referred(
    names: frozenset[str], module: Module, known: Mapping[str, Module]
) -> Iterator[Definition]:
    """The definitions that names stand for in a module: its own, and imported ones."""
    yield from (item for item in module.definitions if item.name in names)
    for item in module.inner:
        if item.name in names:
            found = [other for other in known[item.module].definitions if other.name == item.item]
            if not found:
                raise ValueError(f"{PACKAGE}.{item.module} has no {item.item}")
            yield found[0]


def names_in(node: ast.AST) -> frozenset[str]:
    """Every name that stands anywhere in a tree, attributes not counted."""
    return frozenset(item.id for item in ast.walk(node) if isinstance(item, ast.Name))


def import_lines(imports: Iterable[Imported]) -> list[str]:
    """The statements in order: `import` before `from`, each by module; one for each item that gets another name."""
    plain: set[str] = set()
    sources: dict[str, set[str]] = {}
    renamed: set[Imported] = set()
    for item in imports:
        if item.item is None:
            named = "" if item.name == item.module else f" as {item.name}"
            plain.add(f"import {item.module}{named}")
        elif item.item == item.name:
            sources.setdefault(item.module, set()).add(item.name)
        else:
            renamed.add(item)
    modules = sources.keys() | {item.module for item in renamed}
    lines = sorted(plain, key=str.lower)
    for module in sorted(modules, key=str.lower):
        if module in sources:
            lines += _from(module, sorted(sources[module], key=_by_kind))
        others = [item for item in renamed if item.module == module]
        lines += sorted(f"from {module} import {item.item} as {item.name}" for item in others)
    return lines


def _from(module: str, names: list[str]) -> list[str]:
    line = f"from {module} import {', '.join(names)}"
    if len(line) <= LINE_LENGTH:
        return [line]
    return [f"from {module} import (", *(f"    {name}," for name in names), ")"]


def _by_kind(name: str) -> tuple[int, str, str]:
    """Constants, classes, then the rest, as ruff orders them."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    return kind, name.lower(), name


def _is_standard(module: str) -> bool:
    return _root(module) in sys.stdlib_module_names


def _root(name: str) -> str:
    return name.split(".")[0]


def _definition(
    name: str, module: str, node: ast.stmt, lines: list[str], *, constant: bool
) -> Definition:
    """A definition with its decorators and the comments right above it."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(item.lineno for item in decorators)])
    while first > 1 and lines[first - 2].startswith("#"):
        first -= 1
    text = "\n".join(lines[first - 1 : node.end_lineno])
    return Definition(name, module, first, text, names_in(node), constant)
