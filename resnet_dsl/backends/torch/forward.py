"""The lines of a forward: data flow as the assignments that a person would write.

A value that one operation reads is nested into it (`self.relu(self.bn1(self.conv1(x)))`), so that
a line holds one layer: a convolution, a linear layer or a block, with the normalisation and
activation around it. Every other value gets a variable: that of its operand where nothing reads
that one again, and else a name that says what becomes of it (`identity`, `gate`, `scale`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Literal, TypeAlias

from resnet_dsl.backends.layout import INDENT, LINE_LENGTH, Atom, Call, Node, flat, statement
from resnet_dsl.backends.torch.prose import quoted

Kind: TypeAlias = Literal["layer", "light", "glance", "choice", "join"]
"""What a step is to a reader: the one layer of its line; what stands around a layer; the same, and
short enough to stand inside a join; a slot that may be empty; several operands."""

MAIN_LINE = ("x", "out", "inner")
BODY = 2 * INDENT
NESTED_WIDTH = LINE_LENGTH - BODY - len("identity = ")


@dataclass(frozen=True, slots=True)
class Step:
    """A statement: `write` gives its expression from those of its operands. `roles` name the
    values that it joins, and the last `repeated` of them it reads more than once; `feature` is the
    key under which the result is kept."""

    kind: Kind
    operands: tuple[int, ...]
    write: Callable[[Sequence[Node]], Node]
    roles: tuple[str, ...] = ()
    repeated: int = 0
    name: str = ""
    feature: str | None = None


@dataclass(slots=True)
class _Pending:
    """An expression that is not written yet; `variables` are those that it reads."""

    node: Node
    kind: Kind
    starts_light: bool
    variables: tuple[str, ...]
    depth: int


def lines(
    steps: Sequence[Step], result: int | None, given: Mapping[int, str], outcome: str = "y"
) -> list[str]:
    """The body of a forward, which returns `result` if there is one. `given` are the values that
    stand in variables at the start."""
    return _Forward(steps, result, dict(given), outcome).write()


@dataclass(slots=True)
class _Forward:
    steps: Sequence[Step]
    result: int | None
    variables: dict[int, str]
    outcome: str
    last_read: dict[int, int] = field(default_factory=dict)
    reads: dict[int, int] = field(default_factory=dict)
    next_reader: dict[int, int] = field(default_factory=dict)
    roles: dict[int, str] = field(default_factory=dict)
    holders: dict[str, int] = field(default_factory=dict)
    pending: dict[int, _Pending] = field(default_factory=dict)
    out: list[str] = field(default_factory=list)

    def write(self) -> list[str]:
        self._look_ahead()
        self.holders = {name: value for value, name in self.variables.items()}
        for index, step in enumerate(self.steps):
            if index + 1 in self.reads:
                self._step(index, step)
        if self.result is not None:
            self._finish(self.result)
        return self.out

    def _look_ahead(self) -> None:
        """Who reads each value, and what becomes of it; from the end, so that dead steps (which
        nothing reads) read nothing."""
        end = len(self.steps)
        if self.result is not None:
            self.reads[self.result] = 1
            self.last_read[self.result] = end
        for index in range(end - 1, -1, -1):
            step, value = self.steps[index], index + 1
            if step.feature is not None:
                self.reads.setdefault(value, 0)
            if value not in self.reads:
                continue
            for place, operand in enumerate(step.operands):
                self.reads[operand] = self.reads.get(operand, 0) + 1
                self.last_read.setdefault(operand, index)
                self.next_reader[operand] = index
                role = step.roles[place] if step.roles else self.roles.get(value, "out")
                self.roles[operand] = role

    def _step(self, index: int, step: Step) -> None:
        value = index + 1
        repeated = step.operands[len(step.operands) - step.repeated :]
        for operand in dict.fromkeys(step.operands):
            held = self.pending.get(operand)
            if held is not None and (operand in repeated or not self._nests(held, step)):
                self._assign(operand, index)
        parts = [self._use(operand) for operand in step.operands]
        node = step.write([part.node for part in parts])
        self.pending[value] = _Pending(
            node,
            step.kind,
            all(part.starts_light for part in parts) and step.kind in ("light", "glance"),
            tuple(name for part in parts for name in part.variables),
            1 + max(part.depth for part in parts),
        )
        if self._is_written_now(index, step):
            self._assign(value, index + 1)

    def _use(self, operand: int) -> _Pending:
        held = self.pending.pop(operand, None)
        if held is not None:
            return held
        name = self.variables[operand]
        return _Pending(Atom(name), "light", True, (name,), 0)

    def _nests(self, held: _Pending, step: Step) -> bool:
        """Whether the expression may stand inside of the step's."""
        text = flat(held.node)
        if text is None or len(text) + len(step.name) + len("self.()") > NESTED_WIDTH:
            return False
        match step.kind:
            case "light" | "glance":
                # Lights close around a layer or a join, but not around a line that began with them.
                return held.starts_light or not (held.kind == "layer" and held.depth > 1)
            case "layer":
                return held.starts_light
            case "join":
                return held.depth == 1 and held.kind in ("glance", "layer") and len(text) <= 40
            case "choice":
                return False

    def _is_written_now(self, index: int, step: Step) -> bool:
        value = index + 1
        if step.feature is not None or step.kind == "choice":
            return True
        if self.result == value and self.reads[value] == 1:
            return False
        if self.reads[value] != 1:
            return True
        reader = self.next_reader[value]
        if reader == index + 1:
            return False
        # What stands inside a join may wait for the join's other operands.
        waits = self.steps[reader].kind == "join"
        return not (waits and step.kind == "glance" and self.pending[value].depth == 1)

    def _assign(self, value: int, index: int) -> None:
        """Write the pending expression of `value`, before the step at `index`."""
        held = self.pending.pop(value)
        name = self._variable(value, held, index)
        feature = self.steps[value - 1].feature
        kept = f"outputs[{quoted(feature)}] = " if feature is not None else ""
        self.out += statement(f"{kept}{name} = ", held.node, indent=BODY)
        self.variables[value] = name
        self.holders[name] = value

    def _variable(self, value: int, held: _Pending, index: int) -> str:
        waiting = {name for other in self.pending.values() for name in other.variables}

        def is_free(name: str) -> bool:
            holder = self.holders.get(name)
            busy = holder is not None and self.last_read.get(holder, -1) >= index
            return not busy and name not in waiting

        role = self.roles.get(value, "out")
        if held.kind != "choice":
            # The oldest of its operands' variables: what a residual joins, it joins to the outer value.
            for name in self.holders:
                if name in held.variables and _continues(name, role) and is_free(name):
                    return name
        return next(filter(is_free, _spellings(role)))

    def _finish(self, result: int) -> None:
        name = self.outcome
        if result == 0:
            name = self.variables[result]
        else:
            self.out += statement(f"{name}: Tensor = ", self._use(result).node, indent=BODY)
        self.out.append(f"{' ' * BODY}return {name}")


def called(function: str) -> Callable[[Sequence[Node]], Node]:
    """Writes `function(operand)`."""
    return lambda operands: Call(function, tuple(operands))


def _continues(name: str, role: str) -> bool:
    """Whether a variable may go on as what `role` says."""
    plain = name.rstrip("0123456789")
    return role in (name, plain) or (role == "out" and plain in MAIN_LINE)


def _spellings(role: str) -> Iterator[str]:
    yield role
    role = "inner" if role == "out" else role  # a residual inside of a residual
    yield role
    between = "_" if role[-1].isdigit() else ""
    yield from (f"{role}{between}{number}" for number in count(2))
