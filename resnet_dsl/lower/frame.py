"""A function while it is being written: its statements, and what is known of each value.

Every value is known twice: its shape as numbers, so that what does not add up is found here, and
its channels as an expression over the function's parameters, so that one function serves every
call with the same structure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.ir.expr import Expr, ExprError, Value, evaluate, literal, substitute
from resnet_dsl.ir.graph import Shape
from resnet_dsl.ir.ops import Flatten
from resnet_dsl.ir.program import Apply, Call, Chain, Statement, SymbolicOp, UseSlot
from resnet_dsl.ir.shapes import ShapeError, infer
from resnet_dsl.ir.symbolic import concrete
from resnet_dsl.language.source import Source

Path = tuple[str | int, ...]

ALWAYS_NUMBERED = frozenset({"conv", "bn", "gn"})


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a source text, for diagnostics."""

    source: Source
    path: Path

    def at(self, *steps: str | int) -> Place:
        """The place `steps` further in."""
        return Place(self.source, (*self.path, *steps))

    def error(
        self,
        code: str,
        message: str,
        *,
        key: bool = False,
        why: str | None = None,
        hint: str | None = None,
    ) -> CompileError:
        """A CompileError that points here."""
        return CompileError(self.diagnostic(code, message, key=key, why=why, hint=hint))

    def diagnostic(
        self,
        code: str,
        message: str,
        *,
        key: bool = False,
        why: str | None = None,
        hint: str | None = None,
    ) -> Diagnostic:
        """A diagnostic that points here."""
        return self.source.diagnostic(code, message, self.path, key=key, why=why, hint=hint)


@dataclass(frozen=True, slots=True)
class Scope:
    """What names mean: `env` gives the function's free names their values at this call, `symbols`
    gives derived names (a let, `out`, a loop's `i`) as expressions over the free ones."""

    env: Mapping[str, Value]
    symbols: Mapping[str, Expr] = field(default_factory=dict)

    def symbolic(self, tree: Expr) -> Expr:
        """`tree` over free names only."""
        return substitute(tree, self.symbols)

    def value(self, tree: Expr, place: Place) -> Value:
        """The number that `tree` (over any names of this scope) has at this call."""
        try:
            return evaluate(self.symbolic(tree), self.env)
        except ExprError as error:
            raise place.error("RD304", f"this has no value here: {error}") from None

    def integer(self, tree: Expr, place: Place) -> int:
        """`value`, for an expression of type int."""
        found = self.value(tree, place)
        if isinstance(found, bool) or not isinstance(found, int):
            raise place.error("RD303", f"this must be of type int, and is `{found}` here")
        return found

    def with_symbols(self, more: Mapping[str, Expr]) -> Scope:
        """This scope with more derived names."""
        return Scope(self.env, {**self.symbols, **more})


def show(shape: Shape) -> str:
    """A shape as messages print it: 64 × 56 × 56."""
    return " × ".join(str(extent) for extent in shape)


class Frame:
    """The function being written. In a numbered frame (a chain) every statement reads the one
    before it and is named by its place; otherwise names count each kind of operation."""

    def __init__(self, shape: Shape, channels: Expr, *, numbered: bool = False) -> None:
        self.statements: list[Statement] = []
        self.shapes: list[Shape] = [shape]
        self.channels: list[Expr] = [channels]
        self.numbered = numbered
        self.group = ""
        self.conditions: list[str] = []
        self._members = 0
        self._counts: Counter[str] = Counter()
        self._first: dict[str, int] = {}
        self._given: set[str] = set()

    @property
    def last(self) -> int:
        """The value of the last statement."""
        return len(self.statements)

    def apply(
        self,
        kind: str,
        op: SymbolicOp,
        operands: Sequence[int],
        scope: Scope,
        place: Place,
        channels: Expr | None = None,
        name: str | None = None,
    ) -> int:
        """Append an operation; `channels` are those of its first operand unless they are given."""
        self.require_chain(operands, place)
        try:
            known = concrete(op, scope.env)
            shape = infer(known, [self.shapes[operand] for operand in operands])
        except ExprError as error:
            raise place.error("RD304", f"this has no value here: {error}") from None
        except ShapeError as error:
            raise place.error("RD401", str(error)) from None
        through = self.channels[operands[0]] if channels is None else channels
        if isinstance(op, Flatten) and shape[0] != self.shapes[operands[0]][0]:
            through = literal(shape[0])
        statement = Apply(self.fresh(kind, name, place), op, tuple(operands), self.group)
        return self.append(statement, shape, through)

    def append(self, statement: Statement, shape: Shape, channels: Expr) -> int:
        """Append a statement whose result is known."""
        self.statements.append(statement)
        self.shapes.append(shape)
        self.channels.append(channels)
        return len(self.statements)

    def require_chain(self, operands: Sequence[int], place: Place) -> None:
        """A chain has one path: refuse what would need a second one."""
        if self.numbered and tuple(operands) != (self.last,):
            raise place.error(
                "RD404",
                "this needs two paths, and a sequence has one",
                why="shortcuts, sequences and a flat trunk are chains: each member reads the last",
                hint="move the residual or the branches into a block of their own",
            )

    def fresh(self, kind: str, name: str | None, place: Place, members: int = 1) -> str:
        """The module name of the next statement."""
        if self.numbered:
            self._members += members
            return str(self._members - members)
        if name is not None:
            if name in self._given:
                raise place.error("RD109", f"two modules here are named `{name}`")
            self._given.add(name)
            return name
        self._counts[kind] += 1
        count = self._counts[kind]
        if kind in ALWAYS_NUMBERED:
            return f"{kind}{count}"
        if count == 1:
            self._first[kind] = len(self.statements)
            return kind
        return f"{kind}{count}"

    def finished(self) -> tuple[Statement, ...]:
        """The statements, names settled: of several of a kind the first is numbered too."""
        for kind, index in self._first.items():
            if self._counts[kind] > 1:
                statement = self.statements[index]
                assert isinstance(statement, Apply | Call | Chain | UseSlot)
                self.statements[index] = replace(statement, name=f"{kind}1")
        self._first.clear()
        return tuple(self.statements)
