"""Inline: Program to Graph.

Every call is replaced by its function's statements with the arguments in place of the parameters;
module names are joined by dots. A slot becomes the function that the call put in it, or nothing.

Requires: calls do not recurse (the lowering refuses that). Ensures: node names are module paths,
constants are state-dict keys, every number is concrete. Time is linear in the number of nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from resnet_dsl.ir.expr import Value, evaluate
from resnet_dsl.ir.graph import ConcreteOp, Constant, Graph, Node, Output, Shape, Stored
from resnet_dsl.ir.parameters import ParameterSpec, parameters
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
from resnet_dsl.ir.shapes import infer
from resnet_dsl.ir.symbolic import concrete

Env = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class _Filled:
    """A slot's function with its arguments evaluated."""

    function: str
    env: Env


def inline(program: Program) -> Graph:
    """The flat graph of a program."""
    return _Inliner(program).graph()


def stored_constants(name: str, specs: tuple[ParameterSpec, ...]) -> tuple[Constant, ...]:
    """A node's weight operands; the counter of batches is no operand."""
    return tuple(
        Constant(
            f"{name}.{spec.name}",
            spec.shape,
            Stored(f"{name}.{spec.name}", spec.fill),
            spec.trainable,
        )
        for spec in specs
        if spec.dtype == "float32"
    )


class _Inliner:
    def __init__(self, program: Program) -> None:
        self.program = program
        self.nodes: list[Node] = []
        self.shapes: list[Shape] = [program.input]
        self._trunk_ends: dict[int, int] = {}
        self._ops: dict[tuple[int, tuple[tuple[str, Value], ...]], ConcreteOp] = {}
        self._specs: dict[int, tuple[ParameterSpec, ...]] = {}
        self._shapes: dict[tuple[int, tuple[Shape, ...]], Shape] = {}

    def graph(self) -> Graph:
        program = self.program
        values = self._statements(
            program.main.body, 0, "", {"classes": program.classes}, {}, "", ""
        )
        ends = self._trunk_ends
        features = tuple(
            Output(
                item.stage,
                values[item.value] if item.chain_end is None else ends[item.chain_end],
            )
            for item in program.features
        )
        return Graph(
            program.name,
            program.doc,
            program.input,
            tuple(self.nodes),
            values[program.main.result],
            features,
            program.spec_hash,
        )

    def _statements(
        self,
        body: tuple[Statement, ...],
        start: int,
        prefix: str,
        env: Env,
        slots: Mapping[str, _Filled | None],
        group: str,
        block: str,
    ) -> list[int]:
        """The graph's values of a body's values."""
        values = [start]
        key = tuple(env.items())
        for statement in body:
            inputs: tuple[int, ...]
            match statement:
                case Apply():
                    inputs = tuple([values[operand] for operand in statement.operands])
                    label = statement.group or group
                    name = prefix + statement.name
                    values.append(self._node(statement, name, inputs, env, key, label, block))
                case Call():
                    value = values[statement.operand]
                    values.append(
                        self._call(statement, value, prefix + statement.name, env, group, block, 0)
                    )
                case UseSlot():
                    filled = slots[statement.name]
                    value = values[statement.operand]
                    if filled is not None:
                        function = self.program.functions[filled.function]
                        path = f"{prefix}{statement.name}"
                        value = self._body(function, value, path, filled.env, {}, group, block, 0)
                    values.append(value)
                case Chain():
                    value = values[statement.operand]
                    values.append(self._chain(statement, value, prefix, env, key, group, block))
        return values

    def _chain(
        self,
        chain: Chain,
        value: int,
        prefix: str,
        env: Env,
        key: tuple[tuple[str, Value], ...],
        group: str,
        block: str,
    ) -> int:
        path = f"{prefix}{chain.name}."
        ends: dict[int, int] = {0: value}
        count = 0
        for member in chain.members:
            label = member.group or chain.group or group
            if isinstance(member, Apply):
                value = self._node(member, path + member.name, (value,), env, key, label, block)
                count += 1
            elif member.splice:
                value = self._call(
                    member, value, path.rstrip("."), env, label, block, int(member.name)
                )
                count += len(self.program.functions[member.function].body)
            else:
                value = self._call(member, value, path + member.name, env, label, block, 0)
                count += 1
            ends[count] = value
        if any(isinstance(member, Call) and member.splice for member in chain.members):
            self._trunk_ends = ends
        return value

    def _call(
        self, call: Call, value: int, path: str, env: Env, group: str, block: str, first: int
    ) -> int:
        function = self.program.functions[call.function]
        if function.kind == "block":
            block = path
        elif call.splice:
            block = f"{path}.{call.name}"
        slots = {name: self._fill(filled, env) for name, filled in call.slots}
        inner = _evaluated(call.arguments, env)
        return self._body(function, value, path, inner, slots, call.group or group, block, first)

    def _fill(self, reference: Reference | None, env: Env) -> _Filled | None:
        if reference is None:
            return None
        return _Filled(reference.function, _evaluated(reference.arguments, env))

    def _body(
        self,
        function: Function,
        value: int,
        path: str,
        env: Env,
        slots: Mapping[str, _Filled | None],
        group: str,
        block: str,
        first: int,
    ) -> int:
        body = function.body
        left_out = {p.name: p.default for p in function.parameters if p.default is not None}
        env = {**left_out, **env}
        if first:
            # A spliced chain continues the numbering of the chain that it stands in.
            key = tuple(env.items())
            for offset, statement in enumerate(body):
                name = f"{path}.{first + offset}"
                if isinstance(statement, Call):
                    value = self._call(statement, value, name, env, group, block, 0)
                else:
                    assert isinstance(statement, Apply)
                    value = self._node(statement, name, (value,), env, key, group, block)
            return value
        return self._statements(body, value, f"{path}.", env, slots, group, block)[function.result]

    def _node(
        self,
        statement: Apply,
        name: str,
        inputs: tuple[int, ...],
        env: Env,
        key: tuple[tuple[str, Value], ...],
        group: str,
        block: str,
    ) -> int:
        op = self._ops.get((id(statement), key))
        if op is None:
            op = concrete(statement.op, env)
            self._ops[id(statement), key] = op
        specs = self._specs.get(id(op))
        if specs is None:
            specs = self._specs[id(op)] = parameters(op)
        of = tuple([self.shapes[value] for value in inputs])
        shape = self._shapes.get((id(op), of))
        if shape is None:
            shape = self._shapes[id(op), of] = infer(op, of)
        self.nodes.append(
            Node(name, op, inputs, shape, stored_constants(name, specs), group, block)
        )
        self.shapes.append(shape)
        return len(self.nodes)


def _evaluated(arguments: Arguments, env: Env) -> dict[str, Value]:
    return {name: evaluate(tree, env) for name, tree in arguments}
