"""Program to program: what never varies in this network is written into its functions.

1. A parameter with the same value at every call is substituted into the body and leaves the calls;
   of two parameters that are equal at every call, one stands for both.
2. A parameter that nothing reads is dropped.
3. A slot that every call leaves empty is removed (using it is the identity); one that every call
   fills is marked as required.
4. A parameter that has the same plain value (1, 0, false, …) at most calls gets it as its default,
   moves behind those without one, and leaves the calls that agree. A stride, a dilation and a
   number of groups get 1 where any call has it.
5. Functions that nothing calls are dropped; the rest stand in the order callees before callers.

Requires: calls give every parameter that has no default, and no function calls itself.
Ensures: the same network. Each rule is one sweep over the call graph (callers first for 1,
callees first for 2), which reaches the fixed point, since there are no cycles.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TypeAlias

from resnet_dsl.ir.calls import (
    callers_first,
    map_members,
    map_ops,
    map_sites,
    members,
    names_read,
    sites,
)
from resnet_dsl.ir.expr import Expr, Literal, Name, substitute
from resnet_dsl.ir.ops import Conv
from resnet_dsl.ir.program import (
    Apply,
    Arguments,
    Call,
    Function,
    Parameter,
    Program,
    Statement,
    UseSlot,
)

Functions: TypeAlias = dict[str, Function]

ONE = Literal(1)
PLAIN: frozenset[Expr] = frozenset(Literal(value) for value in (0, 1, 0.0, 1.0, False, True, ""))
"""Values that a default may have: the ones that mean "nothing special" to a reader."""


def specialise(program: Program) -> Program:
    """The program with its functions fitted to it."""
    order = callers_first(program)
    functions = {name: _complete(program.functions[name], program) for name in order}
    main = _complete(program.main, program)
    main, functions = _fold_constants(main, functions)
    main, functions = _settle_slots(main, functions)
    main, functions = _drop_unused(main, functions)
    main, functions = _choose_defaults(main, functions)
    callees_first = {name: functions[name] for name in reversed(order)}
    return replace(program, main=main, functions=callees_first)


def _complete(function: Function, program: Program) -> Function:
    """Calls with all arguments, in the order of the parameters."""

    def fill(callee: str, arguments: Arguments) -> Arguments:
        given = dict(arguments)
        for parameter in program.functions[callee].parameters:
            if parameter.name not in given and parameter.default is not None:
                given[parameter.name] = Literal(parameter.default)
        return tuple((item.name, given[item.name]) for item in program.functions[callee].parameters)

    return map_sites(function, fill)


def _fold_constants(main: Function, functions: Functions) -> tuple[Function, Functions]:
    """Rule 1: in `functions`, callers stand before what they call."""
    seen = {name: _Seen.of(function) for name, function in functions.items()}

    def note(function: Function) -> None:
        for site in sites(function.body):
            seen[site.function].note(site.arguments)

    note(main)
    folded: Functions = {}
    for name, function in functions.items():
        folded[name] = _bind(function, seen[name].bindings())
        note(folded[name])
    kept = {name: frozenset(item.name for item in folded[name].parameters) for name in folded}

    def varying(callee: str, arguments: Arguments) -> Arguments:
        return tuple((key, value) for key, value in arguments if key in kept[callee])

    return (
        map_sites(main, varying),
        {name: map_sites(function, varying) for name, function in folded.items()},
    )


@dataclass(slots=True)
class _Seen:
    """What the calls seen so far agree on."""

    constants: dict[str, Expr] | None
    pairs: list[tuple[str, str]]

    @classmethod
    def of(cls, function: Function) -> _Seen:
        ordered = sorted(function.parameters, key=lambda item: item.name != "width")
        return cls(
            None,
            [(a.name, b.name) for a, b in combinations(ordered, 2) if a.type == b.type],
        )

    def note(self, arguments: Arguments) -> None:
        given = dict(arguments)
        if self.constants is None:
            self.constants = {k: v for k, v in given.items() if isinstance(v, Literal)}
        else:
            for name in [k for k, value in self.constants.items() if given[k] != value]:
                del self.constants[name]
        if self.pairs:
            self.pairs = [(a, b) for a, b in self.pairs if given[a] == given[b]]

    def bindings(self) -> dict[str, Expr]:
        """What takes a parameter's place: its constant, or the parameter that it always equals."""
        bound = dict(self.constants or {})
        for first, second in self.pairs:
            if first not in bound:
                bound.setdefault(second, Name(first))
        return bound


def _bind(function: Function, bound: Mapping[str, Expr]) -> Function:
    if not bound:
        return function
    kept = tuple(item for item in function.parameters if item.name not in bound)
    types = {item.name: item.type for item in kept}

    def fold(expr: Expr) -> Expr:
        return substitute(expr, bound, types)

    def fold_all(_callee: str, arguments: Arguments) -> Arguments:
        return tuple((name, fold(value)) for name, value in arguments)

    return map_ops(map_sites(replace(function, parameters=kept), fold_all), fold)


def _settle_slots(main: Function, functions: Functions) -> tuple[Function, Functions]:
    """Rule 3."""
    filled: dict[str, Counter[str]] = {name: Counter() for name in functions}
    calls: Counter[str] = Counter()
    for function in (main, *functions.values()):
        for site in sites(function.body):
            calls[site.function] += 1
            if isinstance(site, Call):
                counts = filled[site.function]
                counts.update(slot for slot, given in site.slots if given is not None)

    def settle(function: Function) -> Function:
        counts = filled[function.name]
        slots = tuple(slot for slot in function.slots if counts[slot])
        required = tuple(slot for slot in slots if counts[slot] == calls[function.name])
        settled = replace(function, slots=slots, required_slots=required)
        return settled if slots == function.slots else _without_slots(settled)

    def member(item: Apply | Call) -> Apply | Call:
        if isinstance(item, Call):
            return replace(item, slots=tuple(s for s in item.slots if filled[item.function][s[0]]))
        return item

    def clean(function: Function) -> Function:
        return replace(function, body=map_members(function.body, member))

    return clean(main), {name: clean(settle(item)) for name, item in functions.items()}


def _without_slots(function: Function) -> Function:
    """The body without the uses of slots that the function no longer has."""
    renumbered = [0]
    body: list[Statement] = []
    for statement in function.body:
        match statement:
            case UseSlot(name, operand) if name not in function.slots:
                renumbered.append(renumbered[operand])
                continue
            case Apply():
                operands = tuple(renumbered[operand] for operand in statement.operands)
                body.append(replace(statement, operands=operands))
            case _:
                body.append(replace(statement, operand=renumbered[statement.operand]))
        renumbered.append(len(body))
    return replace(function, body=tuple(body), result=renumbered[function.result])


def _drop_unused(main: Function, functions: Functions) -> tuple[Function, Functions]:
    """Rule 2."""
    kept: dict[str, frozenset[str]] = {}

    def used(callee: str, arguments: Arguments) -> Arguments:
        return tuple((name, value) for name, value in arguments if name in kept[callee])

    trimmed: Functions = {}
    for name in reversed(functions):
        function = map_sites(functions[name], used)
        read = names_read(function.body)
        parameters = tuple(item for item in function.parameters if item.name in read)
        kept[name] = frozenset(item.name for item in parameters)
        trimmed[name] = replace(function, parameters=parameters)
    return map_sites(main, used), {name: trimmed[name] for name in functions}


def _choose_defaults(main: Function, functions: Functions) -> tuple[Function, Functions]:
    """Rule 4."""
    values: dict[str, dict[str, Counter[Expr]]] = {
        name: {item.name: Counter() for item in function.parameters}
        for name, function in functions.items()
    }
    for function in (main, *functions.values()):
        for site in sites(function.body):
            for name, value in site.arguments:
                values[site.function][name][value] += 1
    ones = _conventional_ones(functions)

    def choose(function: str, parameter: Parameter) -> Parameter:
        counts = values[function][parameter.name]
        if counts[ONE] and parameter.name in ones[function]:
            return replace(parameter, default=1)
        value, count = counts.most_common(1)[0]
        plain = isinstance(value, Literal) and value in PLAIN and 2 * count >= counts.total()
        default = value.value if plain and isinstance(value, Literal) else None
        return replace(parameter, default=default)

    chosen: Functions = {}
    for name, function in functions.items():
        settled = [choose(name, item) for item in function.parameters]
        settled.sort(key=lambda item: item.default is not None)
        chosen[name] = replace(function, parameters=tuple(settled))

    def agreed(callee: str, arguments: Arguments) -> Arguments:
        given = dict(arguments)
        return tuple(
            (item.name, given[item.name])
            for item in chosen[callee].parameters
            if item.default is None or given[item.name] != Literal(item.default)
        )

    return (
        map_sites(main, agreed),
        {name: map_sites(function, agreed) for name, function in chosen.items()},
    )


def _conventional_ones(functions: Functions) -> dict[str, frozenset[str]]:
    """The parameters of each function that are strides, dilations and groups, where 1 is what a
    reader expects when nothing is said."""
    ones: dict[str, frozenset[str]] = {}
    for name in reversed(functions):  # callees first
        found: set[Expr] = set()
        for member in members(functions[name].body):
            if isinstance(member, Apply) and isinstance(member.op, Conv):
                found.update((*member.op.stride, *member.op.dilation, member.op.groups))
        for site in sites(functions[name].body):
            found.update(value for key, value in site.arguments if key in ones[site.function])
        ones[name] = frozenset(item.id for item in found if isinstance(item, Name))
    return ones
