"""Bodies to statements: items in sequence, and the forms that hold bodies of their own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import assert_never

from resnet_dsl.ir import ops
from resnet_dsl.ir.expr import Expr, ExprError, add, literal, to_source
from resnet_dsl.ir.graph import Shape
from resnet_dsl.ir.program import Apply, Call, Chain
from resnet_dsl.language.body import Body, Item, Join
from resnet_dsl.language.fields import CallForm
from resnet_dsl.language.schema import Spec
from resnet_dsl.lower.frame import Frame
from resnet_dsl.lower.operations import OperationLowering
from resnet_dsl.lower.place import Place, Scope, show

MAX_REPEAT = 4096
MAX_STEPS = 2_000_000


@dataclass(frozen=True, slots=True)
class GateBody:
    """The transform gate of a highway join: its body, and where and in which scope it stands."""

    body: Body
    scope: Scope
    place: Place


@dataclass(frozen=True, slots=True)
class Ends:
    """The values that a join joins: the residual's, its shortcut's, and what both read; and the
    stride of the shortcut, where the residual has no say in it."""

    inside: int
    around: int
    start: int
    stride: int | None = None


class BodyLowering(ABC):
    """Lowers bodies; calls of blocks and shortcuts are a subclass's."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.operations = OperationLowering(spec)
        self._steps = 0

    @abstractmethod
    def call_block(
        self, frame: Frame, form: CallForm, scope: Scope, value: int, place: Place, name: str | None
    ) -> int:
        """Append a call of a block inside of a body."""

    @abstractmethod
    def inline_shortcut(
        self, frame: Frame, form: CallForm, scope: Scope, value: int, inside: int, place: Place
    ) -> int:
        """Append a shortcut from `value` to `inside` in a body."""

    @abstractmethod
    def fitting_shortcuts(
        self, start: Shape, end: Shape, given: str, stride: int | None
    ) -> str | None:
        """A hint: which shortcuts would lead from one shape to the other."""

    def body(self, frame: Frame, body: Body, scope: Scope, value: int, place: Place) -> int:
        """Append a body that reads `value`; the value of its last item."""
        for index, item in enumerate(body):
            try:
                value = self._item(frame, item, scope, value, place.at(index))
            except ExprError as error:  # an expression that the lowering has put together
                raise place.at(index).error("RD304", f"this has no value: {error}") from None
        return value

    def _item(self, frame: Frame, item: Item, scope: Scope, value: int, place: Place) -> int:
        self.step(place)
        if item.when is not None:
            wanted = scope.value(item.when, place.at("when"))
            frame.conditions.append(to_source(item.when) if wanted else "")
            if not wanted:
                return value
        if item.operation is not None:
            where = place.at(item.operation.op)
            return self.operations.append(frame, item.operation, scope, value, where, item.name)
        if item.call is not None:
            where = place.at(item.call.name)
            return self.call_block(frame, item.call, scope, value, where, item.name)
        if item.residual is not None:
            return self._residual(frame, item, item.residual, scope, value, place)
        if item.branches is not None:
            value = self.branches(frame, item.branches, item.join, scope, value, place)
            return self.body(frame, item.after, scope, value, place.at("after"))
        if item.body is not None and item.repeat is None:
            return self.body(frame, item.body, scope, value, place.at("body"))
        if item.repeat is not None:
            return self._repeat(frame, item.body or [], item.repeat, scope, value, place)
        return self._sequence(frame, item.sequence or [], item.name or "", scope, value, place)

    def step(self, place: Place, work: int = 1) -> None:
        """Work is bounded, whatever loops and calls make of a short text. Raises RefusalError."""
        self._steps += work
        if self._steps > MAX_STEPS:
            raise place.error(
                "RD406", f"more than {MAX_STEPS:,} entries of bodies are lowered by here"
            )

    def _repeat(
        self, frame: Frame, body: Body, times: Expr, scope: Scope, value: int, place: Place
    ) -> int:
        where = place.at("repeat")
        count = scope.within(0, MAX_REPEAT, times, where)
        frame.conditions.append(f"x{count}")
        for i in range(count):
            self.step(where)
            inner = scope.with_symbols({"i": literal(i)})
            value = self.body(frame, body, inner, value, place.at("body"))
        return value

    def _sequence(
        self, frame: Frame, body: Body, name: str, scope: Scope, value: int, place: Place
    ) -> int:
        if frame.numbered:
            raise place.error(
                "RD404",
                "a sequence cannot stand in a sequence, a shortcut or a flat trunk",
                key=True,
                hint="leave `sequence` away: its members become members of what is around it",
            )
        inner = Frame(frame.env, frame.known[value], numbered=True)
        end = self.body(inner, body, scope, 0, place.at("sequence"))
        members = tuple(item for item in inner.finished() if isinstance(item, Apply | Call))
        frame.conditions += inner.conditions
        fresh = frame.fresh("sequence", name, place.at("name"))
        chain = Chain(fresh, members, value, frame.group)
        return frame.append(chain, inner.known[end], place, inner.size)

    def _residual(
        self, frame: Frame, item: Item, body: Body, scope: Scope, value: int, place: Place
    ) -> int:
        inside = self.body(frame, body, scope, value, place.at("residual"))
        join: Join = item.join or "add"
        around = value
        if item.shortcut is not None and join != "none":
            where = place.at("shortcut")
            around = self.inline_shortcut(frame, item.shortcut, scope, value, inside, where)
        gate = None if item.gate is None else GateBody(item.gate, scope, place.at("gate"))
        shortcut = "identity" if item.shortcut is None else item.shortcut.name
        ends = Ends(inside, around, value)
        joined = self.join(frame, join, ends, gate, join_place(place), shortcut)
        return self.body(frame, item.after, scope, joined, place.at("after"))

    def join(
        self,
        frame: Frame,
        join: Join,
        ends: Ends,
        gate: GateBody | None,
        place: Place,
        shortcut: str,
        of_call: bool = False,
    ) -> int:
        """Join a residual's value with that of its shortcut, named `shortcut`."""
        inside, around = ends.inside, ends.around
        if join == "none":
            return inside
        self._check_join(frame, join, ends, place, shortcut, of_call)
        match join:
            case "gate":
                assert gate is not None
                opened = self.body(frame, gate.body, gate.scope, ends.start, gate.place)
                if frame.shape(opened) != frame.shape(inside):
                    raise gate.place.error(
                        "RD402",
                        f"the gate gives {show(frame.shape(opened))}, and what it opens is "
                        f"{show(frame.shape(inside))}",
                        key=True,
                        why="shapes are channels × height × width, and a gate has one value for each",
                    )
                return frame.apply("gate", ops.Gate(), (inside, around, opened), place)
            case "multiply":
                return _combined(frame, join, (around, inside), place)
            case "add" | "concat":
                return _combined(frame, join, (inside, around), place)
            case _:
                assert_never(join)

    def _check_join(
        self, frame: Frame, join: Join, ends: Ends, place: Place, shortcut: str, of_call: bool
    ) -> None:
        left, right = frame.shape(ends.inside), frame.shape(ends.around)
        match join:
            case "multiply":
                fits = left[0] == right[0] and (left[1:] == right[1:] or left[1:] == (1, 1))
                why = "a product needs equal channels, and equal extents or a residual of 1 × 1"
            case "concat":
                fits = len(left) == len(right) and left[1:] == right[1:]
                why = "shapes are channels × height × width, and only channels can be concatenated"
            case _:
                fits, why = (
                    left == right,
                    "shapes are channels × height × width, and a sum needs equal ones",
                )
        if not fits:
            raise place.error(
                "RD402",
                f"the residual gives {show(left)} and its shortcut `{shortcut}` {show(right)}: "
                f"they do not add up",
                why=why,
                key=place.path[-1:] != ("skip",),
                hint=self._how_to_join(frame, join, ends, shortcut, of_call),
                of_call=of_call,
            )

    def _how_to_join(
        self, frame: Frame, join: Join, ends: Ends, shortcut: str, of_call: bool
    ) -> str | None:
        start, inside = frame.shape(ends.start), frame.shape(ends.inside)
        if (ends.stride or 1) > 1 and inside[1:] == start[1:] != frame.shape(ends.around)[1:]:
            return (
                f"the stride here is {ends.stride}, and the residual has none: `stride: stride` in "
                "one of its layers"
            )
        if ends.stride == 1 and inside[1:] != start[1:]:
            return "the residual changes height or width, and no shortcut of stride 1 does"
        hint = self.fitting_shortcuts(start, inside, shortcut, ends.stride)
        if hint is not None and of_call and join == "add" and shortcut == "identity":
            return f"{hint}, and `matching` adds only where shapes agree"
        return hint

    def branches(
        self,
        frame: Frame,
        branches: Sequence[Body],
        join: Join | None,
        scope: Scope,
        value: int,
        place: Place,
    ) -> int:
        """Parallel bodies over one value, concatenated unless the join says otherwise."""
        ends = [
            self.body(frame, branch, scope, value, place.at("branches", index))
            for index, branch in enumerate(branches)
        ]
        shapes = [frame.shape(end) for end in ends]
        kind = join or "concat"
        where = place.at("branches")
        first = shapes[0][1:] if kind == "concat" else shapes[0]
        for index, shape in enumerate(shapes):
            if (shape[1:] if kind == "concat" else shape) != first or len(shape) != len(shapes[0]):
                raise where.at(index).error(
                    "RD402",
                    f"the branches give {' and '.join(map(show, shapes))}: they do not add up",
                    why="shapes are channels × height × width; concat needs the last two equal, "
                    "add and multiply all three",
                )
        return _combined(frame, kind, ends, where)


def _combined(frame: Frame, join: Join, ends: Sequence[int], place: Place) -> int:
    """Append the operation of a join without a gate."""
    match join:
        case "add":
            return frame.apply("add", ops.Add(), ends, place)
        case "multiply":
            return frame.apply("mul", ops.Multiply(), ends, place)
        case _:
            total = reduce(add, map(frame.channels, ends))
            return frame.apply("cat", ops.Concat(), ends, place, total)


def join_place(place: Place) -> Place:
    """Where the join of a residual is written, or else the residual."""
    joins = (*place.path, "join") in place.source.positions
    return place.at("join") if joins else place.at("residual")
