"""Places in the text, what names mean there, and the errors that point to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from resnet_dsl.errors import CompileError, Diagnostic, Related
from resnet_dsl.ir.expr import Expr, ExprError, Value, evaluate, names, substitute
from resnet_dsl.ir.graph import Shape
from resnet_dsl.language.expression import locate
from resnet_dsl.language.source import Source

Path = tuple[str | int, ...]

MAX_RELATED = 3


class RefusalError(CompileError):
    """A finding of the lowering. `reads` are the names that the part at fault reads; `of_call` says
    that the one who calls is to act, as at a join, where the definition is not to blame."""

    def __init__(
        self,
        diagnostics: Diagnostic | Iterable[Diagnostic],
        reads: frozenset[str] = frozenset(),
        of_call: bool = False,
    ) -> None:
        super().__init__(diagnostics)
        self.reads = reads
        self.of_call = of_call


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a source text, for diagnostics."""

    source: Source
    path: Path

    def at(self, *steps: str | int) -> Place:
        """The place `steps` further in."""
        return Place(self.source, (*self.path, *steps))

    def beside(self, key: str) -> Place:
        """The value of `key` beside this one, where there is one; else this place."""
        other = (*self.path[:-1], key)
        return Place(self.source, other) if other in self.source.positions else self

    def diagnostic(self, code: str, message: str, **more: Any) -> Diagnostic:
        """A diagnostic that points here; `more` is what `Source.diagnostic` takes."""
        return self.source.diagnostic(code, message, self.path, **more)

    def error(
        self,
        code: str,
        message: str,
        *,
        reads: frozenset[str] = frozenset(),
        of_call: bool = False,
        **more: Any,
    ) -> RefusalError:
        """An error that points here."""
        return RefusalError(self.diagnostic(code, message, **more), reads, of_call)

    def expression_error(
        self,
        code: str,
        prefix: str,
        error: ExprError,
        reads: frozenset[str] = frozenset(),
        why: str | None = None,
    ) -> RefusalError:
        """An error about a part of the expression that stands here."""
        more: dict[str, Any] = {"hint": error.hint}
        text = self.source.text(self.path)
        if text is not None and error.expression is not None:
            span = locate(text, error.expression)
            if span is not None:
                more |= {"offset": span.offset, "length": span.length}
        return self.error(code, f"{prefix}{error.message}", reads=reads, why=why, **more)


def blamed(error: CompileError, call: Place, label: str) -> RefusalError:
    """An error inside of a definition, seen from its call. What is found in the library is the
    caller's to mend, and so is a join; otherwise the call is a second place to look at."""
    of_call = isinstance(error, RefusalError) and error.of_call
    found: list[Diagnostic] = []
    for item in error.diagnostics:
        if len(item.related) >= MAX_RELATED:
            found.append(item)
        elif of_call or item.position is None or call.source.line(item.position) is None:
            inside = (
                ()
                if item.position is None
                else (Related(item.position, item.line_text, f"here, in {label}"),)
            )
            position = call.source.position(call.path)
            line = call.source.line(position)
            related = (*item.related, *inside)
            found.append(replace(item, position=position, line_text=line, related=related))
        else:
            found.append(replace(item, related=(*item.related, *_called(call, item))))
    return RefusalError(found)


def _called(call: Place, item: Diagnostic) -> tuple[Related, ...]:
    position = call.source.position(call.path)
    if position == item.position:
        return ()
    return (Related(position, call.source.line(position), "called here"),)


@dataclass(frozen=True, slots=True)
class Scope:
    """What names mean: `env` gives the function's free names their values at this call, `symbols`
    gives derived names (a let, `out`, a loop's `i`) as expressions over the free ones."""

    env: Mapping[str, Value]
    symbols: Mapping[str, Expr] = field(default_factory=dict)

    def symbolic(self, tree: Expr, place: Place) -> Expr:
        """`tree` over free names only. Raises RefusalError RD304 where that has no value."""
        try:
            return substitute(tree, self.symbols)
        except ExprError as error:
            raise self._refused(tree, error, place) from None

    def value(self, tree: Expr, place: Place) -> Value:
        """What `tree` (over any names of this scope) is at this call. Raises RefusalError RD304."""
        try:
            return evaluate(substitute(tree, self.symbols), self.env)
        except ExprError as error:
            raise self._refused(tree, error, place) from None

    def integer(self, tree: Expr, place: Place) -> int:
        """`value`, for an expression of type int."""
        found = self.value(tree, place)
        if isinstance(found, bool) or not isinstance(found, int):
            raise place.error("RD303", f"this must be of type int, and is `{found}` here")
        return found

    def within(self, low: int, high: int, tree: Expr, place: Place) -> int:
        """`integer`, refused with RD106 where it is less than `low` or more than `high`."""
        found = self.integer(tree, place)
        if not low <= found <= high:
            raise place.error(
                "RD106",
                f"`{place.path[-1]}` is out of range: {found:,} is not within {low:,} and {high:,}",
                reads=self.reads(tree),
            )
        return found

    def with_symbols(self, more: Mapping[str, Expr]) -> Scope:
        """This scope with more derived names."""
        return Scope(self.env, {**self.symbols, **more})

    def with_lets(self, lets: Mapping[str, Expr], place: Place) -> Scope:
        """This scope with the `let` of the definition at `place`: each name may read those before
        it. Raises RefusalError RD304."""
        symbols = dict(self.symbols)
        scope = Scope(self.env, symbols)
        for name, tree in lets.items():
            symbols[name] = scope.symbolic(tree, place.at("let", name))
        return scope

    def reads(self, *trees: Expr) -> frozenset[str]:
        """The names that expressions read, those that stand behind derived names included."""
        found: set[str] = set()
        for tree in trees:
            for name in names(tree):
                behind = self.symbols.get(name)
                found |= {name} if behind is None else names(behind)
        return frozenset(found)

    def _refused(self, tree: Expr, error: ExprError, place: Place) -> RefusalError:
        """The error in terms of the expression as it is written, where it can be told so."""
        values = dict(self.env)
        try:
            for name in names(tree) & set(self.symbols):
                values[name] = evaluate(self.symbols[name], self.env)
            evaluate(tree, values)
        except ExprError as written:
            error = written
        at_fault = names(error.expression or tree) & set(values)
        known = ", ".join(f"`{name}` is {values[name]}" for name in sorted(at_fault))
        prefix = "this has no value here: "
        why = f"{known} here" if known else None
        return place.expression_error("RD304", prefix, error, self.reads(tree), why)


def show(shape: Shape) -> str:
    """A shape as messages print it: 64 × 56 × 56."""
    return " × ".join(str(extent) for extent in shape)
