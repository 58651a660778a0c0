"""Blocks at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from compiler_tests.random_specs.bodies import Bodies
from compiler_tests.random_specs.choices import Draw
from compiler_tests.random_specs.names import Body, Callee, Channels, Names

Definition = dict[str, Any]


@dataclass(frozen=True)
class Parameter:
    """A parameter by what it is for: names of it, its declaration, what a stage and what a call may give it."""

    role: str
    names: tuple[str, ...]
    declared: object
    stage: tuple[object, ...]
    call: tuple[object, ...]


# Names are plain ones, and such as emitted code might use for itself.
SIDES = {"default": "symmetric", "choices": ["symmetric", "trailing"]}
MODES = {"default": "thin", "choices": ["thin", "wide"]}
RATES = {"default": 0.1, "minimum": 0, "maximum": 0.9}
COUNTS = {"default": 2, "minimum": 0, "maximum": 3}
WINDOWS = {"default": 3, "choices": [1, 3, 5]}
BIASES = {"default": -1.0, "doc": "of its gate"}
PARAMETERS = (
    Parameter("ratio", ("ratio", "math", "lambda"), 0.5, (0.25, "0.5 * number / blocks", 0), (0.25, "0.5 / 2")),
    Parameter("rate", ("rate", "torch"), RATES, (0.3, "index / (2 * depth)"), (0.2, 0)),
    Parameter("flag", ("flag", "training"), True, (False, True, "index % 2 == 0", "number < blocks"), (False, True)),
    Parameter("side", ("side", "x"), SIDES, ("trailing",), ("trailing",)),
    Parameter("mode", ("mode", "class"), MODES, ("wide", "thin"), ("wide",)),
    Parameter("count", ("count", "layer", "num_classes"), COUNTS, (0, 3, "1 + index % 2"), (1, "3 - 2")),
    Parameter("window", ("window", "channels", "window_of_convolutions"), WINDOWS, (1, "3 if index == 0 else 1"), (5,)),
    Parameter("bias", ("bias", "nn"), BIASES, (0.25, "-2.0 * index", -3), (1.5,)),
)  # fmt: skip


def spellings(draw: Draw) -> dict[str, str]:
    """A name for each role, the same one in all blocks of a spec, since stages give parameters by name."""
    return {each.role: draw(st.sampled_from(each.names)) for each in PARAMETERS}


@dataclass(frozen=True)
class Block:
    """A block at random. `joins`: an addition that the spec's shortcut policy may change; `chain`: it is one path;
    `keeps`: it has as many channels as it reads, and no stride; its channels are else `width * expansion`."""

    name: str
    definition: Definition
    parameters: tuple[Parameter, ...]
    names: Mapping[str, str]
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
        arguments = tuple((self.names[each.role], each.call) for each in self.parameters)
        return Callee(self.name, not self.keeps, self.keeps, self.reads, self.expansion, arguments)


SQUEEZE = Callee(
    "squeeze_excite", strides=False, keeps=True, arguments=(("reduction", (1, "3 - 2")),)
)


@dataclass(frozen=True)
class Setting:
    """What holds for a whole spec: what divides all that blocks read, groups of its normalisation, names of
    parameters by role."""

    read: int
    norm_groups: int
    names: Mapping[str, str]
    expansions: tuple[int, ...]
    shortcuts: tuple[object, ...]


def block(
    draw: Draw, setting: Setting, name: str, earlier: Sequence[Block], *, straight: bool
) -> Block:
    """A block, which may call those before it."""
    parameters = tuple(
        draw(st.lists(st.sampled_from(PARAMETERS), unique_by=lambda item: item.role, max_size=3))
    )
    held = {each.role: setting.names[each.role] for each in parameters}
    keeps = not straight and draw(st.integers(0, 4)) == 4
    names = _names(setting, held, [each.callee for each in earlier], keeps)
    lets: dict[str, object] = {}
    author = Bodies(draw, names)
    form = "body" if straight else author.one_of(["residual"] * 4 + ["body", "branches"])
    if author.chance(40):
        wide = f"{held['mode']} == 'wide'" if "mode" in held else "number > 1"
        lets = {"wide": wide, "inner": "width * 2 if wide else width"}
        names.conditions = [*names.conditions, "wide"]
        names.widths = [*names.widths, Channels("inner", 4)]
    expansion = 1 if keeps else author.one_of(setting.expansions)
    out = Channels("in", setting.read) if keeps else Channels("out", 4 * expansion)
    definition: Definition = {"doc": f"The block {name}, at random."} if author.chance(70) else {}
    if author.chance(20):
        definition["as"] = f"emitted_{name}"
    if parameters:
        definition["parameters"] = {held[each.role]: each.declared for each in parameters}
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
            definition["body"] = body if _does_something(body) else [*body, author.activation()]
    if straight and author.chance(40):
        definition["body"].append({"max_pool": {"kernel": 2, "ceil": True}, "when": "last"})
    if author.chance(50):
        definition["after"] = [author.activation()]
    if definition.get("out") == "width * 2":
        expansion = 2
    return Block(
        name, definition, parameters, held, joins, straight, keeps, expansion, setting.read
    )


def _does_something(body: Body) -> bool:
    return any(isinstance(item, str) or not {"when", "repeat"} & {*item} for item in body)


def _names(
    setting: Setting, held: Mapping[str, str], callees: Sequence[Callee | None], keeps: bool
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
    names.held = tuple(held.values())
    if (ratio := held.get("ratio")) is not None:
        names.widths = [*names.widths, Channels(f"max(int(width * {ratio}), 1)", 1)]
        names.rates = [*names.rates, f"{ratio} / 2"]
        names.fills = [*names.fills, ratio]
    if (rate := held.get("rate")) is not None:
        names.rates = [*names.rates, rate, rate]
        names.conditions = [*names.conditions, f"{rate} > 0"]
    if (flag := held.get("flag")) is not None:
        names.conditions = [flag, f"not {flag}", *names.conditions]
    if (side := held.get("side")) is not None:
        names.sides = [*names.sides, side, side]
    if (mode := held.get("mode")) is not None:
        names.conditions = [*names.conditions, f"{mode} == 'wide'"]
    if (count := held.get("count")) is not None:
        names.counts = [*names.counts, count, f"max({count} - 1, 0)"]
    if (window := held.get("window")) is not None:
        names.kernels = [*names.kernels, window, [window, 1]]
        # Some that are too long for a line of source.
        names.widths = [
            *names.widths,
            Channels(f"4 * ({window} + width // 4 * dilation + {window} * stride)", 4),
            Channels(
                f"(width * {window} if stride == 1 and {window} > 1 else 4 * {window} + 4)", 4
            ),
            Channels(f"max(4 * {window}, make_divisible(width * 0.5 + {window} * 2, 4))", 4),
            Channels(
                f"(8 if (make_divisible(width * {window}, 8) if stride == 1 else width // 2 * 2 + {window}) % 2 == 0"
                " else 4)",
                4,
            ),
            Channels(
                f"(width // ({window} - 1) // 4 * 4 + 4 if {window} > 1 and (width // ({window} - 1) > 2 or stride < 2)"
                f" else 4 * {window} + (4 if stride == 1 else make_divisible(width * 0.3, 4)))",
                4,
            ),
            Channels(
                f"4 * min(max({window}, stride, dilation, 2, stride * dilation, {window} + 1, {window} * stride), 5)",
                4,
            ),
        ]
        names.rates = [
            *names.rates,
            f"0 if {window} > 1 and stride * dilation * {window} > 9 else 0.5 / {window} if {window} > 1 else 0.25",
        ]
    if (bias := held.get("bias")) is not None:
        names.fills = [*names.fills, bias, f"{bias} * 2"]
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
