"""Blocks to functions, and calls of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from resnet_dsl.errors import CompileError
from resnet_dsl.ir import ops
from resnet_dsl.ir.expr import (
    Binary,
    Expr,
    ExprError,
    Name,
    Value,
    literal,
    substitute,
    to_source,
)
from resnet_dsl.ir.program import Arguments, Call, Reference, UseSlot
from resnet_dsl.language.body import Join
from resnet_dsl.language.definitions import BlockDef, ShortcutDef
from resnet_dsl.language.fields import CallForm
from resnet_dsl.language.library import Definitions, Located
from resnet_dsl.language.schema import Spec
from resnet_dsl.language.scope import BUILT_IN, PLACE_OF_ONE
from resnet_dsl.lower.binding import bind, built_in
from resnet_dsl.lower.body import Ends, GateBody, join_place
from resnet_dsl.lower.frame import ONE, Frame, Known, Size
from resnet_dsl.lower.last_norm import zero_last_norm
from resnet_dsl.lower.place import Place, Scope, blamed
from resnet_dsl.lower.shortcut import SLOT, TRANSITION, ShortcutLowering

MAX_NESTED_CALLS = 32
WORK_OF_A_CALL = 20

Slots = tuple[tuple[str, Reference | None], ...]


@dataclass(frozen=True, slots=True)
class Lowered:
    """A function and what a call of it needs: its result, and the shortcut that fills its slot, as
    expressions over the function's own names."""

    function: str
    parameters: tuple[str, ...]
    members: int
    known: Known
    slots: Slots
    size: Size


@dataclass(frozen=True, slots=True)
class Chosen:
    """The shortcut of a block, and the place that chose it."""

    form: CallForm
    place: Place


@dataclass(frozen=True, slots=True)
class Policy:
    """How a call lowers its block. `top`: the network's policies on residuals (stochastic depth,
    zero-initialised norms) hold, as for the blocks of stages; `chain`: as a part of a flat trunk;
    `silent`: names whose values change no structure."""

    top: bool = False
    chain: bool = False
    silent: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class _Sides:
    """The channels that a concatenation puts together, in words, and how many there would be of
    the residual and the block's input as it is."""

    said: str
    of_identity: int

    @classmethod
    def of(cls, frame: Frame, ends: Ends, shortcut: str) -> _Sides:
        inside, around, start = (
            frame.shape(value)[0] for value in (ends.inside, ends.around, ends.start)
        )
        changed = f", which makes them from {start}" if around != start else ""
        said = (
            f"`join: concat` puts together {inside} channels of the residual and {around} of the "
            f"shortcut `{shortcut}`{changed}"
        )
        return cls(said, inside + start)


class BlockLowering(ShortcutLowering):
    """Lowers blocks, one function a structure."""

    def __init__(self, spec: Spec, definitions: Definitions) -> None:
        super().__init__(spec, definitions)
        self.drops_paths = False
        self._known: dict[tuple[object, ...], Lowered] = {}
        self._calling: list[tuple[object, ...]] = []

    def probe(self) -> BlockLowering:
        return BlockLowering(self.spec, self.definitions)

    def call_arguments(
        self, lowered: Lowered, given: Mapping[str, Expr], before: Known, place: Place
    ) -> tuple[Arguments, Slots, Known]:
        """A call's arguments, slots and result in the caller's names."""
        arguments = tuple((name, given[name]) for name in lowered.parameters)
        try:
            slots = tuple(
                (slot, None if filled is None else _substituted(filled, given))
                for slot, filled in lowered.slots
            )
            channels = substitute(lowered.known.channels, given)
            reduction = substitute(
                Binary("*", before.reduction, substitute(lowered.known.reduction, given)), {}
            )
        except ExprError as error:
            raise place.error("RD304", f"this has no value: {error}") from None
        strides = before.strided(lowered.known.strides)
        return arguments, slots, Known(lowered.known.shape, channels, reduction, strides)

    def call_block(
        self, frame: Frame, form: CallForm, scope: Scope, value: int, place: Place, name: str | None
    ) -> int:
        """Append a call of a block inside of a body. Raises RefusalError."""
        located = self.definitions.block(form.name, place.source, place.path)
        self.step(place, WORK_OF_A_CALL)
        frame.require_chain((value,), place)
        shape, channels = frame.shape(value), frame.channels(value)
        given: dict[str, Expr] = {"in": channels, "width": channels, "stride": ONE, "dilation": ONE}
        env: dict[str, Value] = {"in": shape[0], "width": shape[0], "stride": 1, "dilation": 1}
        given |= {key: literal(number) for key, number in PLACE_OF_ONE.items()}
        env |= PLACE_OF_ONE
        for key in BUILT_IN:
            if key in form.arguments:
                given[key], env[key] = built_in(key, form.arguments[key], scope, place.at(key))
        for key, (tree, number) in bind(located, form.arguments, {}, scope, place).items():
            given[key], env[key] = tree, number
        try:
            lowered = self.block(located, env, shape, self.chosen(located), place, Policy())
        except CompileError as error:
            raise blamed(error, place, f"the block `{located.name}`") from None
        arguments, slots, known = self.call_arguments(lowered, given, frame.known[value], place)
        known = replace(known, channels=frame.settled(known.channels, known.shape[0]))
        call = Call(
            frame.fresh(
                located.emitted_name, name, place if name is None else place.beside("name")
            ),
            lowered.function,
            arguments,
            value,
            slots,
            frame.group,
        )
        return frame.append(call, known, place, lowered.size)

    def block(
        self,
        located: Located[BlockDef],
        env: dict[str, Value],
        shape: tuple[int, ...],
        chosen: Chosen,
        place: Place,
        policy: Policy,
    ) -> Lowered:
        """The function for a block at these values, called at `place`. Raises RefusalError."""
        identity = (id(located.source), *located.path, located.name)
        numbers = tuple(item for item in env.items() if item[0] not in policy.silent)
        form = chosen.form
        given = tuple((name, repr(value)) for name, value in form.arguments.items())
        key = (identity, numbers, shape, policy, id(chosen.place.source), form.name, given)
        known = self._known.get(key)
        if known is not None:
            return known
        self._enter(identity, located.name, place)
        try:
            known = self._lower(located, env, shape, chosen, policy)
        finally:
            self._calling.pop()
        self._known[key] = known
        return known

    def chosen(self, located: Located[BlockDef]) -> Chosen:
        """The shortcut of a block where nothing else is said: its own, or the network's."""
        own = located.definition.shortcut
        if own is not None:
            return Chosen(own, Place(located.source, (*located.path, "shortcut")))
        return Chosen(self.spec.shortcut, Place(self.definitions.source, ("shortcut",)))

    def _enter(self, identity: tuple[object, ...], name: str, place: Place) -> None:
        if identity in self._calling:
            since = self._calling[self._calling.index(identity) :]
            names = " → ".join(str(item[-1]) for item in (*since, identity))
            raise place.error(
                "RD205",
                f"the block `{name}` calls itself: {names}",
                key=True,
                why="a network is finite, and a call has no condition that could end it",
            )
        if len(self._calling) >= MAX_NESTED_CALLS:
            raise place.error(
                "RD205", f"more than {MAX_NESTED_CALLS} blocks call one another", key=True
            )
        self._calling.append(identity)

    def _lower(
        self,
        located: Located[BlockDef],
        env: dict[str, Value],
        shape: tuple[int, ...],
        chosen: Chosen,
        policy: Policy,
    ) -> Lowered:
        definition = located.definition
        here = Place(located.source, located.path)
        scope = self._block_scope(definition, env, here)
        out = scope.integer(Name("out"), here.at("out"))
        if out < 1:
            raise here.at("out").error(
                "RD106", f"`out` is out of range: it is {out} here", reads=scope.reads(Name("out"))
            )
        frame = Frame(env, Known(shape, Name("in")), numbered=policy.chain)
        slots: Slots = ()
        ends: Ends | None = None
        value = self.body(frame, definition.before, scope, 0, here.at("before"))
        if definition.body is not None:
            value = self.body(frame, definition.body, scope, value, here.at("body"))
        elif definition.branches is not None:
            value = self.branches(frame, definition.branches, definition.join, scope, value, here)
        else:
            value, slots, ends = self._residual_block(
                frame, located, scope, value, out, chosen, policy
            )
        value = self.body(frame, definition.after, scope, value, here.at("after"))
        if value == 0:
            raise here.error("RD403", f"the block `{located.name}` is empty here", key=True)
        sides: _Sides | None = None
        if ends is not None and definition.join == "concat":
            sides = _Sides.of(frame, ends, chosen.form.name)
        self._check_out(frame, definition, value, out, here, sides)
        body = frame.finished()
        function = self.registry.add(
            located.emitted_name,
            definition.doc,
            "chain" if policy.chain else "block",
            body,
            value,
            env,
            frame.conditions,
            here,
        )
        names = tuple(item.name for item in function.parameters)
        known = frame.known[value]
        return Lowered(function.name, names, len(body), known, slots, frame.size)

    def _block_scope(self, definition: BlockDef, env: dict[str, Value], here: Place) -> Scope:
        """The names of a block: its own, `out` and `transition`, and its lets in their order."""
        symbols: dict[str, Expr] = {"out": definition.out or Name("width")}
        symbols["transition"] = substitute(TRANSITION, symbols)
        return Scope(env, symbols).with_lets(definition.let, here)

    def _residual_block(
        self,
        frame: Frame,
        located: Located[BlockDef],
        scope: Scope,
        start: int,
        out: int,
        chosen: Chosen,
        policy: Policy,
    ) -> tuple[int, Slots, Ends]:
        """The residual of a block, joined with what the shortcut in its slot gives."""
        definition = located.definition
        assert definition.residual is not None
        here = Place(located.source, located.path)
        form = chosen.form
        around = self.definitions.shortcut(form.name, chosen.place.source, chosen.place.path)
        given = {
            "in": frame.channels(start),
            "out": scope.symbolic(Name("out"), here.at("out")),
            "stride": Name("stride"),
        }
        value = self.body(frame, definition.residual, scope, start, here.at("residual"))
        join, gate = self._join(frame, definition, around, chosen, given, scope, here)
        if policy.top and join == "add":
            value = self._residual_policies(frame, start, value, here)
        if join in ("add", "gate") and definition.out is not None:
            self._check_out(frame, definition, value, out, here)
        slots: Slots = ()
        end = start
        if join != "none" and around.definition.body:
            path = self.shortcut(frame, around, form, given, start, chosen.place)
            slots = ((SLOT, path.reference),)
            frame.reserve(SLOT, here)
            end = frame.append(UseSlot(SLOT, start), path.known, here, path.size)
        stride = scope.integer(Name("stride"), here)
        ends = Ends(value, end, start, stride)
        joined = self.join(frame, join, ends, gate, join_place(here), form.name, of_call=True)
        return joined, slots, ends

    def _residual_policies(self, frame: Frame, start: int, value: int, here: Place) -> int:
        """What the network's policies do to the residual of a block of a stage."""
        if self.spec.init.zero_last_norm:
            zeroed = zero_last_norm(frame.statements, start, self.registry.functions)
            frame.statements = zeroed or frame.statements
        policy = self.spec.drop_path
        if policy is None:
            return value
        self.drops_paths = True
        rate: Expr = literal(float(policy.rate))
        if policy.schedule == "linear":
            rate = Binary("/", Binary("*", rate, Name("number")), Name("blocks"))
        return frame.apply("drop_path", ops.DropPath(rate), (value,), here)

    def _check_out(
        self,
        frame: Frame,
        definition: BlockDef,
        value: int,
        out: int,
        here: Place,
        sides: _Sides | None = None,
    ) -> None:
        """A block gives the channels that it declares, `width` where it declares none."""
        channels = frame.shape(value)[0]
        if channels == out:
            return
        message = f"`out` is {out} here, and the body gives {channels} channels"
        if definition.out is not None:
            hint = "`out` is what the block's last layer gives; in a residual it can say `out: out`"
            if sides is not None and sides.of_identity == out:
                hint = f"`shortcut: identity` would give {out}"
            raise here.at("out").error(
                "RD405", message, why=None if sides is None else sides.said, hint=hint
            )
        given = to_source(frame.settled(frame.channels(value), channels))
        raise here.error(
            "RD405",
            message,
            key=True,
            why="where a block does not declare its `out`, that is its `width`",
            hint=f"declare `out: {given if len(given) <= 60 else channels}`, or give `width` channels",
        )

    def _join(
        self,
        frame: Frame,
        definition: BlockDef,
        around: Located[ShortcutDef],
        chosen: Chosen,
        given: Mapping[str, Expr],
        scope: Scope,
        here: Place,
    ) -> tuple[Join, GateBody | None]:
        """A shortcut may bring a join of its own where the block would add."""
        join: Join = definition.join or "add"
        if join == "add":
            return self.own_join(frame, around, chosen.form, given, chosen.place)
        gate = definition.gate
        return join, None if gate is None else GateBody(gate, scope, here.at("gate"))


def _substituted(filled: Reference, given: Mapping[str, Expr]) -> Reference:
    arguments = tuple((name, substitute(tree, given)) for name, tree in filled.arguments)
    return Reference(filled.function, arguments)
