"""How many times smaller than the image the outputs of stages are, along each axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from resnet_dsl.ir.calls import members, names_read
from resnet_dsl.ir.expr import Value, evaluate
from resnet_dsl.ir.graph import ConcreteOp, Shape
from resnet_dsl.ir.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    AvgPool,
    BatchNorm,
    Cast,
    Concat,
    Conv,
    Dropout,
    DropPath,
    Flatten,
    FrozenBatchNorm,
    Gate,
    GroupNorm,
    Linear,
    MaxPool,
    Multiply,
    PadChannels,
    Subsample,
)
from resnet_dsl.ir.program import (
    Apply,
    Call,
    Chain,
    Function,
    Program,
    Reference,
    Statement,
    Stride,
    SymbolicOp,
    UseSlot,
)
from resnet_dsl.ir.shapes import infer
from resnet_dsl.ir.symbolic import concrete

LARGEST = (1 << 31) - 1  # no image has more places along an axis

Env: TypeAlias = Mapping[str, Value]
Pair: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Scaled:
    """A value: its shape, and its strides (vertical, horizontal)."""

    shape: Shape
    strides: Pair = (1, 1)


@dataclass(frozen=True, slots=True)
class _Filled:
    """A slot's function with its arguments evaluated."""

    function: str
    arguments: tuple[tuple[str, Value], ...]


_Slots: TypeAlias = tuple[tuple[str, _Filled | None], ...]


def stage_strides(program: Program) -> tuple[Stride, ...]:
    """The stride of each feature: the product of the strides on the way to it.

    Along an axis on which the image has one place, every stride is as good as that of the other.
    """
    walk = _Walk(program)
    image = _Scaled(program.input)
    values = walk.values(program.main, image, {"classes": program.classes}, ())
    body = program.main.body
    ends: dict[int, dict[int, _Scaled]] = {}
    found: list[Stride] = []
    for feature in program.features:
        value = values[feature.value]
        if feature.chain_end is not None:
            chain = body[feature.value - 1]
            assert isinstance(chain, Chain)
            if feature.value not in ends:
                env = {"classes": program.classes}
                ends[feature.value] = walk.ends(chain, values[chain.operand], env)
            value = ends[feature.value][feature.chain_end]
        found.append(_as_one(program.input, value.strides))
    return tuple(found)


def _as_one(image: Shape, strides: Pair) -> Stride:
    vertical, horizontal = strides
    if vertical == horizontal or image[2] == 1:
        return vertical
    return horizontal if image[1] == 1 else strides


class _Walk:
    def __init__(self, program: Program) -> None:
        self._functions = program.functions
        self._known: dict[tuple[object, ...], _Scaled] = {}
        self._read: dict[str, frozenset[str]] = {}

    def values(self, function: Function, start: _Scaled, env: Env, slots: _Slots) -> list[_Scaled]:
        """What the values of a function's body are."""
        found = [start]
        for item in function.body:
            found.append(self._statement(item, found, env, slots))
        return found

    def ends(self, chain: Chain, value: _Scaled, env: Env) -> dict[int, _Scaled]:
        """What a chain has computed after so many members, spliced ones counted one by one."""
        found = {0: value}
        count = 0
        for member in chain.members:
            value = self._member(member, [value], env)
            if isinstance(member, Call) and member.splice:
                count += len(self._functions[member.function].body)
            else:
                count += 1
            found[count] = value
        return found

    def _statement(
        self, item: Statement, values: Sequence[_Scaled], env: Env, slots: _Slots
    ) -> _Scaled:
        match item:
            case Apply():
                return self._member(item, [values[operand] for operand in item.operands], env)
            case Call():
                return self._member(item, [values[item.operand]], env)
            case UseSlot():
                filled = dict(slots)[item.name]
                value = values[item.operand]
                return value if filled is None else self._call(filled, value, ())
            case Chain():
                value = values[item.operand]
                for member in item.members:
                    value = self._member(member, [value], env)
                return value

    def _member(self, item: Apply | Call, operands: Sequence[_Scaled], env: Env) -> _Scaled:
        if isinstance(item, Apply):
            return _applied(item.op, operands, env)
        slots = tuple(
            (name, None if filled is None else self._evaluated(filled, env))
            for name, filled in item.slots
        )
        return self._call(self._evaluated(item, env), operands[0], slots)

    def _evaluated(self, site: Call | Reference, env: Env) -> _Filled:
        """The call with those of its arguments that a shape may depend on, so that calls which
        differ in a rate only are one."""
        read = self._read.get(site.function)
        if read is None:
            body = self._functions[site.function].body
            read = names_read(item for item in members(body) if not _is_kept(item))
            self._read[site.function] = read
        given = (item for item in site.arguments if item[0] in read)
        return _Filled(site.function, tuple((name, evaluate(tree, env)) for name, tree in given))

    def _call(self, site: _Filled, value: _Scaled, slots: _Slots) -> _Scaled:
        key = (site, value, slots)
        if key not in self._known:
            function = self._functions[site.function]
            left_out = {p.name: p.default for p in function.parameters if p.default is not None}
            env = {**left_out, **dict(site.arguments)}
            self._known[key] = self.values(function, value, env, slots)[function.result]
        return self._known[key]


def _is_kept(item: Statement) -> bool:
    """Whether the statement is an operation that changes no shape."""
    return isinstance(item, Apply) and isinstance(
        item.op, BatchNorm | FrozenBatchNorm | GroupNorm | Activation | Dropout | DropPath | Cast
    )


def _applied(op: SymbolicOp, operands: Sequence[_Scaled], env: Env) -> _Scaled:
    before = operands[0]
    match op:
        case Conv() | MaxPool() | AvgPool() | AdaptiveAvgPool() | Subsample():
            known = concrete(op, env)
            shape = infer(known, [before.shape])
            return _Scaled(shape, _stepped(before, known, shape))
        case Add() | Multiply() | Concat() | Gate() | PadChannels():
            shape = infer(concrete(op, env), [each.shape for each in operands])
            return _Scaled(shape, (_along(1, operands, shape), _along(2, operands, shape)))
        case Flatten() | Linear():
            return _Scaled(infer(concrete(op, env), [before.shape]))
        case BatchNorm() | FrozenBatchNorm() | GroupNorm() | Activation():
            return before
        case Dropout() | DropPath() | Cast():
            return before
        case _:
            assert_never(op)


def _stepped(before: _Scaled, op: ConcreteOp, shape: Shape) -> Pair:
    match op:
        case Conv() | MaxPool() | AvgPool():
            vertical, horizontal = op.stride
        case Subsample():
            vertical = horizontal = op.stride
        case _:
            vertical, horizontal = (-(-before.shape[axis] // shape[axis]) for axis in (1, 2))
    down, across = before.strides
    return min(down * vertical, LARGEST), min(across * horizontal, LARGEST)


def _along(axis: int, operands: Sequence[_Scaled], shape: Shape) -> int:
    """The stride of the operands that have as many places as the result, and not of one that is
    broadcast to it."""
    if len(shape) != 3:
        return 1
    through = (each for each in operands if each.shape[axis:] and each.shape[axis] == shape[axis])
    return next(through, operands[0]).strides[axis - 1]
