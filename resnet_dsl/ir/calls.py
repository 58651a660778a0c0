"""Walks over the calls of a program, and rewrites of what a function's body holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias

from resnet_dsl.ir.expr import Expr, names
from resnet_dsl.ir.program import (
    Apply,
    Arguments,
    Call,
    Chain,
    Function,
    Program,
    Reference,
    Statement,
    UseSlot,
)
from resnet_dsl.ir.symbolic import free_names, rewritten

Site: TypeAlias = Call | Reference


def members(body: Iterable[Statement]) -> Iterator[Statement]:
    """The statements of a body, and those inside of its chains."""
    for statement in body:
        yield from statement.members if isinstance(statement, Chain) else (statement,)


def sites(body: Iterable[Statement]) -> Iterator[Site]:
    """Every call in a body, and every function handed to a slot."""
    for member in members(body):
        if isinstance(member, Call):
            yield member
            yield from (filled for _, filled in member.slots if filled is not None)


def callers_first(program: Program) -> list[str]:
    """The functions that are reachable, every one after all that call it."""
    order: list[str] = []
    done: set[str] = set()
    stack = [(program.main.name, _callees(program.main))]
    while stack:
        name, rest = stack[-1]
        for callee in rest:
            if callee not in done:
                done.add(callee)
                stack.append((callee, _callees(program.functions[callee])))
                break
        else:
            stack.pop()
            order.append(name)
    return order[-2::-1]  # main is last, and is not among the functions


def _callees(function: Function) -> Iterator[str]:
    return iter(dict.fromkeys(site.function for site in sites(function.body)))


def map_members(
    body: Iterable[Statement], change: Callable[[Apply | Call], Apply | Call]
) -> tuple[Statement, ...]:
    """The body with every operation and every call rewritten, those inside of its chains too."""

    def statement(item: Statement) -> Statement:
        match item:
            case Apply() | Call():
                return change(item)
            case Chain():
                return replace(item, members=tuple(change(each) for each in item.members))
            case UseSlot():
                return item

    return tuple(statement(item) for item in body)


def map_sites(function: Function, change: Callable[[str, Arguments], Arguments]) -> Function:
    """The function with the arguments of every call, and of every filled slot, rewritten."""

    def reference(item: Reference | None) -> Reference | None:
        return item and replace(item, arguments=change(item.function, item.arguments))

    def member(item: Apply | Call) -> Apply | Call:
        if isinstance(item, Apply):
            return item
        slots = tuple((slot, reference(filled)) for slot, filled in item.slots)
        return replace(item, arguments=change(item.function, item.arguments), slots=slots)

    return replace(function, body=map_members(function.body, member))


def map_ops(function: Function, change: Callable[[Expr], Expr]) -> Function:
    """The function with every expression of its operations rewritten."""

    def member(item: Apply | Call) -> Apply | Call:
        return replace(item, op=rewritten(item.op, change)) if isinstance(item, Apply) else item

    return replace(function, body=map_members(function.body, member))


def names_read(body: Iterable[Statement]) -> frozenset[str]:
    """The names that the operations and calls of a body read: the parameters of its function."""
    read: set[str] = set()
    for member in members(body):
        if isinstance(member, Apply):
            read |= free_names(member.op)
        for site in sites((member,)):
            for _, value in site.arguments:
                read |= names(value)
    return frozenset(read)
