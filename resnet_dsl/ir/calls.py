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
    called: dict[str, list[str]] = {}
    pending = [program.main]
    while pending:
        function = pending.pop()
        for site in sites(function.body):
            if site.function not in called:
                called[site.function] = []
                pending.append(program.functions[site.function])
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


def map_sites(function: Function, change: Callable[[str, Arguments], Arguments]) -> Function:
    """The function with the arguments of every call, and of every filled slot, rewritten."""

    def reference(item: Reference | None) -> Reference | None:
        return item and replace(item, arguments=change(item.function, item.arguments))

    def member(item: Apply | Call) -> Apply | Call:
        if isinstance(item, Apply):
            return item
        slots = tuple((slot, reference(filled)) for slot, filled in item.slots)
        return replace(item, arguments=change(item.function, item.arguments), slots=slots)

    def statement(item: Statement) -> Statement:
        match item:
            case Apply() | Call():
                return member(item)
            case Chain():
                return replace(item, members=tuple(member(each) for each in item.members))
            case UseSlot():
                return item

    return replace(function, body=tuple(statement(item) for item in function.body))


def map_ops(function: Function, change: Callable[[Expr], Expr]) -> Function:
    """The function with every expression of its operations rewritten."""

    def member(item: Apply | Call) -> Apply | Call:
        return replace(item, op=rewritten(item.op, change)) if isinstance(item, Apply) else item

    def statement(item: Statement) -> Statement:
        match item:
            case Apply():
                return member(item)
            case Chain():
                return replace(item, members=tuple(member(each) for each in item.members))
            case Call() | UseSlot():
                return item

    return replace(function, body=tuple(statement(item) for item in function.body))


def names_read(function: Function) -> frozenset[str]:
    """The parameters that a function's operations and calls read."""
    read: set[str] = set()
    for site in sites(function.body):
        for _, value in site.arguments:
            read |= names(value)
    for member in members(function.body):
        if isinstance(member, Apply):
            read |= free_names(member.op)
    return frozenset(read)
