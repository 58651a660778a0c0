"""A spec to its program: stem, stages and head around the blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.ir.expr import Expr, Value, literal
from resnet_dsl.ir.expr import names as names_of
from resnet_dsl.ir.program import Apply, Call, Chain, Feature, Function, Parameter, Program
from resnet_dsl.language.definitions import BlockDef, HeadDef, StemDef
from resnet_dsl.language.fields import CallForm
from resnet_dsl.language.library import Definitions, Located
from resnet_dsl.language.schema import MAX_CHANNELS, Spec, Stage
from resnet_dsl.language.scope import STAGE, names_read
from resnet_dsl.language.source import Source
from resnet_dsl.lower.binding import bind, unknown_parameters
from resnet_dsl.lower.block import BlockLowering
from resnet_dsl.lower.frame import Frame, Place, Scope

_ALWAYS = frozenset({"in", "width", "stride", "dilation"})
_NUMBER = frozenset({"number", "blocks"})


@dataclass(frozen=True, slots=True)
class _Planned:
    """One block of a stage's pattern: its definition, and its arguments before they are worked
    out (a stage's parameters may depend on the block's place)."""

    located: Located[BlockDef]
    given: Mapping[str, Any]
    places: Mapping[str, Place]
    reads: frozenset[str]
    place: Place
    constant: bool


def lower(spec: Spec, source: Source, spec_hash: str = "") -> Program:
    """The program of a validated spec. Raises CompileError with every finding it can reach."""
    return _NetworkLowering(spec, source).lower(spec_hash)


class _NetworkLowering:
    def __init__(self, spec: Spec, source: Source) -> None:
        self.spec = spec
        self.source = source
        self.root = Place(source, ())
        self.definitions = Definitions(spec, source)
        self.blocks = BlockLowering(spec, self.definitions)
        self.total = sum(stage.depth for stage in spec.stages)

    def lower(self, spec_hash: str) -> Program:
        spec = self.spec
        plans = self._resolve()
        channels, (height, width) = spec.input.channels, spec.input.size
        main = Frame((channels, height, width), literal(channels))
        trunk = main
        if spec.trunk is not None:
            trunk = Frame((channels, height, width), literal(channels), numbered=True)
        self._end("stem", spec.stem, trunk)
        start = trunk.last
        features: list[Feature] = []
        number = 0
        for index, stage in enumerate(spec.stages):
            trunk.group = stage.name or f"layer{index + 1}"
            self._stage(trunk, stage, plans[index], index, number)
            number += stage.depth
            features.append(self._feature(trunk))
        if spec.skip is not None:
            self._skip(trunk, spec.skip, start, self.root.at("skip"), "downsample")
        if spec.trunk is not None:
            features = self._close_trunk(main, trunk, spec.trunk, features)
        self._end("head", spec.head, main)
        if len(main.shapes[main.last]) == 1 and main.shapes[main.last][0] != spec.classes:
            raise self.root.at("head").error(
                "RD405",
                f"the head gives {main.shapes[main.last][0]} outputs for {spec.classes} classes",
            )
        functions, body = self.blocks.registry.settled(main.finished())
        return Program(
            name=spec.name,
            doc=spec.doc,
            input=(channels, height, width),
            classes=spec.classes,
            main=Function(
                spec.name,
                spec.doc,
                "block",
                (Parameter("classes", "int", spec.classes),),
                (),
                body,
                len(body),
            ),
            functions=functions,
            features=tuple(features),
            spec_hash=spec_hash,
        )

    def _resolve(self) -> list[list[_Planned]]:
        """Every name that the spec calls is looked up before anything is lowered, so that all the
        unknown ones are reported together."""
        found: list[Diagnostic] = []
        plans: list[list[_Planned]] = []
        for index, stage in enumerate(self.spec.stages):
            place = self.root.at("stages", index)
            plan: list[_Planned] = []
            for position, form in enumerate(stage.block):
                try:
                    plan.append(self._plan(stage, form, place, position))
                except CompileError as error:
                    found += error.diagnostics
            plans.append(plan)
            if len(plan) == len(stage.block):
                found += self._stage_parameters(stage, plan, place)
            for key, form_ in (("shortcut", stage.shortcut), ("skip", stage.skip)):
                found += self._missing_shortcut(form_, place.at(key))
        found += self._missing_shortcut(self.spec.shortcut, self.root.at("shortcut"))
        found += self._missing_shortcut(self.spec.skip, self.root.at("skip"))
        for kind, form in (("stem", self.spec.stem), ("head", self.spec.head)):
            if form is not None and form.name != "none":
                try:
                    place = self.root.at(kind)
                    located = self.definitions.ends(kind, form.name, self.source, place.path)  # type: ignore[arg-type]
                    unknown_parameters(located, form.arguments, (), place.at(form.name))
                except CompileError as error:
                    found += error.diagnostics
        if found:
            raise CompileError(dict.fromkeys(found))
        return plans

    def _plan(self, stage: Stage, form: CallForm, place: Place, position: int) -> _Planned:
        raw = self.source.data["stages"][place.path[-1]]["block"]
        where = place.at("block", position) if isinstance(raw, list) else place.at("block")
        located = self.definitions.block(form.name, self.source, where.path)
        unknown_parameters(located, form.arguments, (), where.at(form.name))
        declared = located.definition.parameters
        shared = {name: given for name, given in stage.parameters.items() if name in declared}
        given = {**shared, **form.arguments}
        places = {name: place.at(name) for name in shared}
        places |= {name: where.at(form.name, name) for name in form.arguments}
        reads = names_read(located.definition) | _ALWAYS | frozenset(declared)
        if self.spec.drop_path is not None:
            reads |= _NUMBER
        constant = not any(isinstance(item, str) for item in given.values()) and not names_of(
            stage.width
        )
        return _Planned(located, given, places, reads, where, constant)

    def _stage_parameters(
        self, stage: Stage, plan: list[_Planned], place: Place
    ) -> list[Diagnostic]:
        """A stage's extra keys are parameters of its blocks: of one of them at least."""
        found: list[Diagnostic] = []
        for name in stage.parameters:
            if any(name in item.located.definition.parameters for item in plan):
                continue
            try:
                also = ("block", "depth", "width", "stride", "dilation", "shortcut", "skip", "name")
                unknown_parameters(plan[0].located, {name: None}, also, place)
            except CompileError as error:
                found += error.diagnostics
        return found

    def _missing_shortcut(self, form: CallForm | None, place: Place) -> list[Diagnostic]:
        if form is None:
            return []
        try:
            located = self.definitions.shortcut(form.name, self.source, place.path)
            unknown_parameters(located, form.arguments, (), place.at(form.name))
            bind(located, form.arguments, {}, Scope({}), place.at(form.name))
        except CompileError as error:
            return list(error.diagnostics)
        return []

    def _end(self, kind: str, form: CallForm | None, frame: Frame) -> None:
        """Lower the stem or the head into the frame."""
        frame.group = kind
        if form is None or form.name == "none":
            return
        place = self.root.at(kind)
        located: Located[StemDef | HeadDef] = self.definitions.ends(
            kind,  # type: ignore[arg-type]
            form.name,
            self.source,
            place.path,
        )
        scope = Scope({}, {"in": literal(frame.shapes[frame.last][0])})
        if kind == "head":
            scope = Scope({"classes": self.spec.classes}, scope.symbols)
        bound = bind(located, form.arguments, {}, Scope({}), place.at(form.name))
        scope = scope.with_symbols({name: tree for name, (tree, _) in bound.items()})
        for name, tree in located.definition.let.items():
            scope = scope.with_symbols({name: scope.symbolic(tree)})
        here = Place(located.source, (*located.path, "body"))
        self.blocks.body(frame, located.definition.body, scope, frame.last, here)

    def _stage(
        self, frame: Frame, stage: Stage, plan: list[_Planned], index: int, before: int
    ) -> None:
        place = self.root.at("stages", index)
        start = frame.last
        flat = frame.numbered
        shape, channels = frame.shapes[start], frame.channels[start]
        members: list[Call] = []
        for position in range(stage.depth):
            planned = plan[position % len(plan)]
            call, shape, channels = self._block(
                frame, stage, planned, place, position, before + position + 1, shape, channels
            )
            if flat:
                frame.append(call, shape, channels)
            else:
                members.append(call)
        if not flat:
            name = frame.fresh("stage", frame.group, place)
            frame.append(Chain(name, tuple(members), start, frame.group), shape, channels)
        if stage.skip is not None:
            self._skip(frame, stage.skip, start, place.at("skip"), f"{frame.group}_downsample")

    def _block(
        self,
        frame: Frame,
        stage: Stage,
        planned: _Planned,
        place: Place,
        position: int,
        number: int,
        shape: tuple[int, ...],
        channels: Expr,
    ) -> tuple[Call, tuple[int, ...], Expr]:
        """One block of a stage, with its result."""
        if len(shape) != 3:
            raise place.error("RD401", "a stage reads an image, and the stem flattens it")
        variables: dict[str, Value] = {
            "index": position,
            "depth": stage.depth,
            "number": number,
            "blocks": self.total,
        }
        scope = Scope(variables)
        values: dict[str, Value] = {
            "in": shape[0],
            "width": self._width(stage, scope, place),
            "stride": stage.stride if position == 0 else 1,
            "dilation": stage.dilation,
            **variables,
            "first": position == 0,
            "last": position == stage.depth - 1,
        }
        for name, (_, value) in bind(
            planned.located, planned.given, planned.places, scope, planned.place
        ).items():
            values[name] = value
        env = {name: value for name, value in values.items() if name in planned.reads}
        form = stage.shortcut or planned.located.definition.shortcut or self.spec.shortcut
        form_place = place.at("shortcut") if stage.shortcut else self.root.at("shortcut")
        lowered = self.blocks.block(
            planned.located,
            env,
            shape,
            form,
            planned.place,
            top=True,
            shortcut_place=form_place,
            chain=frame.numbered,
        )
        given = {name: literal(value) for name, value in env.items()}
        given["in"] = channels
        arguments, slots, out = self.blocks.call_arguments(lowered, given)
        name = str(position)
        if frame.numbered:
            name = frame.fresh("", None, place, lowered.members)
        call = Call(
            name, lowered.function, arguments, frame.last, slots, frame.group, frame.numbered
        )
        return call, lowered.shape, out

    def _width(self, stage: Stage, scope: Scope, place: Place) -> int:
        where = place.at("width")
        unknown = sorted(names_of(stage.width) - set(STAGE))
        if unknown:
            raise where.error(
                "RD302",
                f"there is no `{unknown[0]}` here",
                why=f"a stage's width may depend on {', '.join(STAGE)}",
            )
        width = scope.integer(stage.width, where)
        if not 1 <= width <= MAX_CHANNELS:
            raise where.error(
                "RD106", f"`width` is out of range: {width} is not within 1 and {MAX_CHANNELS}"
            )
        return width

    def _skip(self, frame: Frame, form: CallForm, start: int, place: Place, name: str) -> None:
        """A shortcut around a whole stage, or around all of them (Zhang et al. 2016)."""
        located = self.definitions.shortcut(form.name, self.source, place.path)
        if located.definition.join is not None:
            raise place.error("RD404", f"`{form.name}` is no path that could go around a stage")
        if frame.numbered:
            frame.require_chain((start,), place)
        end = frame.last
        stride = max(1, -(-frame.shapes[start][1] // frame.shapes[end][1]))
        scope = Scope({}, {"in": frame.channels[start], "out": frame.channels[end]})
        around = self.blocks.append_shortcut(
            frame, located, form, scope, start, literal(stride), place, name
        )
        hint = None
        if frame.shapes[around] != frame.shapes[end]:
            hint = "a shortcut that projects, such as `B`, gives equal shapes"
        self.blocks.join(frame, "add", end, around, start, None, Scope({}), place, hint)

    def _feature(self, frame: Frame) -> Feature:
        channels, height, width = frame.shapes[frame.last]
        stride = -(-self.spec.input.size[0] // height)
        return Feature(frame.group, frame.last, channels, stride, height, width)

    def _close_trunk(
        self, main: Frame, trunk: Frame, name: str, features: list[Feature]
    ) -> list[Feature]:
        """The trunk as one flat chain of main; its features are at ends of members."""
        members = tuple(item for item in trunk.finished() if isinstance(item, Apply | Call))
        main.group = name
        chain = Chain(main.fresh("trunk", name, self.root.at("trunk")), members, 0, name)
        value = main.append(chain, trunk.shapes[trunk.last], trunk.channels[trunk.last])
        ends: dict[int, int] = {}
        total = 0
        for index, member in enumerate(members):
            spliced = isinstance(member, Call) and member.splice
            functions = self.blocks.registry.functions
            total += len(functions[member.function].body) if spliced else 1  # type: ignore[union-attr]
            ends[index + 1] = total
        return [replace(item, value=value, chain_end=ends[item.value]) for item in features]
