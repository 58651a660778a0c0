"""The IR as text: what `--stop-after` prints and golden tests compare. One statement a line, in order.

    graph     = "graph" name shape newline {section | node} "  return" value newline {feature}
    program   = "program" name shape "classes=" int newline {function}
    function  = kind name "(" [parameter {", " parameter}] ")" {" <" slot ">"} newline
                {section | statement} "  return" value newline
    kind      = "main" | "block" | "chain"
    parameter = name ":" type ["=" value]
    section   = "  " group ":" newline                      # what follows belongs to this stage
    node      = "    " value "=" apply {note} ":" [dtype] shape newline
    statement = "    " value "=" (apply | call | slot | chain) newline
    apply     = operation name "(" [value {", " value}] ")" {attribute}
    call      = "call" name "=" use ["(" value ")"] {slot "=" (use | "none")} ["splice"]
    use       = function "(" [name "=" expr {", " name "=" expr}] ")"
    slot      = "slot" name "(" value ")"
    chain     = "chain" name "(" value ")" {newline "      | " (apply | call)}
    attribute = expr "->" expr | expr | name "=" expr | name  # channels first; defaults are left out
    note      = "folds=" path | "weights=" path | "stored=" type
    feature   = "  feature" name "=" value newline
    value     = "%" int                                       # %0 is the input
    shape     = "(" int {", " int} ")"

An operation is its class in lower case with underscores; an activation is its kind. A pair of equal numbers is
written once, others as `3x1`. An expression with a space in it is in parentheses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from functools import cache

from resnet_dsl.ir.expr import EXPR_TYPES, to_source
from resnet_dsl.ir.graph import ConcreteOp, FoldedWeight, Graph, Node, Shape
from resnet_dsl.ir.ops import Activation, Init
from resnet_dsl.ir.program import (
    Apply,
    Arguments,
    Call,
    Chain,
    Function,
    Program,
    Reference,
    Statement,
    SymbolicOp,
    UseSlot,
)

# What goes without saying, as text, so that the number 1 and the expression 1 are both left out.
_QUIET = {
    "stride": "1",
    "padding": "0",
    "dilation": "1",
    "groups": "1",
    "bias_fill": "0.0",
    "gamma": "1.0",
    "side": "symmetric",
    "zero_point": "0",
}
_PLAIN = ("channels", "dtype", "rate", "size")
_SLOPED = ("leaky_relu", "elu")


def graph_text(graph: Graph) -> str:
    """The flat graph, one node a line with the shape of its result."""
    lines = [f"graph {graph.name} {_shape(graph.input)}"]
    group = None
    for number, node in enumerate(graph.nodes, start=1):
        if node.group != group:
            group = node.group
            lines.append(f"  {group or '-'}:")
        lines.append(f"    %{number} = {_node(node)}")
    lines.append(f"  return %{graph.output}")
    lines.extend(f"  feature {feature.name} = %{feature.value}" for feature in graph.features)
    return "\n".join(lines) + "\n"


def program_text(program: Program) -> str:
    """The program: its main function, then the functions that it calls, in their order."""
    lines = [f"program {program.name} {_shape(program.input)} classes={program.classes}"]
    lines.extend(_function(program.main, "main"))
    for function in program.functions.values():
        lines.append("")
        lines.extend(_function(function, function.kind))
    return "\n".join(lines) + "\n"


def operation(op: ConcreteOp | SymbolicOp) -> str:
    """The operation's word: `conv`, `batch_norm`, `relu`."""
    return op.kind if isinstance(op, Activation) else _snake(type(op).__name__)


def attributes(op: ConcreteOp | SymbolicOp) -> str:
    """What the operation's numbers are, defaults left out: `64->128 kernel=3 stride=2 padding=1`."""
    parts: list[str] = []
    before = ""
    for field in fields(op):
        value: object = getattr(op, field.name)
        match field.name:
            case "in_channels" | "in_features":
                before = _show(value)
            case "out_channels" | "out_features":
                parts.append(f"{before}->{_show(value)}")
            case "slope":
                if isinstance(op, Activation) and op.kind in _SLOPED:
                    parts.append(f"slope={_show(value)}")
            case "kind" if isinstance(op, Activation):
                pass
            case name if name in _PLAIN:
                parts.append(_show(value))
            case name if value is True:
                parts.append(name)
            case name if value is False or value == Init() or _show(value) == _QUIET.get(name):
                pass
            case name:
                parts.append(f"{name}={_show(value)}")
    return " ".join(parts)


def _node(node: Node) -> str:
    text = _apply(node.op, node.name, node.inputs)
    for constant in node.constants:
        source = constant.source
        if isinstance(source, FoldedWeight):
            text += f" folds={source.norm.gamma.key.removesuffix('.weight')}"
        elif constant is node.constants[0] and constant.name.rpartition(".")[0] != node.name:
            text += f" weights={constant.name.rpartition('.')[0]}"
    if node.constants and node.constants[0].encoding is not None:
        text += f" stored={node.constants[0].encoding}"
    dtype = "" if node.dtype == "float32" else f"{node.dtype} "
    return f"{text} : {dtype}{_shape(node.shape)}"


def _function(function: Function, kind: str) -> Iterator[str]:
    parameters = ", ".join(
        f"{item.name}: {item.type}" + ("" if item.default is None else f" = {item.default!r}")
        for item in function.parameters
    )
    slots = "".join(f" <{slot}>" for slot in function.slots)
    yield f"{kind} {function.name}({parameters}){slots}"
    group = ""
    for number, statement in enumerate(function.body, start=1):
        own = "" if isinstance(statement, UseSlot) else statement.group
        if own != group:
            group = own
            yield f"  {group or '-'}:"
        yield f"    %{number} = {_statement(statement)}"
    yield f"  return %{function.result}"


def _statement(statement: Statement) -> str:
    match statement:
        case Apply(name, op, operands):
            return _apply(op, name, operands)
        case Call():
            return _call(statement, f"(%{statement.operand})")
        case UseSlot(name, operand):
            return f"slot {name}(%{operand})"
        case Chain(name, members, operand):
            lines = [f"chain {name}(%{operand})"]
            for member in members:
                text = (
                    _call(member, "")
                    if isinstance(member, Call)
                    else _apply(member.op, member.name, ())
                )
                lines.append(f"      | {text}")
            return "\n".join(lines)


def _apply(op: ConcreteOp | SymbolicOp, name: str, operands: tuple[int, ...]) -> str:
    values = ", ".join([f"%{value}" for value in operands])
    return f"{operation(op)} {name}({values}) {attributes(op)}".rstrip()


def _call(call: Call, operand: str) -> str:
    text = f"call {call.name} = {_use(call.function, call.arguments)}{operand}"
    for slot, reference in call.slots:
        text += f" {slot}={_reference(reference)}"
    return f"{text} splice" if call.splice else text


def _reference(reference: Reference | None) -> str:
    return "none" if reference is None else _use(reference.function, reference.arguments)


def _use(function: str, arguments: Arguments) -> str:
    return f"{function}({', '.join(f'{name}={to_source(value)}' for name, value in arguments)})"


def _show(value: object) -> str:
    if isinstance(value, EXPR_TYPES):
        source = to_source(value)
        return f"({source})" if " " in source else source
    if isinstance(value, tuple):
        first, *rest = [_show(item) for item in value]
        return first if all(item == first for item in rest) else "x".join([first, *rest])
    if isinstance(value, Init):
        return _init(value)
    return str(value)


def _init(init: Init) -> str:
    if init.kind.startswith("he"):
        return f"{init.kind}({init.mode})"
    return f"normal({init.scale})" if init.kind == "normal" else init.kind


def _shape(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))})"


@cache
def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
