"""Members of a chain, gathered into loops.

Depth comes as repetition: equal calls, calls whose integers count up, and short patterns of those
become one run each, so that a stage of a thousand blocks is one line.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count as counted
from typing import TypeAlias

from resnet_dsl.ir.calls import names_read
from resnet_dsl.ir.expr import Expr, Literal, Name, add, literal, mul
from resnet_dsl.ir.program import Apply, Arguments, Call, Reference

LONGEST_PATTERN = 8
FEWEST_IN_LOOP = 3  # of patterns, and of calls that count; two equal calls are a loop already

Leaves: TypeAlias = tuple[int, ...]
Shape: TypeAlias = tuple[int, Leaves]


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a chain; an activation may or may not write into its input."""

    item: Apply | Call
    in_place: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """`pattern`, `count` times over. Where integers count, the pattern is written over `variable`,
    which takes `count` values from `start` in steps of `step`."""

    pattern: tuple[Member, ...]
    count: int = 1
    variable: str | None = None
    start: int = 0
    step: int = 1


def runs(members: Sequence[Member]) -> Iterator[Run]:
    """The members in order, as runs. Linear in their number."""
    numbers: dict[object, int] = {}
    shapes: list[Shape] = []
    for member in members:
        skeleton, leaves = _taken_apart(member)
        shapes.append((numbers.setdefault(skeleton, len(numbers)), leaves))
    position = 0
    while position < len(members):
        period, count = _longest(members, shapes, position)
        pattern = tuple(members[position : position + period])
        if count == 1:
            yield Run(pattern)
        else:
            following = shapes[position + period : position + 2 * period]
            yield _loop(pattern, shapes[position : position + period], following, count)
        position += period * count


def _longest(members: Sequence[Member], shapes: Sequence[Shape], start: int) -> tuple[int, int]:
    """The pattern from `start` on that saves the most members: its length and its repetitions."""
    best, saved = (1, 1), 0
    for period in range(1, LONGEST_PATTERN + 1):
        if period > 1 and _is_spliced(members[start + period - 1 : start + period]):
            break  # a spliced call is several members, and has a loop of its own
        end = start + period
        while end < len(shapes) and _continues(shapes, start, end, period):
            end += 1
        count = (end - start) // period
        counting = (
            count > 1
            and shapes[start : start + period] != shapes[start + period : start + 2 * period]
        )
        if count < (FEWEST_IN_LOOP if period > 1 or counting else 2):
            continue
        if (count - 1) * period > saved:
            best, saved = (period, count), (count - 1) * period
        if _is_spliced(members[start : start + 1]):
            break
    return best


def _is_spliced(members: Sequence[Member]) -> bool:
    return any(isinstance(member.item, Call) and member.item.splice for member in members)


def _continues(shapes: Sequence[Shape], start: int, position: int, period: int) -> bool:
    """Whether the member repeats the one a period before, its integers counting on evenly."""
    skeleton, leaves = shapes[position]
    before, previous = shapes[position - period]
    if skeleton != before:
        return False
    if position - 2 * period < start:
        return True
    earlier = shapes[position - 2 * period][1]
    return all(a - b == b - c for a, b, c in zip(leaves, previous, earlier, strict=True))


def _loop(
    pattern: tuple[Member, ...], first: Sequence[Shape], second: Sequence[Shape], count: int
) -> Run:
    names = [name for member in pattern for name in _leaf_names(member)]
    starts = [leaf for _, leaves in first for leaf in leaves]
    following = [leaf for _, leaves in second for leaf in leaves]
    steps = [b - a for a, b in zip(starts, following, strict=True)]
    counting = [index for index, step in enumerate(steps) if step]
    if not counting:
        return Run(pattern, count)
    lead = counting[0]
    variable, start, step = names[lead], starts[lead], steps[lead]
    if any(steps[index] % step for index in counting):
        variable, start, step = "index", 0, 1
    # The variable must not hide what the pattern reads.
    read = names_read(member.item for member in pattern)
    variable = next(name for name in _spellings(variable) if name not in read)
    leaves: list[Expr] = []
    for value, each in zip(starts, steps, strict=True):
        factor = each // step
        over = mul(Name(variable), literal(factor)) if factor else literal(0)
        leaves.append(add(over, literal(value - factor * start)))
    supply = iter(leaves)
    return Run(tuple(_put_together(m, supply) for m in pattern), count, variable, start, step)


def _spellings(name: str) -> Iterator[str]:
    yield from (name, "index")
    yield from (f"index{number}" for number in counted(2))


def _is_leaf(value: Expr) -> bool:
    return isinstance(value, Literal) and type(value.value) is int


def _arguments(call: Call) -> Iterator[Arguments]:
    yield call.arguments
    yield from (filled.arguments for _, filled in call.slots if filled is not None)


def _leaf_names(member: Member) -> list[str]:
    if isinstance(member.item, Apply):
        return []
    return [n for given in _arguments(member.item) for n, value in given if _is_leaf(value)]


def _taken_apart(member: Member) -> tuple[object, Leaves]:
    """A member without its name and its integers, and these."""
    item = member.item
    if isinstance(item, Apply):
        return (item.op, member.in_place), ()
    leaves: list[int] = []

    def without(given: Arguments) -> tuple[object, ...]:
        rest: list[object] = []
        for name, value in given:
            if isinstance(value, Literal) and type(value.value) is int:
                leaves.append(value.value)
                rest.append(name)
            else:
                rest.append((name, value))
        return tuple(rest)

    arguments = without(item.arguments)
    slots = tuple(
        (slot, filled and (filled.function, without(filled.arguments)))
        for slot, filled in item.slots
    )
    return (item.function, arguments, slots, item.splice), tuple(leaves)


def _put_together(member: Member, leaves: Iterator[Expr]) -> Member:
    """The member with its integers replaced, in the order in which `_taken_apart` took them."""
    item = member.item
    if isinstance(item, Apply):
        return member

    def filled_in(given: Arguments) -> Arguments:
        return tuple((n, next(leaves) if _is_leaf(value) else value) for n, value in given)

    arguments = filled_in(item.arguments)
    slots = tuple(
        (slot, filled and Reference(filled.function, filled_in(filled.arguments)))
        for slot, filled in item.slots
    )
    return replace(member, item=replace(item, arguments=arguments, slots=slots))
