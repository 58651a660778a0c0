"""Shortcuts to functions: in a block's slot, inside of a body, and around stages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from resnet_dsl.errors import CompileError
from resnet_dsl.ir.expr import (
    Binary,
    Expr,
    ExprError,
    Name,
    Value,
    floordiv,
    literal,
    substitute,
    to_source,
)
from resnet_dsl.ir.expr import evaluate as evaluated
from resnet_dsl.ir.graph import Shape
from resnet_dsl.ir.program import Call, Reference
from resnet_dsl.language.body import Join
from resnet_dsl.language.definitions import ShortcutDef
from resnet_dsl.language.fields import CallForm
from resnet_dsl.language.library import Definitions, Located
from resnet_dsl.language.schema import Spec
from resnet_dsl.lower.binding import bind
from resnet_dsl.lower.body import BodyLowering, GateBody
from resnet_dsl.lower.frame import ONE, Frame, Known, Size
from resnet_dsl.lower.place import Place, Scope, blamed, show
from resnet_dsl.lower.registry import Registry

TRANSITION = Binary(
    "or",
    Binary("!=", Name("in"), Name("out")),
    Binary("!=", Name("stride"), ONE),
)
"""What `transition` stands for: the ends of the block differ in shape."""

SLOT = "downsample"


@dataclass(frozen=True, slots=True)
class Around:
    """A shortcut of one call: its function with arguments over the caller's names (None: the
    identity), what comes out of it, and its size."""

    reference: Reference | None
    known: Known
    size: Size


class ShortcutLowering(BodyLowering):
    """Lowers shortcuts, one function a structure."""

    def __init__(self, spec: Spec, definitions: Definitions) -> None:
        super().__init__(spec)
        self.definitions = definitions
        self.registry = Registry()

    @abstractmethod
    def probe(self) -> ShortcutLowering:
        """A lowering of the same spec, for trials that leave nothing behind."""

    def shortcut(
        self,
        frame: Frame,
        located: Located[ShortcutDef],
        form: CallForm,
        given: Mapping[str, Expr],
        value: int,
        place: Place,
    ) -> Around:
        """A shortcut that reads `value`; `given` are its `in`, `out` and `stride` over the names of
        the frame. Raises RefusalError."""
        env: dict[str, Value] = {name: evaluated(tree, frame.env) for name, tree in given.items()}
        own = {name: Name(name) for name in given}
        scope = self._scope(located, form, own, env, place)
        inner = Frame(env, Known(frame.shape(value), Name("in")), numbered=True)
        here = Place(located.source, (*located.path, "body"))
        try:
            end = self.body(inner, located.definition.body, scope, 0, here)
        except CompileError as error:
            raise blamed(error, place, f"the shortcut `{located.name}`") from None
        before = frame.known[value]
        channels = frame.settled(given["out"], inner.shape(end)[0])
        if end == 0:
            return Around(None, replace(before, channels=channels), Size())
        function = self.registry.add(
            located.emitted_name,
            located.definition.doc,
            "chain",
            inner.finished(),
            end,
            env,
            inner.conditions,
            place,
        )
        arguments = tuple((item.name, given[item.name]) for item in function.parameters)
        strides = before.strided(inner.known[end].strides)
        known = Known(inner.shape(end), channels, before.reduction, strides)
        return Around(Reference(function.name, arguments), known, inner.size)

    def own_join(
        self,
        frame: Frame,
        located: Located[ShortcutDef],
        form: CallForm,
        given: Mapping[str, Expr],
        place: Place,
    ) -> tuple[Join, GateBody | None]:
        """The join that a shortcut brings in place of an addition, its gate to be lowered in the
        frame of the block; an addition where it brings none, or not at this call."""
        definition = located.definition
        if definition.join is None:
            return "add", None
        scope = self._scope(located, form, given, frame.env, place)
        here = Place(located.source, located.path)
        if definition.when is not None:
            wanted = scope.value(definition.when, here.at("when"))
            frame.conditions.append(to_source(definition.when) if wanted else "")
            if not wanted:
                return "add", None
        if definition.gate is None:
            return definition.join, None
        return definition.join, GateBody(definition.gate, scope, here.at("gate"))

    def _scope(
        self,
        located: Located[ShortcutDef],
        form: CallForm,
        given: Mapping[str, Expr],
        env: Mapping[str, Value],
        place: Place,
    ) -> Scope:
        symbols = {**given, "transition": substitute(TRANSITION, given)}
        where = place.at(form.name)
        for name, (tree, _) in bind(located, form.arguments, {}, Scope({}), where).items():
            symbols[name] = tree
        here = Place(located.source, located.path)
        return Scope(env, symbols).with_lets(located.definition.let, here)

    def inline_shortcut(
        self, frame: Frame, form: CallForm, scope: Scope, value: int, inside: int, place: Place
    ) -> int:
        """Append a shortcut inside of a body; its stride is what the residual makes it."""
        start, end = frame.known[value], frame.known[inside]
        stride = end.reduction
        if start.reduction != ONE:
            stride = ONE if start.reduction == end.reduction else floordiv(
                end.reduction, start.reduction
            )  # fmt: skip
        return self.append_shortcut(frame, form, value, inside, stride, place, None)

    def append_shortcut(
        self,
        frame: Frame,
        form: CallForm,
        value: int,
        inside: int,
        stride: Expr,
        place: Place,
        name: str | None,
    ) -> int:
        """Append a shortcut from `value`, to be joined with `inside`, as a call of its own."""
        located = self.definitions.shortcut(form.name, place.source, place.path)
        if located.definition.join is not None:
            paths = ", ".join(f"`{other.name}`" for other in self._paths())
            hint = f"those that are only paths: {paths}"
            if located.definition.join == "none" and located.definition.when is None:
                hint = f"write `join: none` in place of `shortcut: {form.name}`"
            raise place.error(
                "RD404",
                f"the shortcut `{form.name}` has a join of its own, and here it is only a path",
                hint=hint,
            )
        frame.require_chain((value,), place)
        given = {"in": frame.channels(value), "out": frame.channels(inside), "stride": stride}
        around = self.shortcut(frame, located, form, given, value, place)
        if around.reference is None:
            return value
        call = Call(
            frame.fresh("shortcut", name, place),
            around.reference.function,
            around.reference.arguments,
            value,
            (),
            frame.group,
        )
        return frame.append(call, around.known, place, around.size)

    def _paths(self) -> Iterator[Located[ShortcutDef]]:
        """The shortcuts without a join of their own."""
        for name in self.definitions.known("shortcut"):
            located = self.definitions.shortcut(name, self.definitions.source, ())
            if located.definition.join is None:
                yield located

    def fitting_shortcuts(
        self, start: Shape, end: Shape, given: str, stride: int | None
    ) -> str | None:
        """A hint: which shortcuts would lead from one shape to the other."""
        if len(start) != 3 or len(end) != 3:
            return None
        step = literal(stride or spatial_stride(start, end))
        named = {"in": literal(start[0]), "out": literal(end[0]), "stride": step}
        would: list[str] = []
        for located in self._paths():
            if located.name == given:
                continue
            place, form = Place(located.source, located.path), CallForm.of(located.name)
            probe = Frame({}, Known(start, named["in"]))
            try:
                around = self.probe().shortcut(probe, located, form, named, 0, place)
            except (CompileError, ExprError):
                continue
            if around.known.shape == end:
                would.append(f"`{located.name}`")
        if not would:
            return None
        listed = f"{', '.join(would[:-1])} or {would[-1]}" if len(would) > 1 else would[0]
        return f"shortcut {listed} would give {show(end)}"


def spatial_stride(start: Shape, end: Shape) -> int:
    """The least stride that leads from the extents of one shape to no more than the other's."""
    return max(1, -(-start[1] // end[1]), -(-start[2] // end[2]))
