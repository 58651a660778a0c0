"""A function while it is being written: its statements, and what is known of each value.

Every value is known twice: its shape as numbers, so that what does not add up is found here, and
its channels as an expression over the function's parameters, so that one function serves every
call with the same structure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from resnet_dsl.ir.expr import Expr, ExprError, Invoke, Value, evaluate, literal, mul
from resnet_dsl.ir.expr.tree import children
from resnet_dsl.ir.graph import ConcreteOp, Shape
from resnet_dsl.ir.ops import AdaptiveAvgPool, AvgPool, Conv, MaxPool, Subsample
from resnet_dsl.ir.parameters import parameters
from resnet_dsl.ir.program import Apply, Statement, SymbolicOp
from resnet_dsl.ir.shapes import ShapeError, infer
from resnet_dsl.ir.symbolic import concrete, free_names
from resnet_dsl.language.schema import MAX_CHANNELS
from resnet_dsl.language.source import Source
from resnet_dsl.lower.place import Place

ONE = literal(1)
ALWAYS_NUMBERED = frozenset({"conv", "bn", "gn"})
MAX_STATEMENTS = 4096
MAX_NODES = 2_000_000
MAX_WEIGHTS = 1 << 40
MAX_EXTENT = (1 << 31) - 1
LARGEST_TREE = 64


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a value: its shape, its channels over the function's names, and how many
    times smaller than the function's input it is: `reduction` over the names, the larger of two, and
    `strides` in numbers (vertical, horizontal)."""

    shape: Shape
    channels: Expr
    reduction: Expr = ONE
    strides: tuple[int, int] = (1, 1)

    def strided(self, strides: tuple[int, int]) -> tuple[int, int]:
        """The strides of what is so many times smaller than this value."""
        vertical, horizontal = (
            min(a * b, MAX_EXTENT) for a, b in zip(self.strides, strides, strict=True)
        )
        return vertical, horizontal


@dataclass(frozen=True, slots=True)
class Size:
    """How much a statement adds to the network: operations, and numbers in weights."""

    nodes: int = 0
    weights: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(self.nodes + other.nodes, self.weights + other.weights)


class Frame:
    """The function being written; `env` gives its parameters their values. In a numbered frame (a
    chain) every statement reads the one before it and is named by its place; otherwise names count
    each kind of operation."""

    def __init__(
        self,
        env: Mapping[str, Value],
        start: Known,
        *,
        numbered: bool = False,
        limit: int = MAX_STATEMENTS,
    ) -> None:
        self.env = env
        self.statements: list[Statement] = []
        self.known: list[Known] = [start]
        self.numbered = numbered
        self.limit = limit
        self.group = ""
        self.conditions: list[str] = []
        self.size = Size()
        self._members = 0
        self._counts: Counter[str] = Counter()
        self._first: dict[str, int] = {}
        self._named: list[tuple[str, Place, bool]] = []
        self._given: set[str] = set()

    @property
    def last(self) -> int:
        """The value of the last statement."""
        return len(self.statements)

    def shape(self, value: int) -> Shape:
        """The shape of a value."""
        return self.known[value].shape

    def channels(self, value: int) -> Expr:
        """The channels of a value, over the function's names."""
        return self.known[value].channels

    def apply(
        self,
        kind: str,
        op: SymbolicOp,
        operands: Sequence[int],
        place: Place,
        channels: Expr | None = None,
        name: str | None = None,
    ) -> int:
        """Append an operation; `channels` are those of its first operand unless they are given."""
        self.require_chain(operands, place)
        try:
            known = concrete(op, self.env)
            shape = infer(known, [self.known[operand].shape for operand in operands])
        except ExprError as error:
            raise place.expression_error(
                "RD304", "this has no value here: ", error, free_names(op)
            ) from None
        except ShapeError as error:
            raise place.error("RD401", str(error), reads=free_names(op)) from None
        _check_extents(known, shape, place)
        before = self.known[operands[0]]
        through = self.settled(before.channels if channels is None else channels, shape[0])
        size = Size(1, sum(prod(item.shape) for item in parameters(known)))
        fresh = self.fresh(kind, name, place if name is None else place.beside("name"))
        statement = Apply(fresh, op, tuple(operands), self.group)
        strides = _strides(known, [self.known[operand] for operand in operands], shape)
        result = Known(shape, through, self._reduction(op, before, shape), strides)
        return self.append(statement, result, place, size)

    def append(self, statement: Statement, known: Known, place: Place, size: Size) -> int:
        """Append a statement whose result and size are known."""
        self.statements.append(statement)
        self.known.append(known)
        self.size += size
        if len(self.statements) > self.limit:
            raise place.error(
                "RD406",
                f"a block of more than {self.limit:,} operations",
                hint="use several blocks",
            )
        if self.size.nodes > MAX_NODES:
            raise place.error("RD406", f"a network of more than {MAX_NODES:,} operations")
        if self.size.weights > MAX_WEIGHTS:
            raise place.error(
                "RD406",
                f"a network of more than {MAX_WEIGHTS:,} weights",
                why=f"with what stands here there are {self.size.weights:,}",
            )
        return len(self.statements)

    def require_chain(self, operands: Iterable[int], place: Place) -> None:
        """A chain has one path: refuse what would need a second one."""
        if self.numbered and tuple(operands) != (self.last,):
            raise place.error(
                "RD404",
                "this needs two paths, and a sequence has one",
                why="shortcuts, sequences and a flat trunk are chains: each member reads the last",
                hint="move the residual or the branches into a block of their own; a network with "
                "shortcuts has no flat `trunk`",
            )

    def fresh(self, kind: str, name: str | None, place: Place, members: int = 1) -> str:
        """The module name of the next statement, which takes the place of `members` in a chain."""
        if self.numbered:
            self._members += members
            return str(self._members - members)
        if name is not None:
            self._named.append((name, place, True))
            self._given.add(name)
            return name
        while True:  # counting passes over the names that were given before
            self._counts[kind] += 1
            count = self._counts[kind]
            bare = count == 1 and kind not in ALWAYS_NUMBERED
            name = kind if bare else f"{kind}{count}"
            if name not in self._given:
                break
        if bare:
            self._first[kind] = len(self.statements)
        self._named.append((name, place, False))
        return name

    def reserve(self, name: str, place: Place) -> None:
        """Note the name of the next statement, which is always the same."""
        self._named.append((name, place, False))

    def finished(self, home: Source | None = None) -> tuple[Statement, ...]:
        """The statements, names settled: of several of a kind the first is numbered too. Raises
        RefusalError RD109 where two have one name, at the one in `home` if there is one."""
        for kind, index in self._first.items():
            if self._counts[kind] > 1:
                _, place, given = self._named[index]
                self._named[index] = (f"{kind}1", place, given)
                self.statements[index] = replace(self.statements[index], name=f"{kind}1")
        self._first.clear()
        seen: dict[str, tuple[str, Place, bool]] = {}
        for entry in self._named:
            name, place, given = entry
            other = seen.setdefault(name, entry)
            if other is not entry:
                where = place if given else other[1]
                where = next((at for at in (place, other[1]) if at.source is home), where)
                raise where.error(
                    "RD109",
                    f"two modules here are named `{name}`",
                    why="without a `name`, modules are counted (`conv1`, `conv2`, …), and the "
                    "shortcut of a block is its `downsample`",
                    hint="choose another `name`",
                )
        return tuple(self.statements)

    def settled(self, tree: Expr, number: int) -> Expr:
        """`tree`, which should be `number` at this call; the number where it is not, or where the
        tree has grown beyond reading."""
        try:
            return (
                tree if _is_small(tree) and evaluate(tree, self.env) == number else literal(number)
            )
        except ExprError:
            return literal(number)

    def _reduction(self, op: SymbolicOp, before: Known, shape: Shape) -> Expr:
        stride: Expr = ONE
        match op:
            case Conv() | MaxPool() | AvgPool():
                stride = _larger(*op.stride)
            case Subsample():
                stride = op.stride
            case AdaptiveAvgPool():
                stride = literal(max(-(-before.shape[axis] // shape[axis]) for axis in (1, 2)))
            case _:
                pass
        if stride == ONE:
            return before.reduction
        number = self._number(before.reduction) * self._number(stride)
        return self.settled(mul(before.reduction, stride), min(number, MAX_EXTENT))

    def _number(self, tree: Expr) -> int:
        found = evaluate(tree, self.env)
        assert isinstance(found, int)
        return found


def _larger(rows: Expr, columns: Expr) -> Expr:
    """One stride for two: where they differ, the other axis often has one place, as a signal's."""
    if columns in (rows, ONE):
        return rows
    return columns if rows == ONE else Invoke("max", (rows, columns))


def _strides(op: ConcreteOp, operands: Sequence[Known], shape: Shape) -> tuple[int, int]:
    vertical, horizontal = (_stride(op, operands, shape, axis) for axis in (1, 2))
    return vertical, horizontal


def _stride(op: ConcreteOp, operands: Sequence[Known], shape: Shape, axis: int) -> int:
    """The stride along an axis of the shape; an operand that is broadcast along it has no say."""
    extent = slice(axis, axis + 1)
    whole = (item for item in operands if item.shape[extent] == shape[extent])
    before = next(whole, operands[0])
    match op:
        case Conv() | MaxPool() | AvgPool():
            step = op.stride[axis - 1]
        case Subsample():
            step = op.stride
        case AdaptiveAvgPool():
            step = -(-before.shape[axis] // shape[axis])
        case _:
            step = 1
    return min(before.strides[axis - 1] * step, MAX_EXTENT)


def _is_small(tree: Expr) -> bool:
    pending, count = [tree], 0
    while pending and count <= LARGEST_TREE:
        pending.extend(children(pending.pop()))
        count += 1
    return count <= LARGEST_TREE


def _check_extents(op: ConcreteOp, shape: Shape, place: Place) -> None:
    if max(shape) > MAX_EXTENT:
        raise place.error("RD406", f"an output with an extent of more than {MAX_EXTENT:,}")
    if len(shape) == 3 and shape[0] > MAX_CHANNELS:
        raise place.error("RD406", f"an output with more than {MAX_CHANNELS:,} channels")
    if isinstance(op, Conv | MaxPool | AvgPool):
        numbers = [*op.kernel, *op.stride, *op.padding]
        numbers += op.dilation if isinstance(op, Conv) else ()
        if max(numbers) > MAX_EXTENT:
            raise place.error("RD406", f"a window that reaches further than {MAX_EXTENT:,}")
