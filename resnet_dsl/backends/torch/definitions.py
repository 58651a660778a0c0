"""Functions of a program as functions and classes of the file."""

from __future__ import annotations

from resnet_dsl.backends.layout import INDENT, Atom, Call, Group, Node, signature, statement
from resnet_dsl.backends.torch.bodies import members, steps
from resnet_dsl.backends.torch.chains import Module
from resnet_dsl.backends.torch.expressions import Writer
from resnet_dsl.backends.torch.forward import lines as forward_lines
from resnet_dsl.backends.torch.prose import docstring, paragraphs
from resnet_dsl.backends.torch.summary import contents
from resnet_dsl.ir import program as ir
from resnet_dsl.ir.expr import literal, to_source
from resnet_dsl.ir.program import Function

PAD = " " * INDENT


def definition(function: Function, module: Module, writers: list[Writer]) -> list[str]:
    """The lines of a chain's function, or of a block's class; what wrote them joins `writers`."""
    written, indent = (_chain, INDENT) if function.kind == "chain" else (_block, 2 * INDENT)
    spelling = module.spellings[function.name].parameters
    writers.append(write := Writer(spelling, module.names, function.parameters, indent))
    return written(function, module, write)


def _chain(function: Function, module: Module, write: Writer) -> list[str]:
    gives_list = function.name in module.spliced
    plain = [item for item in function.body if isinstance(item, ir.Apply | ir.Call)]
    nodes = (
        module.chain(plain, write)
        if len(plain) == len(function.body)
        else tuple(_in_chain(item, function, module, write) for item in function.body)
    )
    result: Node = (
        Group("[", nodes, exploded=len(nodes) > 1)
        if gives_list
        else Call("nn.Sequential", nodes, exploded=len(nodes) > 1)
    )
    kind = "list[nn.Module]" if gives_list else "nn.Sequential"
    name = module.spelled[function.name]
    return [
        *signature(name, _parameters(function, module), kind),
        *docstring(_doc(function, module), INDENT),
        *write.statements,
        *statement("return ", result, indent=INDENT),
    ]


def _in_chain(item: ir.Statement, function: Function, module: Module, write: Writer) -> Node:
    match item:
        case ir.Apply() | ir.Call():
            return module.chain([item], write)[0]
        case ir.Chain():
            return module.sequential(item.members, write)
        case ir.UseSlot(name):
            slot = module.spellings[function.name].slots[name]
            filled = name in function.required_slots
            return Atom(slot if filled else f"nn.Identity() if {slot} is None else {slot}")


def _block(function: Function, module: Module, write: Writer) -> list[str]:
    own = members(function, module, write)
    path, values = steps(function, own.attributes, module)
    return [
        f"class {module.spelled[function.name]}(nn.Module):",
        *docstring(_doc(function, module), INDENT),
        "",
        *signature("__init__", ("self", *_parameters(function, module)), "None", indent=INDENT),
        f"{PAD}{PAD}super().__init__()",
        *write.statements,
        *(line for group in own.lines for line in group),
        "",
        f"{PAD}def forward(self, x: Tensor) -> Tensor:",
        *forward_lines(path, values[function.result], {0: "x"}),
    ]


def _parameters(function: Function, module: Module) -> tuple[str, ...]:
    """The parameters and slots as a signature has them: what has a default comes last."""
    spelling = module.spellings[function.name]
    required, optional = [], []
    for item in function.parameters:
        text = f"{spelling.parameters[item.name]}: {item.type}"
        if item.default is None:
            required.append(text)
        else:
            optional.append(f"{text} = {to_source(literal(item.default))}")
    for slot in function.slots:
        name = spelling.slots[slot]
        if slot in function.required_slots:
            required.append(f"{name}: nn.Module")
        else:
            optional.append(f"{name}: nn.Module | None = None")
    return (*required, *optional)


def _doc(function: Function, module: Module) -> list[str]:
    return paragraphs(function.doc) or contents(function, module)
