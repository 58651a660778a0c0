"""A spec to its program: stem, stages and head around the blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from resnet_dsl.errors import CompileError
from resnet_dsl.ir.expr import Expr, Literal, literal
from resnet_dsl.ir.program import Apply, Call, Chain, Feature, Function, Parameter, Program, Stride
from resnet_dsl.language.definitions import HeadDef, Kind, StemDef
from resnet_dsl.language.fields import CallForm
from resnet_dsl.language.library import Definitions, Located
from resnet_dsl.language.schema import Spec, Stage
from resnet_dsl.language.source import Source
from resnet_dsl.lower.binding import bind
from resnet_dsl.lower.block import BlockLowering, Chosen, Policy
from resnet_dsl.lower.body import Ends
from resnet_dsl.lower.frame import MAX_NODES, Frame, Known, Size
from resnet_dsl.lower.place import Place, Scope, blamed
from resnet_dsl.lower.plan import Planned, plan, variables
from resnet_dsl.lower.shortcut import spatial_stride


def lower(spec: Spec, source: Source, spec_hash: str = "") -> Program:
    """The program of a validated spec. Raises CompileError with every finding it can reach."""
    return _NetworkLowering(spec, source).lower(spec_hash)


class _NetworkLowering:
    def __init__(self, spec: Spec, source: Source) -> None:
        self.spec = spec
        self.root = Place(source, ())
        self.definitions = Definitions(spec, source)
        self.blocks = BlockLowering(spec, self.definitions)
        self.total = sum(stage.depth for stage in spec.stages)

    def lower(self, spec_hash: str) -> Program:
        spec = self.spec
        plans = plan(spec, self.definitions, self.root.source)
        image = (spec.input.channels, *spec.input.size)
        main = Frame({"classes": spec.classes}, Known(image, literal(image[0])), limit=MAX_NODES)
        trunk = main
        if spec.trunk is not None:
            trunk = Frame(main.env, main.known[0], numbered=True, limit=MAX_NODES)
        self._end("stem", spec.stem, trunk)
        start = trunk.last
        features: list[Feature] = []
        before = 0
        for index, stage in enumerate(spec.stages):
            trunk.group = spec.stage_name(index)
            self._stage(trunk, stage, plans[index], index, before)
            before += stage.depth
            features.append(self._feature(trunk, index))
        if spec.skip is not None:
            stride = prod(stage.stride for stage in spec.stages)
            self._skip(trunk, spec.skip, start, stride, self.root.at("skip"), "downsample")
        if spec.drop_path is not None and not self.blocks.drops_paths:
            by_recipe = self.root.source.data.get("drop_path") is None
            remedy = "write `drop_path: 0` under `train`" if by_recipe else "remove `drop_path`"
            raise self.root.at("train" if by_recipe else "drop_path").error(
                "RD107",
                "there is no residual that could be dropped",
                why="stochastic depth drops residuals that are added to a shortcut",
                hint=f"{remedy}, or choose a shortcut such as `B`",
            )
        if spec.trunk is not None:
            features = self._close_trunk(main, trunk, spec.trunk, features)
        self._end("head", spec.head, main)
        result = main.shape(main.last)
        if len(result) == 1 and result[0] != spec.classes:
            raise self.root.at("head").error(
                "RD405", f"the head gives {result[0]} outputs for {spec.classes} classes"
            )
        functions, body = self.blocks.registry.settled(main.finished(self.root.source))
        classes = (Parameter("classes", "int", spec.classes),)
        return Program(
            name=spec.name,
            doc=spec.doc,
            input=(image[0], image[1], image[2]),
            classes=spec.classes,
            main=Function(spec.name, spec.doc, "block", classes, (), body, len(body)),
            functions=functions,
            features=tuple(features),
            spec_hash=spec_hash,
        )

    def _end(self, kind: Kind, form: CallForm | None, frame: Frame) -> None:
        """Lower the stem or the head into the frame."""
        frame.group = kind
        if form is None:
            return
        place = self.root.at(kind)
        place = place.at(form.name) if form.arguments else place
        located: Located[StemDef | HeadDef] = self.definitions.ends(
            kind, form.name, place.source, place.path
        )
        symbols: dict[str, Expr] = {"in": literal(frame.shape(frame.last)[0])}
        for name, (tree, _) in bind(located, form.arguments, {}, Scope({}), place).items():
            symbols[name] = tree
        scope = Scope(frame.env, symbols)
        here = Place(located.source, located.path)
        try:
            scope = scope.with_lets(located.definition.let, here)
            body = located.definition.body
            self.blocks.body(frame, body, scope, frame.last, here.at("body"))
        except CompileError as error:
            raise blamed(error, place, f"the {kind} `{located.name}`") from None

    def _stage(
        self, frame: Frame, stage: Stage, pattern: Sequence[Planned], index: int, before: int
    ) -> None:
        place = self.root.at("stages", index)
        start = frame.last
        known, size = frame.known[start], Size()
        members: list[Call] = []
        for position in range(stage.depth):
            planned = pattern[position % len(pattern)]
            known, call, added = self._block(frame, stage, planned, place, position, before, known)
            if frame.numbered:
                frame.append(call, known, planned.place, added)
            else:
                members.append(call)
                size += added
        if not frame.numbered:
            name = frame.fresh("stage", frame.group, place.at("name"))
            chain = Chain(name, tuple(members), start, frame.group)
            frame.append(chain, known, place.at("block"), size)
        if stage.skip is not None:
            name = f"{frame.group}_downsample"
            self._skip(frame, stage.skip, start, stage.stride, place.at("skip"), name)

    def _block(
        self,
        frame: Frame,
        stage: Stage,
        planned: Planned,
        place: Place,
        position: int,
        before: int,
        known: Known,
    ) -> tuple[Known, Call, Size]:
        """One block of a stage, and what comes out of it."""
        shape = known.shape
        if len(shape) != 3:
            raise planned.place.error(
                "RD401", "a stage reads an image, and what comes before it is flat"
            )
        values = planned.values(stage, place, variables(stage, position, before, self.total))
        values["in"] = shape[0]
        env = {name: values[name] for name in values if name in planned.reads}
        policy = Policy(top=True, chain=frame.numbered, silent=planned.silent)
        chosen = self._shortcut(stage, planned, place)
        try:
            lowered = self.blocks.block(planned.located, env, shape, chosen, planned.place, policy)
        except CompileError as error:
            raise planned.blamed(error) from None
        given: dict[str, Expr] = {name: literal(value) for name, value in env.items()}
        given["in"] = known.channels
        arguments, slots, after = self.blocks.call_arguments(lowered, given, known, planned.place)
        name = str(position)
        if frame.numbered:
            name = frame.fresh("", None, place, lowered.members)
        call = Call(
            name, lowered.function, arguments, frame.last, slots, frame.group, frame.numbered
        )
        return after, call, lowered.size

    def _shortcut(self, stage: Stage, planned: Planned, place: Place) -> Chosen:
        """The shortcut of a block: its stage's, its own, or the network's."""
        if stage.shortcut is not None:
            return Chosen(stage.shortcut, place.at("shortcut"))
        return self.blocks.chosen(planned.located)

    def _skip(
        self, frame: Frame, form: CallForm, start: int, stride: int, place: Place, name: str
    ) -> None:
        """A shortcut around a whole stage, or around all of them (Zhang et al. 2016)."""
        if form.name == "none":
            return
        frame.require_chain((start,), place)
        end = frame.last
        before, after = frame.shape(start), frame.shape(end)
        if len(before) != 3 or len(after) != 3:
            raise place.error(
                "RD401", "a shortcut leads from an image to an image, and here one is flat"
            )
        if any(-(-before[axis] // stride) != after[axis] for axis in (1, 2)):
            stride = spatial_stride(before, after)
        around = self.blocks.append_shortcut(frame, form, start, end, literal(stride), place, name)
        self.blocks.join(frame, "add", Ends(end, around, start), None, place, form.name)

    def _feature(self, frame: Frame, index: int) -> Feature:
        known = frame.known[frame.last]
        if len(known.shape) != 3:
            place = self.root.at("stages", index, "block")
            raise place.error(
                "RD401",
                "a stage gives an image, and this one ends flat",
                hint="flatten in the head",
            )
        channels, height, width = known.shape
        if not isinstance(known.reduction, Literal):  # a product that is too large to be worked out
            place = self.root.at("stages", index, "stride")
            raise place.error("RD406", "strides that multiply to more than 2 to the 62nd")
        stride = self._stride(*known.strides)
        return Feature(frame.group, frame.last, channels, stride, height, width)

    def _stride(self, vertical: int, horizontal: int) -> Stride:
        """One number for both axes; where the image has one place along an axis, that of the other."""
        height, width = self.spec.input.size
        if vertical == horizontal or width == 1:
            return vertical
        return horizontal if height == 1 else (vertical, horizontal)

    def _close_trunk(
        self, main: Frame, trunk: Frame, name: str, features: list[Feature]
    ) -> list[Feature]:
        """The trunk as one flat chain of main; its features are at ends of members."""
        members = tuple(item for item in trunk.finished() if isinstance(item, Apply | Call))
        place = self.root.at("trunk")
        main.group = name
        chain = Chain(main.fresh("trunk", name, place), members, 0, name)
        value = main.append(chain, trunk.known[trunk.last], place, trunk.size)
        ends = [0]
        for member in members:
            spliced = isinstance(member, Call) and member.splice
            function = member.function if isinstance(member, Call) else ""
            body = self.blocks.registry.functions[function].body if spliced else (member,)
            ends.append(ends[-1] + len(body))
        return [replace(item, value=value, chain_end=ends[item.value]) for item in features]
