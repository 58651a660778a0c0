"""Expressions of a function as source that fits into a line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import copy

from resnet_dsl.backends.layout import INDENT, LINE_LENGTH
from resnet_dsl.backends.torch.names import Names
from resnet_dsl.ir.expr import (
    Binary,
    Conditional,
    Expr,
    Invoke,
    Literal,
    Name,
    TypeName,
    Unary,
    infer,
    names,
    to_source,
)
from resnet_dsl.ir.expr.tree import children
from resnet_dsl.ir.program import Parameter

MATH_FUNCTIONS: Mapping[str, str] = {
    "sqrt": "math.sqrt",
    "floor": "math.floor",
    "ceil": "math.ceil",
}
"""The language's functions that are those of Python's `math`."""

LONGEST_EXPRESSION = 60
SHORTEST_PART = 16
SHORTEST_ROOM = 2 * SHORTEST_PART + len("() // ()")  # two parts and an operator
SHORTEST_NAME = 8  # no shorter ones are given another name


class Writer:
    """Expressions as source, names spelled as the function spells them.

    An expression too long for a line is taken apart into local variables: `statements` are the
    assignments that have to stand before what was written, `indent` columns in. What is evaluated
    under a condition only, stays under it.
    """

    def __init__(
        self,
        spelling: Mapping[str, str],
        scope: Names,
        parameters: Iterable[Parameter],
        indent: int,
    ) -> None:
        self.statements: list[str] = []
        self.functions: set[str] = set()
        self._spelling = {**MATH_FUNCTIONS, **spelling}
        self._scope = scope.inner()
        for name in spelling.values():
            self._scope.take(name)
        self._types: dict[str, TypeName] = {each.name: each.type for each in parameters}
        self._locals: dict[Expr, Expr] = {}
        self._looped: frozenset[str] = frozenset()
        self._indent = indent

    def __call__(self, expr: Expr, keyword: str = "") -> str:
        """The expression; `keyword` is what it is given as, on the same line."""
        room = LONGEST_EXPRESSION - len(keyword)
        if self._fits(expr, room) or names(expr) & self._looped:
            return self._text(expr)
        short = self._shortened(expr)
        return self._text(short if self._fits(short, room) else self._local(short))

    def spelled(self, name: str) -> str:
        """How the function spells a parameter."""
        return self._spelling.get(name, name)

    def renaming(self, name: str, spelled: str) -> Writer:
        """A writer for the inside of a loop over `name`; its statements are this one's."""
        inner = copy(self)
        inner._spelling = {**self._spelling, name: spelled}
        inner._looped = self._looped | {name}
        return inner

    def _text(self, expr: Expr) -> str:
        self.functions |= invoked(expr)
        return to_source(expr, self._spelling)

    def _fits(self, expr: Expr, room: int | None = None) -> bool:
        if room is None:
            left = LINE_LENGTH - self._indent - len("part12 = ")
            room = max(SHORTEST_ROOM, min(LONGEST_EXPRESSION, left))
        return isinstance(expr, Literal) or self._width(expr) <= max(room, SHORTEST_NAME)

    def _width(self, expr: Expr) -> int:
        return len(to_source(expr, self._spelling))

    def _shortened(self, expr: Expr) -> Expr:
        """The expression with as many of its parts in variables as it takes to fit; a name is left
        as it is."""
        expr = self._with_locals(expr)
        if self._fits(expr):
            return expr
        match expr:
            case Unary(sign, operand):
                return self._reduced((operand,), lambda parts: Unary(sign, parts[0]))
            case Binary("and" | "or"):
                return self._local(expr)
            case Binary(operator, left, right):
                return self._reduced((left, right), lambda parts: Binary(operator, *parts))
            case Conditional(then, test, other):
                # Of the branches nothing can go before: only one of them has to have a value.
                short = Conditional(then, self._shortened(test), other)
                return short if self._fits(short) else self._local(short)
            case Invoke(function, arguments):
                return self._reduced(arguments, lambda parts: Invoke(function, parts))
            case _:
                return expr

    def _reduced(self, parts: tuple[Expr, ...], joined: Callable[[tuple[Expr, ...]], Expr]) -> Expr:
        """What is `joined` of the parts, the longest of them put into variables until it fits."""
        while not self._fits(found := joined(parts)):
            widths = [self._width(part) for part in parts]
            place = widths.index(max(widths))
            part = parts[place]
            if widths[place] >= SHORTEST_PART:
                whole = self._fits(part) or isinstance(part, Name)
                short = self._local(part) if whole else self._shortened(part)
                parts = (*parts[:place], short, *parts[place + 1 :])
            else:  # many that are short, as only `min` and `max` have
                half = len(parts) // 2
                parts = (self._local(joined(parts[:half])), *parts[half:])
        return found

    def _with_locals(self, expr: Expr) -> Expr:
        """The expression over the variables that hold parts of it."""
        if not self._locals or expr in self._locals:
            return self._locals.get(expr, expr)
        match expr:
            case Unary(operator, operand):
                expr = Unary(operator, self._with_locals(operand))
            case Binary(operator, left, right):
                expr = Binary(operator, self._with_locals(left), self._with_locals(right))
            case Conditional(then, test, other):
                expr = Conditional(*map(self._with_locals, (then, test, other)))
            case Invoke(function, arguments):
                expr = Invoke(function, tuple(map(self._with_locals, arguments)))
            case _:
                pass
        return self._locals.get(expr, expr)

    def _local(self, expr: Expr) -> Expr:
        """The variable that holds the expression."""
        if expr not in self._locals:
            kind = infer(expr, self._types)
            branches = isinstance(expr, Conditional) or _is_logic(expr)
            short = expr if branches else self._shortened(expr)
            name = self._scope.take_numbered("part")
            self._assign(name, short)
            self._types[name] = kind
            self._locals[expr] = self._locals[short] = Name(name)
        return self._locals[expr]

    def _assign(self, name: str, expr: Expr) -> None:
        """Write the statements that give `name` its value."""
        expr = self._with_locals(expr)
        match expr:
            case Conditional(then, test, other):
                self._choose(name, Conditional(then, self._shortened(test), other))
            case Binary(operator, left, right) if _is_logic(expr) and not self._fits(expr):
                self._assign(name, left)
                self._write(f"if {name}:" if operator == "and" else f"if not {name}:")
                self._under_it(name, right)
            case _:
                self._write(f"{name} = {self._text(self._shortened(expr))}")

    def _choose(self, name: str, expr: Conditional) -> None:
        """As `_assign`: on one line, or on one for each part, or as an `if` with more inside."""
        line = f"{name} = {self._text(expr)}"
        if self._indent + len(line) <= LINE_LENGTH:
            self._write(line)
            return
        room = LINE_LENGTH - self._indent - INDENT
        whole = self._text(expr)
        pieces = [whole] if len(whole) <= room else list(self._pieces(expr))
        if all(len(piece) <= room for piece in pieces):
            inner = (" " * INDENT + piece for piece in pieces)
            for each in (f"{name} = (", *inner, ")"):
                self._write(each)
            return
        if infer(expr.then, self._types) != infer(expr.other, self._types):
            self._write(f"{name}: float")
        self._write(f"if {self._text(expr.test)}:")
        self._under_it(name, expr.then)
        self._write("else:")
        self._under_it(name, expr.other)

    def _pieces(self, expr: Expr) -> Iterator[str]:
        before = ""
        while isinstance(expr, Conditional):
            yield before + self._bracketed(expr.then)
            yield f"if {self._bracketed(expr.test)}"
            before, expr = "else ", expr.other
        yield before + self._text(expr)

    def _bracketed(self, expr: Expr) -> str:
        text = self._text(expr)
        return f"({text})" if isinstance(expr, Conditional) else text

    def _under_it(self, name: str, expr: Expr) -> None:
        """As `_assign`, one level further in; what else is assigned there is known only there."""
        inner = copy(self)
        inner._indent += INDENT
        inner._locals = dict(self._locals)
        # Two statements, or an `if` would be taken for one that could be an expression.
        inner._assign(name, inner._shortened(expr) if isinstance(expr, Conditional) else expr)

    def _write(self, statement: str) -> None:
        self.statements.append(" " * self._indent + statement)


def _is_logic(expr: Expr) -> bool:
    return isinstance(expr, Binary) and expr.op in ("and", "or")


def invoked(expr: Expr) -> frozenset[str]:
    """The functions of the language that an expression calls."""
    found: set[str] = set()
    pending = [expr]
    while pending:
        node = pending.pop()
        if isinstance(node, Invoke):
            found.add(node.function)
        pending.extend(children(node))
    return frozenset(found)
