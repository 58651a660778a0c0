"""The body of a function as members of a module, and as the steps of its forward."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeAlias, assert_never

from resnet_dsl.backends.layout import INDENT, Atom, Call, Group, Node, flat, statement
from resnet_dsl.backends.torch.chains import Module, writable
from resnet_dsl.backends.torch.expressions import Writer
from resnet_dsl.backends.torch.forward import Step, called
from resnet_dsl.backends.torch.modules import constructor
from resnet_dsl.backends.torch.names import member
from resnet_dsl.ir import program as ir
from resnet_dsl.ir.ops import Activation, Add, Cast, Concat, Conv, Flatten, Gate, Linear, Multiply
from resnet_dsl.ir.program import Apply, Chain, Feature, Function, Statement, UseSlot

BODY = 2 * INDENT
Kind: TypeAlias = tuple[str, float]
"""An activation's kind and slope: those that agree share a module."""


@dataclass(frozen=True, slots=True)
class Members:
    """What a function's body registers: for each statement the attribute that it calls (none for
    what needs no module), and each attribute's lines, at the statement where they belong."""

    attributes: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def members(
    function: Function,
    module: Module,
    write: Writer,
    features: Sequence[Feature] = (),
) -> Members:
    """The members of a block; of the main function, which has `features`, too."""
    notes = _notes(function, features)
    body = function.body
    names = [_own_name(item) for item in body]
    activations = _activations(function, [item.value for item in features])
    free = {name for name in names if name}
    spelled = {}
    for kind in activations:
        spelled[kind] = _unused(kind[0], free)
        free.add(spelled[kind])
    attributes: list[str] = []
    found: list[list[str]] = []
    for index, item in enumerate(body):
        attribute, node = names[index], None
        match item:
            case Apply(_, Activation() as op):
                kind = (op.kind, op.slope)
                attribute = spelled[kind]
                if activations[kind].at == index:
                    node = constructor(op, write, in_place=activations[kind].in_place)
            case Apply(_, op):
                node = constructor(op, write) if attribute else None
            case ir.Call():
                node = module.module(item, write)
            case Chain():
                node = module.sequential(item.members, write, notes.get(index))
            case UseSlot(name):
                first = names.index(name) == index
                node = Atom(module.spellings[function.name].slots[name]) if first else None
            case _:
                assert_never(item)
        attributes.append(attribute)
        found.append([] if node is None else statement(f"self.{attribute} = ", node, indent=BODY))
    if function is not module.program.main:
        _move_shared(found, [use.at for use in activations.values() if use.shared])
    return Members(tuple(attributes), tuple(tuple(lines) for lines in found))


def _move_shared(found: list[list[str]], places: Sequence[int]) -> None:
    """What several statements of a block share is registered after all else."""
    for place in places:
        lines, found[place] = found[place], []
        found[-1] = [*found[-1], *lines]


def _own_name(item: Statement) -> str:
    """The name that the statement's module is registered under; none where it has no module of its
    own."""
    match item:
        case Apply(_, Activation() | Flatten() | Add() | Multiply() | Concat() | Gate() | Cast()):
            return ""
        case _:
            return member(item.name)


@dataclass(frozen=True, slots=True)
class _Use:
    """An activation of a body: the first statement that uses it, whether it may write into its
    input at every use, and whether there are several."""

    at: int
    in_place: bool
    shared: bool = False


def _activations(function: Function, kept: Iterable[int]) -> dict[Kind, _Use]:
    """The activations of a body; those that agree are one. `kept` are values that someone else
    reads besides."""
    readers = Counter([function.result, *kept])
    for item in function.body:
        readers.update(item.operands if isinstance(item, Apply) else (item.operand,))
    found: dict[Kind, _Use] = {}
    for index, item in enumerate(function.body):
        if isinstance(item, Apply) and isinstance(item.op, Activation):
            kind, operand = (item.op.kind, item.op.slope), item.operands[0]
            before = function.body[operand - 1] if operand else None
            made = before.op if isinstance(before, Apply) else None
            in_place = writable(made) and readers[operand] == 1
            known = found.get(kind)
            if known is None:
                found[kind] = _Use(index, in_place)
            else:
                found[kind] = _Use(known.at, known.in_place and in_place, shared=True)
    return found


def _unused(name: str, taken: set[str]) -> str:
    number, candidate = 1, name
    while candidate in taken:
        number += 1
        candidate = f"{name}{number}"
    return candidate


def steps(
    function: Function,
    attributes: Sequence[str],
    module: Module,
    features: Sequence[Feature] = (),
) -> tuple[list[Step], list[int]]:
    """The steps of a body, and for each of its values (0 is the input) the step's value. A chain
    with features inside is several steps, each a slice of it."""
    stages: dict[int, dict[int | None, str]] = {}
    for feature in features:
        stages.setdefault(feature.value, {})[feature.chain_end] = feature.stage
    found: list[Step] = []
    values = [0]
    for index, (item, attribute) in enumerate(zip(function.body, attributes, strict=True)):
        ends = stages.get(index + 1, {})
        inside = sorted(end for end in ends if end is not None)
        if isinstance(item, Chain) and inside:
            previous, length = values[item.operand], module.length(item.members)
            for start, end in pairwise(dict.fromkeys((0, *inside, length))):
                part = f"{start or ''}:{end if end < length else ''}"
                call = called(f"self.{attribute}[{part}]")
                found.append(
                    Step("layer", (previous,), call, name=attribute, feature=ends.get(end))
                )
                previous = len(found)
        else:
            step = _step(item, attribute, function)
            operands = tuple(values[operand] for operand in step.operands)
            found.append(replace(step, operands=operands, name=attribute, feature=ends.get(None)))
        values.append(len(found))
    return found, values


def _step(item: Statement, attribute: str, function: Function) -> Step:
    call = called(f"self.{attribute}")
    match item:
        case Apply(_, Conv() | Linear(), operands):
            return Step("layer", operands, call)
        case Apply(_, Flatten(), operands):
            return Step(
                "light", operands, lambda given: Call("torch.flatten", (given[0], Atom("1")))
            )
        case Apply(_, Add(), operands):
            roles = ("out", *("identity",) * (len(operands) - 1))
            return Step("join", operands, _infix("+"), roles)
        case Apply(_, Multiply(), operands):
            roles = ("out", *("scale",) * (len(operands) - 1))
            return Step("join", operands, _infix("*"), roles)
        case Apply(_, Concat(), operands):
            roles = tuple(f"branch{place + 1}" for place in range(len(operands)))
            return Step("join", operands, _concatenated, roles)
        case Apply(_, Gate(), operands):
            return Step("join", operands, _gated, ("out", "identity", "gate"), repeated=1)
        case Apply(_, Activation(), operands):
            return Step("glance", operands, call)
        case Apply(_, _, operands):
            return Step("light", operands, call)
        case UseSlot(name, operand) if name not in function.required_slots:
            return Step("choice", (operand,), _if_filled(attribute))
        case ir.Call() | Chain() | UseSlot():
            return Step("layer", (item.operand,), call)
        case _:
            assert_never(item)


def _infix(sign: str) -> Callable[[Sequence[Node]], Node]:
    return lambda given: Atom(f" {sign} ".join(flat(node) or "" for node in given))


def _concatenated(given: Sequence[Node]) -> Node:
    return Call("torch.cat", (Group("(", tuple(given)), Atom("dim=1")))


def _gated(given: Sequence[Node]) -> Node:
    new, old, gate = (flat(node) for node in given)
    return Atom(f"{gate} * {new} + (1 - {gate}) * {old}")


def _if_filled(slot: str) -> Callable[[Sequence[Node]], Node]:
    def write(given: Sequence[Node]) -> Node:
        operand = flat(given[0])
        return Atom(f"{operand} if self.{slot} is None else self.{slot}({operand})")

    return write


def _notes(function: Function, features: Sequence[Feature]) -> dict[int, dict[int, str]]:
    """For chains with features inside: comments at the members where stages begin."""
    notes: dict[int, dict[int, str]] = {}
    places: dict[int, dict[int, int]] = {}
    starts: dict[int, int] = {}
    for item in features:
        if item.chain_end is None:
            continue
        at = item.value - 1
        if at not in places:
            chain = function.body[at]
            assert isinstance(chain, Chain)
            places[at] = {int(each.name): index for index, each in enumerate(chain.members)}
        start = places[at][starts.get(at, 0)]
        shape = f"{item.stage}: (N, {item.channels}, {item.height}, {item.width})"
        notes.setdefault(at, {})[start] = shape
        starts[at] = item.chain_end
    return notes
