"""Program to one source file that depends on torch alone."""

from __future__ import annotations

from collections.abc import Iterator

from resnet_dsl.backends.layout import INDENT, Atom, Group, flat, signature, statement
from resnet_dsl.backends.templates import environment
from resnet_dsl.backends.torch.backbone import backbone
from resnet_dsl.backends.torch.chains import Module
from resnet_dsl.backends.torch.definitions import definition
from resnet_dsl.backends.torch.expressions import MATH_FUNCTIONS, Writer
from resnet_dsl.backends.torch.initial import Policy, operations
from resnet_dsl.backends.torch.modules import helper
from resnet_dsl.backends.torch.names import Names, Spelling, identifier, variable
from resnet_dsl.backends.torch.network import Network
from resnet_dsl.backends.torch.prose import docstring, quoted
from resnet_dsl.backends.torch.summary import Facts, summary
from resnet_dsl.ir.calls import sites
from resnet_dsl.ir.ops import Concat, Flatten
from resnet_dsl.ir.program import Apply, Call, Program
from resnet_dsl.passes.specialise import specialise

DEFAULT_STAGES = 3  # of a backbone: the last ones
_WITH_TORCH = frozenset({"FrozenBatchNorm2d"})  # helpers that call torch's own functions
_HELPER_FUNCTIONS = frozenset({"make_divisible"})


def emit(program: Program, facts: Facts) -> str:
    """The source of the network; the same program gives the same text.

    Raises CompileError (RD610) where a module's name is one that torch or Python needs.
    """
    program = specialise(program)
    names = Names()
    factory = names.take(identifier(program.name))
    name = _network_class(program.name, names)
    module = _module(program, names)
    writers = [Writer({"classes": "num_classes"}, names, program.main.parameters, 2 * INDENT)]
    network = Network.of(module, name, Policy.of(program), writers[0])
    functions = [definition(function, module, writers) for function in program.functions.values()]
    invoked = set().union(*(each.functions for each in writers))
    helpers = sorted({found for op in operations(program) if (found := helper(op)) is not None})
    split = network.cut > 0
    exported = [name, factory, *([f"{name}Backbone", f"{factory}_backbone"] if split else [])]
    finished: dict[str, object] = {
        "docstring": docstring(summary(program, facts, factory, module), 0),
        "imports": list(_imports(program, helpers, invoked, split=split)),
        "exported": statement(
            "__all__ = ", Group("[", tuple(Atom(quoted(each)) for each in sorted(exported)))
        ),
        "helpers": [*helpers, *(_HELPER_FUNCTIONS & invoked)],
        "definitions": [*functions, *network.classes()],
        "backbone": backbone(network) if split else None,
        "name": name,
        "factories": _factories(program, factory, name),
    }
    return environment("resnet_dsl.backends.torch").get_template("module.py.j2").render(finished)


def _factories(program: Program, factory: str, name: str) -> tuple[list[str], list[str]]:
    """The heads of the functions that construct the network and its backbone."""
    last = tuple(Atom(quoted(feature.stage)) for feature in program.features[-DEFAULT_STAGES:])
    stages = f"stages: Sequence[str] = {flat(Group('(', last))}"
    network = signature(factory, [f"num_classes: int = {program.classes}"], name)
    backbone = signature(f"{factory}_backbone", [stages], f"{name}Backbone")
    return _excused(network, factory), _excused(backbone, factory)


def _excused(lines: list[str], factory: str) -> list[str]:
    """A function is named as the spec, whatever a linter thinks of capital letters."""
    return lines if factory.islower() else [f"{lines[0]}  # noqa: N802", *lines[1:]]


def _network_class(name: str, names: Names) -> str:
    """A class name that is free together with those of the trunk and the backbone."""
    wanted = names.take_class(name)
    names.take(f"{wanted}Trunk")
    names.take(f"{wanted}Backbone")
    names.take(f"{identifier(name)}_backbone")
    return wanted


def _module(program: Program, names: Names) -> Module:
    spelled = {
        name: names.take(variable(name)) if function.kind == "chain" else names.take_class(name)
        for name, function in program.functions.items()
    }
    spellings = {name: Spelling.of(item, names) for name, item in program.functions.items()}
    everything = (program.main, *program.functions.values())
    spliced = frozenset(
        site.function
        for function in everything
        for site in sites(function.body)
        if isinstance(site, Call) and site.splice
    )
    return Module(program, names, spelled, spellings, spliced)


def _imports(
    program: Program, helpers: list[str], invoked: set[str], *, split: bool
) -> Iterator[str]:
    standard = ["import math"] if invoked & MATH_FUNCTIONS.keys() else []
    if split:
        standard += ["from collections.abc import Sequence", "from typing import ClassVar"]
    yield from (*standard, "") if standard else ()
    blocks = (f for f in (program.main, *program.functions.values()) if f.kind == "block")
    called = any(
        isinstance(item, Apply) and isinstance(item.op, Flatten | Concat)
        for function in blocks
        for item in function.body
    )
    if called or _WITH_TORCH & {*helpers}:
        yield "import torch"
    yield "from torch import Tensor, nn"
