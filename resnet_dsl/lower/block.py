"""Blocks and shortcuts to functions, and calls of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from resnet_dsl.errors import CompileError, suggest
from resnet_dsl.ir import ops
from resnet_dsl.ir.expr import Binary, Expr, Name, Value, evaluate, literal, substitute
from resnet_dsl.ir.graph import Shape
from resnet_dsl.ir.program import Arguments, Call, Reference, UseSlot
from resnet_dsl.language.body import FORMS, OPERATIONS, Join
from resnet_dsl.language.definitions import BlockDef, ParameterDecl, ShortcutDef
from resnet_dsl.language.fields import CallForm
from resnet_dsl.language.library import Definitions, Located
from resnet_dsl.language.schema import Spec
from resnet_dsl.lower.binding import argument, bind, checked, unknown_parameters
from resnet_dsl.lower.body import ONE, BodyLowering, GateBody, zero_last_norm
from resnet_dsl.lower.frame import Frame, Place, Scope, show
from resnet_dsl.lower.registry import Registry

TRANSITION = Binary(
    "or",
    Binary("!=", Name("in"), Name("out")),
    Binary("!=", Name("stride"), ONE),
)
"""What `transition` stands for: the ends of the block differ in shape."""

BUILT_IN = ("width", "stride", "dilation")
SLOT = "downsample"
MAX_NESTED_CALLS = 32


@dataclass(frozen=True, slots=True)
class Lowered:
    """A function and what a call of it needs: its result, and the shortcut that fills its slot, as
    expressions over the function's own names."""

    function: str
    parameters: tuple[str, ...]
    members: int
    shape: Shape
    channels: Expr
    slots: tuple[tuple[str, Reference | None], ...]


class BlockLowering(BodyLowering):
    """Lowers blocks and shortcuts, one function a structure."""

    def __init__(self, spec: Spec, definitions: Definitions) -> None:
        super().__init__(spec)
        self.definitions = definitions
        self.registry = Registry()
        self._known: dict[tuple[object, ...], Lowered] = {}
        self._calling: list[str] = []

    def call_arguments(
        self, lowered: Lowered, given: Mapping[str, Expr]
    ) -> tuple[Arguments, tuple[tuple[str, Reference | None], ...], Expr]:
        """A call's arguments, slots and result channels in the caller's names."""
        arguments = tuple((name, given[name]) for name in lowered.parameters)
        slots = tuple(
            (
                slot,
                None
                if filled is None
                else Reference(
                    filled.function,
                    tuple((name, substitute(tree, given)) for name, tree in filled.arguments),
                ),
            )
            for slot, filled in lowered.slots
        )
        return arguments, slots, substitute(lowered.channels, given)

    def call_block(
        self,
        frame: Frame,
        form: CallForm,
        scope: Scope,
        value: int,
        place: Place,
        name: str | None,
    ) -> int:
        located = self._block_in_body(form.name, place)
        unknown_parameters(located, form.arguments, BUILT_IN, place)
        shape = frame.shapes[value]
        given: dict[str, Expr] = {
            "in": frame.channels[value],
            "width": frame.channels[value],
            "stride": ONE,
            "dilation": ONE,
        }
        env: dict[str, Value] = {"in": shape[0], "width": shape[0], "stride": 1, "dilation": 1}
        for builtin in BUILT_IN:
            if builtin in form.arguments:
                tree, number = _integer(form.arguments[builtin], scope, place.at(builtin))
                given[builtin], env[builtin] = tree, number
        given |= {key: literal(number) for key, number in _PLACE_IN_STAGE.items()}
        env |= _PLACE_IN_STAGE
        for key, (tree, number) in bind(located, form.arguments, {}, scope, place).items():
            given[key], env[key] = tree, number
        lowered = self.block(located, env, shape, self._own_shortcut(located), place, top=False)
        arguments, slots, channels = self.call_arguments(lowered, given)
        frame.require_chain((value,), place)
        call = Call(
            frame.fresh(
                located.emitted_name, name, place, lowered.members if frame.numbered else 1
            ),
            lowered.function,
            arguments,
            value,
            slots,
            frame.group,
            splice=frame.numbered and self._is_chain(lowered),
        )
        return frame.append(call, lowered.shape, channels)

    def _is_chain(self, lowered: Lowered) -> bool:
        return self.registry.functions[lowered.function].kind == "chain"

    def _own_shortcut(self, located: Located[BlockDef]) -> CallForm:
        return located.definition.shortcut or CallForm.of("identity")

    def _block_in_body(self, name: str, place: Place) -> Located[BlockDef]:
        if name in self._calling:
            chain = " → ".join([*self._calling[self._calling.index(name) :], name])
            raise place.error(
                "RD205",
                f"the block `{name}` calls itself: {chain}",
                key=True,
                why="a network is finite, and a call has no condition that could end it",
            )
        if len(self._calling) >= MAX_NESTED_CALLS:
            raise place.error("RD205", f"more than {MAX_NESTED_CALLS} blocks call one another")
        try:
            return self.definitions.block(name, place.source, place.path)
        except CompileError as error:
            raise self._maybe_operation(name, place) or error from None

    def _maybe_operation(self, name: str, place: Place) -> CompileError | None:
        """A misspelt operation is more likely than a misspelt block."""
        hint = suggest(name, [*OPERATIONS, *FORMS])
        if hint is None:
            return None
        return place.error(
            "RD201",
            f"there is no operation or block `{name[:60]}`",
            key=True,
            hint=hint,
        )

    def block(
        self,
        located: Located[BlockDef],
        env: dict[str, Value],
        shape: Shape,
        shortcut: CallForm,
        place: Place,
        *,
        top: bool,
        shortcut_place: Place | None = None,
        chain: bool = False,
    ) -> Lowered:
        """The function for a block at these values. `top`: the network's policies on residuals
        (stochastic depth, zero-initialised norms) hold for the blocks of stages."""
        key = (
            id(located.source), located.path, located.name, tuple(env.items()), shape, top, chain,
            shortcut.name, tuple((name, str(given)) for name, given in shortcut.arguments.items()),
        )  # fmt: skip
        known = self._known.get(key)
        if known is None:
            self._calling.append(located.name)
            try:
                known = self._lower(
                    located, env, shape, shortcut, shortcut_place or place, place, top, chain
                )
            finally:
                self._calling.pop()
            self._known[key] = known
        return known

    def _lower(
        self,
        located: Located[BlockDef],
        env: dict[str, Value],
        shape: Shape,
        shortcut: CallForm,
        shortcut_place: Place,
        call_place: Place,
        top: bool,
        chain: bool,
    ) -> Lowered:
        definition = located.definition
        here = Place(located.source, located.path)
        symbols: dict[str, Expr] = {}
        symbols["out"] = definition.out if definition.out is not None else Name("width")
        scope = Scope(env, symbols)
        out = scope.integer(Name("out"), here.at("out"))
        if out < 1:
            raise here.at("out").error("RD106", f"`out` is out of range: it is {out} here")
        symbols["transition"] = substitute(TRANSITION, symbols)
        scope = Scope(env, symbols)
        for name, tree in definition.let.items():
            scope = scope.with_symbols({name: scope.symbolic(tree)})
        frame = Frame(shape, Name("in"), numbered=chain)
        slots: tuple[tuple[str, Reference | None], ...] = ()
        value = self.body(frame, definition.before, scope, 0, here.at("before"))
        if definition.body is not None:
            value = self.body(frame, definition.body, scope, value, here.at("body"))
        elif definition.branches is not None:
            value = self.branches(frame, definition.branches, definition.join, scope, value, here)
        else:
            assert definition.residual is not None
            around_def = self.definitions.shortcut(
                shortcut.name, shortcut_place.source, shortcut_place.path
            )
            start = value
            value = self.body(frame, definition.residual, scope, value, here.at("residual"))
            if top and self.spec.init.zero_last_norm:
                zero_last_norm(frame, start)
            join, gate = self._join(definition, around_def, shortcut, scope, here, shortcut_place)
            if top and self.spec.drop_path is not None and join != "none":
                value = self._drop_path(frame, scope, value, here)
            self._declared_out(frame, definition, value, out, here)
            around = start
            if join != "none" and around_def.definition.body:
                reference, ends = self._shortcut(
                    around_def, shortcut, scope, frame.shapes[start], shortcut_place
                )
                slots = ((SLOT, reference),)
                around = frame.append(UseSlot(SLOT, start), ends, symbols["out"])
            hint = None
            if frame.shapes[value] != frame.shapes[around]:
                hint = self._which_would(scope, frame.shapes[start], frame.shapes[value], shortcut)
            at = call_place if top else here
            value = self.join(frame, join, value, around, start, gate, scope, at, hint)
        value = self.body(frame, definition.after, scope, value, here.at("after"))
        self._declared_out(frame, definition, value, out, here)
        if value == 0:
            raise here.error("RD403", f"the block `{located.name}` is empty here", key=True)
        body = frame.finished()
        function = self.registry.add(
            located.emitted_name,
            definition.doc,
            "chain" if chain else "block",
            body,
            value,
            env,
            frame.conditions,
        )
        return Lowered(
            function.name,
            tuple(item.name for item in function.parameters),
            len(body),
            frame.shapes[value],
            frame.channels[value],
            slots,
        )

    def _declared_out(
        self, frame: Frame, definition: BlockDef, value: int, out: int, here: Place
    ) -> None:
        channels = frame.shapes[value][0]
        if definition.out is not None and channels != out and definition.join != "concat":
            raise here.at("out").error(
                "RD405", f"`out` is {out} here, and the body gives {channels} channels"
            )

    def _join(
        self,
        definition: BlockDef,
        around: Located[ShortcutDef],
        shortcut: CallForm,
        scope: Scope,
        here: Place,
        place: Place,
    ) -> tuple[Join, GateBody | None]:
        """A shortcut may bring a join of its own where the block would add."""
        join: Join = definition.join or "add"
        own = around.definition
        if own.join is None or join != "add":
            gate = definition.gate
            return join, None if gate is None else GateBody(gate, scope, here.at("gate"))
        if own.gate is None:
            return own.join, None
        bound = bind(around, shortcut.arguments, {}, Scope({}), place)
        inside = scope.with_symbols({name: tree for name, (tree, _) in bound.items()})
        return own.join, GateBody(own.gate, inside, Place(around.source, (*around.path, "gate")))

    def _drop_path(self, frame: Frame, scope: Scope, value: int, here: Place) -> int:
        policy = self.spec.drop_path
        assert policy is not None
        rate: Expr = literal(float(policy.rate))
        if policy.schedule == "linear":
            rate = Binary("/", Binary("*", rate, Name("number")), Name("blocks"))
        return frame.apply("drop_path", ops.DropPath(rate), (value,), scope, here)

    def _shortcut(
        self,
        located: Located[ShortcutDef],
        form: CallForm,
        scope: Scope,
        shape: Shape,
        place: Place,
    ) -> tuple[Reference | None, Shape]:
        """The shortcut's function with its arguments over the block's names; None: the identity."""
        names: dict[str, Expr] = {
            "in": Name("in"),
            "out": scope.symbolic(Name("out")),
            "stride": Name("stride"),
        }
        env: dict[str, Value] = {name: evaluate(tree, scope.env) for name, tree in names.items()}
        env["in"] = shape[0]
        symbols: dict[str, Expr] = {"transition": TRANSITION}
        unknown_parameters(located, form.arguments, (), place)
        for name, (tree, _) in bind(located, form.arguments, {}, Scope({}), place).items():
            symbols[name] = tree
        inner = Scope(env, symbols)
        for name, tree in located.definition.let.items():
            inner = inner.with_symbols({name: inner.symbolic(tree)})
        frame = Frame(shape, Name("in"), numbered=True)
        here = Place(located.source, (*located.path, "body"))
        value = self.body(frame, located.definition.body, inner, 0, here)
        if value == 0:
            return None, shape
        definition = located.definition
        function = self.registry.add(
            located.emitted_name,
            definition.doc,
            "chain",
            frame.finished(),
            value,
            env,
            frame.conditions,
        )
        arguments = tuple((item.name, names[item.name]) for item in function.parameters)
        return Reference(function.name, arguments), frame.shapes[value]

    def inline_shortcut(
        self, frame: Frame, form: CallForm, scope: Scope, value: int, out: Expr, place: Place
    ) -> int:
        located = self.definitions.shortcut(form.name, place.source, place.path)
        inner = Scope(
            {**scope.env},
            {**scope.symbols, "in": frame.channels[value], "out": out, "stride": ONE},
        )
        return self.append_shortcut(frame, located, form, inner, value, ONE, place, None)

    def append_shortcut(
        self,
        frame: Frame,
        located: Located[ShortcutDef],
        form: CallForm,
        scope: Scope,
        value: int,
        stride: Expr,
        place: Place,
        name: str | None,
    ) -> int:
        """Append a shortcut as a call of its own (not in a slot); `scope` says what its `in` and
        `out` are over the caller's names."""
        given: dict[str, Expr] = {
            "in": scope.symbolic(Name("in")),
            "out": scope.symbolic(Name("out")),
            "stride": stride,
        }
        env = {key: evaluate(tree, scope.env) for key, tree in given.items()}
        reference, shape = self._shortcut(located, form, Scope(env), frame.shapes[value], place)
        if reference is None:
            return value
        arguments = tuple((key, substitute(tree, given)) for key, tree in reference.arguments)
        frame.require_chain((value,), place)
        call = Call(
            frame.fresh(SLOT, name, place),
            reference.function,
            arguments,
            value,
            (),
            frame.group,
        )
        return frame.append(call, shape, given["out"])

    def _which_would(
        self, scope: Scope, start: Shape, wanted: Shape, given: CallForm
    ) -> str | None:
        """Which shortcuts of the library would give the wanted shape."""
        would: list[str] = []
        for name in self.definitions.known("shortcut"):
            located = self.definitions.find("shortcut", name)
            if located is None or not isinstance(located.definition, ShortcutDef):
                continue
            if located.definition.join is not None or name == given.name:
                continue
            place = Place(located.source, located.path)
            shortcut = cast(Located[ShortcutDef], located)
            probe = BlockLowering(self.spec, self.definitions)
            try:
                _, shape = probe._shortcut(shortcut, CallForm.of(name), scope, start, place)
            except CompileError:
                continue
            if shape == wanted:
                would.append(f"`{name}`")
        if not would:
            return None
        listed = f"{', '.join(would[:-1])} or {would[-1]}" if len(would) > 1 else would[0]
        return f"shortcut {listed} would give {show(wanted)}"


_PLACE_IN_STAGE: dict[str, Value] = {
    "index": 0,
    "depth": 1,
    "number": 1,
    "blocks": 1,
    "first": True,
    "last": True,
}


def _integer(raw: object, scope: Scope, place: Place) -> tuple[Expr, int]:
    declared = ParameterDecl(type="int", minimum=1)
    tree = argument(raw, declared, scope, place)
    value = checked(tree, str(place.path[-1]), declared, scope, place)
    assert isinstance(value, int)
    return tree, value
