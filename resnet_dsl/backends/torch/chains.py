"""Calls and chains as expressions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from resnet_dsl.backends.layout import Atom, Call, Each, Group, Node, Noted, Prefixed, keyword
from resnet_dsl.backends.torch.expressions import Writer
from resnet_dsl.backends.torch.modules import constructor
from resnet_dsl.backends.torch.names import LAYER, Names, Spelling
from resnet_dsl.backends.torch.runs import Member, Run, runs
from resnet_dsl.ir import program as ir
from resnet_dsl.ir.calls import names_read
from resnet_dsl.ir.ops import (
    Add,
    BatchNorm,
    Concat,
    Conv,
    FrozenBatchNorm,
    Gate,
    GroupNorm,
    Linear,
)
from resnet_dsl.ir.program import Function, Program, SymbolicOp

CHANNELS = ("in", "out", "width")
"""Parameters that a reader tells apart by their places; all others are given by name."""


@dataclass(frozen=True)
class Module:
    """The file being written: its functions and how it spells them."""

    program: Program
    names: Names
    spelled: Mapping[str, str]
    spellings: Mapping[str, Spelling]
    spliced: frozenset[str]
    lengths: dict[str, int] = field(default_factory=dict)

    @property
    def functions(self) -> Mapping[str, Function]:
        return self.program.functions

    def length(self, members: Sequence[ir.Statement]) -> int:
        """How many members a chain has once spliced calls have been opened."""
        return sum(
            self._function_length(item.function) if isinstance(item, ir.Call) and item.splice else 1
            for item in members
        )

    def _function_length(self, name: str) -> int:
        if name not in self.lengths:  # callees are shallow: as deep as definitions call one another
            self.lengths[name] = self.length(self.functions[name].body)
        return self.lengths[name]

    def call(self, site: ir.Call | ir.Reference, write: Writer) -> Node:
        """The call that constructs what `site` stands for."""
        function = self.functions[site.function]
        spelling = self.spellings[site.function]
        given = dict(site.arguments)
        arguments: list[Node] = []
        in_place = True
        for parameter in function.parameters:
            in_place = in_place and parameter.default is None and parameter.name in CHANNELS
            if parameter.name in given:
                name = "" if in_place else f"{spelling.parameters[parameter.name]}="
                arguments.append(Prefixed(name, Atom(write(given[parameter.name], name))))
        for slot, filled in site.slots if isinstance(site, ir.Call) else ():
            if filled is not None:
                arguments.append(keyword(spelling.slots[slot], self.module(filled, write)))
        return Call(self.spelled[site.function], tuple(arguments))

    def module(self, site: ir.Call | ir.Reference, write: Writer) -> Node:
        """As `call`, but one module even where the function gives a list."""
        called = self.call(site, write)
        if site.function in self.spliced:
            return Call("nn.Sequential", (Prefixed("*", called),))
        return called

    def chain(
        self,
        members: Sequence[ir.Apply | ir.Call],
        write: Writer,
        notes: Mapping[int, str] | None = None,
    ) -> tuple[Node, ...]:
        """The arguments of an nn.Sequential. `notes` are comments above the member at which a part
        of the chain begins; no loop runs across one."""
        found: list[Node] = []
        starts = sorted({0, *(notes or ())})
        for start, end in zip(starts, [*starts[1:], len(members)], strict=True):
            nodes = [
                node for run in runs(in_place(members[start:end])) for node in self._run(run, write)
            ]
            if notes and start in notes and nodes:
                nodes[0] = Noted(notes[start], nodes[0])
            found += nodes
        return tuple(found)

    def sequential(
        self,
        members: Sequence[ir.Apply | ir.Call],
        write: Writer,
        notes: Mapping[int, str] | None = None,
    ) -> Node:
        """An nn.Sequential of the members."""
        nodes = self.chain(members, write, notes)
        return Call("nn.Sequential", nodes, exploded=len(nodes) > 1)

    def _run(self, run: Run, write: Writer) -> Iterator[Node]:
        if run.count == 1:
            yield from (self._member(member, write) for member in run.pattern)
            return
        variable = "_"
        inner = write
        if run.variable is not None:
            called = run.pattern[0].item
            spelled = run.variable
            if isinstance(called, ir.Call):
                spelled = self.spellings[called.function].parameters.get(spelled, spelled)
            read = names_read(member.item for member in run.pattern) - {run.variable}
            variable = self.names.inner({write.spelled(name) for name in read}).take(spelled)
            inner = write.renaming(run.variable, variable)
        loop = Atom(f"for {variable} in {_range(run)}")
        first = run.pattern[0]
        if isinstance(first.item, ir.Call) and first.item.splice:
            over = Prefixed(f"for {LAYER} in ", self.call(first.item, inner))
            yield Prefixed("*", Each(Atom(LAYER), (loop, over)))
            return
        nodes = tuple(self._member(member, inner) for member in run.pattern)
        if len(nodes) == 1:
            yield Prefixed("*", Each(nodes[0], (loop,)))
            return
        pattern = Prefixed(f"for {LAYER} in ", Group("(", nodes))
        yield Prefixed("*", Each(Atom(LAYER), (loop, pattern)))

    def _member(self, member: Member, write: Writer) -> Node:
        match member.item:
            case ir.Apply(_, op):
                return constructor(op, write, in_place=member.in_place)
            case ir.Call(splice=True):
                return Prefixed("*", self.call(member.item, write))
            case ir.Call():
                return self.module(member.item, write)
            case _:
                assert_never(member.item)


def in_place(members: Sequence[ir.Apply | ir.Call]) -> list[Member]:
    """The members, each marked where it may write into its input: into what the operation before
    it made, if that does not need its result for its gradient and nothing else can read it."""
    before = [None, *(item.op if isinstance(item, ir.Apply) else None for item in members)]
    return [Member(item, writable(op)) for item, op in zip(members, before[:-1], strict=True)]


def writable(op: SymbolicOp | None) -> bool:
    """Whether the gradient of `op` does without its result, which is no view of its input."""
    return isinstance(
        op, Conv | Linear | BatchNorm | FrozenBatchNorm | GroupNorm | Add | Concat | Gate
    )


def _range(run: Run) -> str:
    if run.variable is None:
        return f"range({run.count})"
    stop = run.start + run.step * run.count
    if run.step != 1:
        # The end that a person would write: just past the last value.
        stop += (1 if run.step > 0 else -1) - run.step
        return f"range({run.start}, {stop}, {run.step})"
    return f"range({run.start}, {stop})" if run.start else f"range({stop})"
