"""Blocks at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from compiler_tests.random_specs.bodies import Bodies
from compiler_tests.random_specs.names import Body, Callee, Channels, Draw, Names

Definition = dict[str, Any]
Given = tuple[tuple[str, tuple[object, ...]], ...]


@dataclass(frozen=True)
class Parameter:
    """A parameter: its declaration, and what a stage and a call may give it."""

    name: str
    declared: object
    stage: tuple[object, ...]
    call: tuple[object, ...]


PARAMETERS = (
    Parameter("ratio", 0.5, (0.25, "0.5 * number / blocks", 0), (0.25, "0.5 / 2")),
    Parameter("rate", {"default": 0.1, "minimum": 0, "maximum": 0.9}, (0.3, "index / (2 * depth)"), (0.2, 0)),
    Parameter("flag", True, (False, True, "index % 2 == 0", "number < blocks"), (False, True)),
    Parameter("side", {"default": "symmetric", "choices": ["symmetric", "trailing"]}, ("trailing",), ("trailing",)),
    Parameter("mode", {"default": "thin", "choices": ["thin", "wide"]}, ("wide", "thin"), ("wide",)),
    Parameter("count", {"default": 2, "minimum": 0, "maximum": 3}, (0, 3, "1 + index % 2"), (1, "3 - 2")),
    Parameter("window", {"default": 3, "choices": [1, 3, 5]}, (1, "3 if index == 0 else 1"), (5,)),
    Parameter("bias", {"default": -1.0, "doc": "of its gate"}, (0.25, "-2.0 * index", -3), (1.5,)),
)  # fmt: skip


@dataclass(frozen=True)
class Block:
    """A block at random. `joins`: an addition that the spec's shortcut policy may change; `chain`: it is one path;
    `keeps`: it has as many channels as it reads, and no stride; its channels are else `width * expansion`."""

    name: str
    definition: Definition
    parameters: tuple[Parameter, ...]
    joins: bool
    chain: bool
    keeps: bool
    expansion: int
    reads: int = 1

    @property
    def regular(self) -> bool:
        """Whether its channels are as the class says."""
        return self.definition.get("out") in (None, "in", f"width * {self.expansion}")

    @property
    def callee(self) -> Callee | None:
        """How bodies call it; None where it needs a policy's shortcut."""
        if not self.regular or (self.joins and "shortcut" not in self.definition):
            return None
        arguments = tuple((each.name, each.call) for each in self.parameters)
        return Callee(self.name, not self.keeps, self.keeps, self.reads, self.expansion, arguments)


SQUEEZE = Callee(
    "squeeze_excite", strides=False, keeps=True, arguments=(("reduction", (1, "3 - 2")),)
)


@dataclass(frozen=True)
class Setting:
    """What holds for a whole spec: what divides every width (and what blocks read), groups of its normalisation."""

    read: int
    norm_groups: int
    expansions: tuple[int, ...]
    shortcuts: tuple[object, ...]


def block(
    draw: Draw, setting: Setting, name: str, earlier: Sequence[Block], *, straight: bool
) -> Block:
    """A block, which may call those before it."""
    parameters = tuple(
        draw(st.lists(st.sampled_from(PARAMETERS), unique_by=lambda item: item.name, max_size=3))
    )
    held = {each.name for each in parameters}
    keeps = not straight and draw(st.integers(0, 4)) == 4
    names = _names(setting, held, [each.callee for each in earlier], keeps)
    lets: dict[str, object] = {}
    author = Bodies(draw, names)
    form = "body" if straight else author.one_of(["residual"] * 4 + ["body", "branches"])
    if author.chance(40):
        wide = "mode == 'wide'" if "mode" in held else "number > 1"
        lets = {"wide": wide, "inner": "width * 2 if wide else width"}
        names.conditions = [*names.conditions, "wide"]
        names.widths = [*names.widths, Channels("inner", 4)]
    expansion = 1 if keeps else author.one_of(setting.expansions)
    out = Channels("in", setting.read) if keeps else Channels("out", 4 * expansion)
    definition: Definition = {"doc": f"The block {name}, at random."} if author.chance(70) else {}
    if author.chance(20):
        definition["as"] = f"emitted_{name}"
    if parameters:
        definition["parameters"] = {each.name: each.declared for each in parameters}
    if lets:
        definition["let"] = lets
    if keeps:
        definition["out"] = "in"
    elif expansion > 1 or author.chance(30):
        definition["out"] = f"width * {expansion}"
    start = Channels("in", setting.read)
    if not straight and author.chance(25):
        definition["before"], start = author.body(start, start, depth=0, most=2)
    joins = False
    match form:
        case "residual":
            joins = _residual(author, definition, start, out, keeps, setting)
        case "branches":
            _branches(author, definition, start, out, keeps, setting)
        case _:
            body, _ = author.body(start, out, strided=not keeps, straight=straight)
            definition["body"] = body or [author.activation()]
    if straight and author.chance(40):
        definition["body"].append({"max_pool": {"kernel": 2, "ceil": True}, "when": "last"})
    if author.chance(50):
        definition["after"] = [author.activation()]
    if definition.get("out") == "width * 2":
        expansion = 2
    return Block(name, definition, parameters, joins, straight, keeps, expansion, setting.read)


def _names(
    setting: Setting, held: set[str], callees: Sequence[Callee | None], keeps: bool
) -> Names:
    names = Names(
        widths=[
            Channels("width", 4),
            Channels("width // 2", 2),
            Channels("width * 2", 8),
            Channels("out", setting.read if keeps else 4),
            Channels("max(in, width)", setting.read),
            Channels("make_divisible(width * 0.6, 4)", 4),
            Channels("(width if stride == 1 else width // 2)", 2),
            Channels("ceil(width / 4) * 4", 4),
        ],
        conditions=["first", "last", "index % 2 == 0", "number > 1", "not transition", "stride == 1 and in == out",
                    "number == blocks or depth > 2"],
        norm_groups=setting.norm_groups,
        callees=[*(each for each in callees if each is not None), SQUEEZE],
        shortcuts=setting.shortcuts,
    )  # fmt: skip
    names.dilations = [*names.dilations, "dilation", "dilation"]
    if "ratio" in held:
        names.widths = [*names.widths, Channels("max(int(width * ratio), 1)", 1)]
        names.rates = [*names.rates, "ratio / 2"]
        names.fills = [*names.fills, "ratio"]
    if "rate" in held:
        names.rates = [*names.rates, "rate", "rate"]
        names.conditions = [*names.conditions, "rate > 0"]
    if "flag" in held:
        names.conditions = ["flag", "not flag", *names.conditions]
    if "side" in held:
        names.sides = [*names.sides, "side", "side"]
    if "mode" in held:
        names.conditions = [*names.conditions, "mode == 'wide'"]
    if "count" in held:
        names.counts = [*names.counts, "count", "max(count - 1, 0)"]
    if "window" in held:
        names.kernels = [*names.kernels, "window", ["window", 1]]
    if "bias" in held:
        names.fills = [*names.fills, "bias", "bias * 2"]
    return names


def _residual(
    author: Bodies,
    definition: Definition,
    start: Channels,
    out: Channels,
    keeps: bool,
    setting: Setting,
) -> bool:
    """Writes a residual; whether a policy may change how it joins."""
    join = author.one_of([None, "add", "add", "add", "gate", "multiply", "concat", "none"])
    if keeps and join not in ("multiply", "none"):
        definition["shortcut"] = "identity"
    if join == "concat" and (keeps or 2 not in setting.expansions):
        join = "add"
    if join == "concat":
        definition["residual"], _ = author.body(start, Channels("width", 4))
        definition |= {"out": "in + width", "shortcut": "identity", "join": join}
        return False
    if keeps and join == "multiply" and author.chance(60):
        definition |= {"residual": author.squeeze(start), "shortcut": "identity", "join": join}
        return False
    residual, _ = author.body(start, out, strided=not keeps)
    definition["residual"] = residual or [author.activation()]
    if join is not None:
        definition["join"] = join
    if join == "gate":
        gate, _ = author.body(start, out, strided=not keeps, depth=0, most=1)
        definition["gate"] = [*gate, "sigmoid"]
    if join in ("gate", "multiply") and "shortcut" not in definition:
        definition["shortcut"] = "identity" if keeps else author.one_of(["B", "C", "D"])
    elif join != "none" and not keeps and author.chance(25):
        definition["shortcut"] = author.one_of(["B", "C", "D", {"B": {"norm": False}}, "gate"])
    return join in (None, "add")


def _branches(
    author: Bodies,
    definition: Definition,
    start: Channels,
    out: Channels,
    keeps: bool,
    setting: Setting,
) -> None:
    """Writes parallel bodies that add, or whose ends are halves of the channels each."""
    grows = not keeps and 2 in setting.expansions
    join = author.one_of(["add", "multiply", *([None, "concat"] * grows)])
    bodies: list[Body] = []
    end = out
    if join not in ("add", "multiply"):
        end = Channels("width", 4)
        definition["out"] = "width * 2"
    for _ in range(2):
        body, _ = author.body(start, end, strided=not keeps, depth=1)
        bodies.append(body)
    definition["branches"] = bodies
    if join is not None:
        definition["join"] = join
