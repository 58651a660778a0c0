"""What a spec's stages call, looked up and checked before anything is lowered, so that what is
wrong in several of them is reported together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resnet_dsl.errors import CompileError, Diagnostic, Related
from resnet_dsl.ir.expr import Value
from resnet_dsl.language.checks import expression_problem, unknown_parameters
from resnet_dsl.language.definitions import BlockDef, Definition, Kind
from resnet_dsl.language.fields import CallForm
from resnet_dsl.language.library import Definitions, Located, call_path, pattern_calls
from resnet_dsl.language.schema import GROUPS, MAX_CHANNELS, STAGE_KEYS, Spec, Stage
from resnet_dsl.language.scope import STAGE, names_read
from resnet_dsl.language.source import Source
from resnet_dsl.lower.binding import bind
from resnet_dsl.lower.place import Place, RefusalError, Scope, blamed

_ALWAYS = frozenset({"in", "width", "stride", "dilation"})


@dataclass(frozen=True, slots=True)
class Planned:
    """One block of a stage's pattern: its definition, and its arguments before they are worked
    out (a stage's parameters may depend on the block's place). `reads` are the names whose values
    the block is lowered for, `silent` those of them that change no structure."""

    located: Located[BlockDef]
    given: Mapping[str, Any]
    places: Mapping[str, Place]
    reads: frozenset[str]
    silent: frozenset[str]
    place: Place

    def values(self, stage: Stage, place: Place, variables: dict[str, Value]) -> dict[str, Value]:
        """Everything that the block knows at one place of its stage, but `in`. Raises
        CompileError."""
        scope = Scope(variables)
        found: list[Diagnostic] = []
        values: dict[str, Value] = {"stride": 1, "dilation": stage.dilation, **variables}
        values["first"] = variables["index"] == 0
        values["last"] = variables["index"] == stage.depth - 1
        if values["first"]:
            values["stride"] = stage.stride
        try:
            values["width"] = _width(stage, scope, place)
        except CompileError as error:
            found += error.diagnostics
        try:
            bound = bind(self.located, self.given, self.places, scope, self.place)
            values |= {name: value for name, (_, value) in bound.items()}
        except CompileError as error:
            found += error.diagnostics
        if found:
            raise CompileError(found)
        return values

    def blamed(self, error: CompileError) -> CompileError:
        """An error inside of the block, seen from the stage: from the one parameter that the part
        at fault reads, if there is one, or from the block's name."""
        reads = error.reads if isinstance(error, RefusalError) else frozenset()
        given = [name for name in self.places if name in reads]
        place = self.places[given[0]] if len(given) == 1 else self.place
        return blamed(error, place, f"the block `{self.located.name}`")


def variables(stage: Stage, position: int, before: int, total: int) -> dict[str, Value]:
    """The place of a block: `before` blocks stand before its stage, `total` are in the network."""
    return {
        "index": position,
        "depth": stage.depth,
        "number": before + position + 1,
        "blocks": total,
    }


def plan(spec: Spec, definitions: Definitions, source: Source) -> list[list[Planned]]:
    """The blocks of every stage's pattern. Raises CompileError with every finding."""
    root = Place(source, ())
    found = [*definitions.problems(), *_stage_names(spec, root)]
    plans: list[list[Planned]] = []
    before, total = 0, sum(stage.depth for stage in spec.stages)
    for index, stage in enumerate(spec.stages):
        place = root.at("stages", index)
        pattern: list[Planned] = []
        calls = pattern_calls(stage, source, place.path)
        for position, (path, form) in enumerate(calls):
            try:
                planned = _planned(spec, definitions, stage, form, place, Place(source, path))
                pattern.append(planned)
                planned.values(stage, place, variables(stage, position, before, total))
            except CompileError as error:
                found += error.diagnostics
        if len(pattern) == len(stage.block):
            found += _stage_parameters(stage, pattern, place)
        for key, shortcut in (("shortcut", stage.shortcut), ("skip", stage.skip)):
            found += _call_problems(definitions, "shortcut", shortcut, place.at(key))
        plans.append(pattern)
        before += stage.depth
    found += _call_problems(definitions, "shortcut", spec.shortcut, root.at("shortcut"))
    found += _call_problems(definitions, "shortcut", spec.skip, root.at("skip"))
    found += _call_problems(definitions, "stem", spec.stem, root.at("stem"))
    found += _call_problems(definitions, "head", spec.head, root.at("head"))
    if found:
        raise CompileError(dict.fromkeys(found))
    return plans


def _stage_names(spec: Spec, root: Place) -> list[Diagnostic]:
    """Stages are told apart by their names, in tables and as outputs of a backbone."""
    found: list[Diagnostic] = []
    seen: dict[str, Place] = {}
    for index in range(len(spec.stages)):
        name, place = spec.stage_name(index), root.at("stages", index, "name")
        first = seen.setdefault(name, place)
        if name in GROUPS:
            found.append(
                place.diagnostic(
                    "RD108",
                    f"`{name}` is a name that is taken",
                    why=f"it stands for the part of the network that is its {name}",
                    hint="choose another name",
                )
            )
        elif first is not place:
            position = first.source.position(first.path)
            related = Related(position, first.source.line(position), "the first one")
            found.append(
                place.diagnostic(
                    "RD109",
                    f"two stages are named `{name}`",
                    why="a stage without a `name` is called `layer` and its number",
                    hint="choose another `name`",
                    related=(related,),
                )
            )
    return found


def _planned(
    spec: Spec,
    definitions: Definitions,
    stage: Stage,
    form: CallForm,
    place: Place,
    where: Place,
) -> Planned:
    where = Place(where.source, call_path(form, where.source, where.path))
    located = definitions.block(form.name, where.source, where.path)
    declared = located.definition.parameters
    unknown = _unknown_parameters(located, form.arguments, where)
    if unknown:
        raise CompileError(unknown)
    shared = {name: given for name, given in stage.parameters.items() if name in declared}
    places = {name: place.at(name) for name in shared}
    places |= {name: where.at(name) for name in form.arguments}
    reads = names_read(located.definition)
    silent = frozenset[str]()
    if spec.drop_path is not None:  # the rate depends on a block's number, and nothing else may
        silent = frozenset({"number", "blocks"}) - reads
    return Planned(
        located,
        {**shared, **form.arguments},
        places,
        reads | silent | _ALWAYS | frozenset(declared),
        silent,
        where,
    )


def _stage_parameters(stage: Stage, pattern: Sequence[Planned], place: Place) -> list[Diagnostic]:
    """A stage's extra keys are parameters of its blocks: of one of them at least."""
    strange = {
        name: None
        for name in stage.parameters
        if not any(name in item.located.definition.parameters for item in pattern)
    }
    return _unknown_parameters(pattern[0].located, strange, place, STAGE_KEYS)


def _unknown_parameters(
    located: Located[Definition], given: Iterable[str], place: Place, meant: Iterable[str] = ()
) -> list[Diagnostic]:
    known = located.definition.parameters
    kind, name = located.kind, located.name
    return [*unknown_parameters(kind, name, known, given, place.source, place.path, meant)]


def _call_problems(
    definitions: Definitions, kind: Kind, form: CallForm | None, place: Place
) -> list[Diagnostic]:
    if form is None:
        return []
    where = place.at(form.name) if form.arguments else place
    try:
        located = definitions.need(kind, form.name, where.source, where.path)
        unknown = _unknown_parameters(located, form.arguments, where)
        if unknown:
            return unknown
        bind(located, form.arguments, {}, Scope({}), where)
    except CompileError as error:
        return list(error.diagnostics)
    return []


def _width(stage: Stage, scope: Scope, place: Place) -> int:
    where = place.at("width")
    problem = expression_problem(stage.width, STAGE, "int", where.source, where.path)
    if problem is not None:
        raise CompileError(problem)
    width = scope.integer(stage.width, where)
    if not 1 <= width <= MAX_CHANNELS:
        raise where.error(
            "RD106", f"`width` is out of range: {width} is not within 1 and {MAX_CHANNELS:,}"
        )
    return width
