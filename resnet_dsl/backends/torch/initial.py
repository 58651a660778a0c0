"""Initial weights: what the spec asks for, as far as torch does not do it by itself.

Most convolutions and most linear layers of a network are drawn alike: one loop over the modules
does those (torch's own default needs none). The exceptions, and fills of a normalisation's weight,
follow, addressed from the block that holds them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from resnet_dsl.backends.layout import Atom, Call, Group, Line, Node, deeper, keyword
from resnet_dsl.ir import program as ir
from resnet_dsl.ir.calls import members
from resnet_dsl.ir.expr import Expr
from resnet_dsl.ir.ops import BatchNorm, Conv, FrozenBatchNorm, GroupNorm, Init, Linear
from resnet_dsl.ir.program import Apply, Chain, Function, Program, SymbolicOp

TORCH_DEFAULT = "uniform"


@dataclass(frozen=True, slots=True)
class Special:
    """An operation that the general loop does not leave as it should be; `path` leads to it from
    the module that addresses it."""

    path: str
    op: SymbolicOp


@dataclass(frozen=True, slots=True)
class Kind:
    """How most operations of a kind are drawn; `biases` says which of them have one."""

    init: Init
    biases: Literal["all", "some", "none"]

    @classmethod
    def of(cls, ops: Sequence[Conv[Expr] | Linear[Expr]]) -> Kind | None:
        """The commonest way; None where there are no operations."""
        if not ops:
            return None
        commonest = Counter(op.init for op in ops).most_common(1)[0][0]
        with_bias = sum(op.bias for op in ops)
        biases: Literal["all", "some", "none"] = "some" if with_bias else "none"
        return cls(commonest, "all" if with_bias == len(ops) else biases)

    @property
    def is_default(self) -> bool:
        """Whether torch draws so by itself."""
        return self.init.kind == TORCH_DEFAULT


@dataclass
class Policy:
    """What is drawn how."""

    program: Program
    conv: Kind | None
    linear: Kind | None
    _chains: dict[str, tuple[Special, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, program: Program) -> Policy:
        """The commonest ways of drawing are the general ones."""
        ops = list(operations(program))
        return cls(
            program,
            Kind.of([op for op in ops if isinstance(op, Conv)]),
            Kind.of([op for op in ops if isinstance(op, Linear)]),
        )

    def specials(self, body: Sequence[ir.Statement]) -> Iterator[Special]:
        """The exceptions that a body has to address: its own, and those in chains that it calls.
        Blocks address theirs themselves."""
        for item in body:
            yield from self._in(item, "")

    def general_branches(self) -> list[Line]:
        """The branches, for each `module`, that draw what follows the rule."""
        conv, linear = self._general_conv(), self._general_linear()
        if conv == linear:
            return branch(["nn.Conv2d", "nn.Linear"], conv)
        if conv == _ZERO_BIAS:  # one test in place of two, the second inside of the first
            test = Atom("isinstance(module, nn.Conv2d) and module.bias is not None")
            return [Line(test, "if ", ":"), *conv[1:], *branch(["nn.Linear"], linear, first=False)]
        return [*branch(["nn.Conv2d"], conv), *branch(["nn.Linear"], linear, first=not conv)]

    def _general_conv(self) -> list[Line]:
        if self.conv is None:
            return []
        lines = [] if self.conv.is_default else [Line(draw(self.conv.init, "module.weight"))]
        # torch would draw a convolution's bias; here it is zero. (To a type checker it may be None.)
        return lines if self.conv.biases == "none" else [*lines, *_ZERO_BIAS]

    def _general_linear(self) -> list[Line]:
        if self.linear is None or self.linear.is_default:
            return []
        lines = [Line(draw(self.linear.init, "module.weight"))]
        match self.linear.biases:
            case "all":
                return [*lines, Line(_ZERO_BIAS[1].node)]
            case "some":
                return [*lines, *_ZERO_BIAS]
            case "none":
                return lines

    def lines(self, special: Special, holder: str) -> list[Line]:
        """The statements that set an exception right."""
        path, op = special.path, special.op
        nested = "." in path

        def tensor(name: str, kind: str = "parameter", *, optional: bool = False) -> str:
            if nested or optional:
                return f'{holder}.get_{kind}("{path}.{name}")'
            return f"{holder}.{path}.{name}"

        match op:
            case Conv() | Linear():
                lines = []
                if not self._is_general(op):
                    if op.init.kind != TORCH_DEFAULT:
                        lines.append(Line(draw(op.init, tensor("weight"))))
                    elif nested:
                        kind = "nn.Conv2d" if isinstance(op, Conv) else "nn.Linear"
                        found = Call(f"{holder}.get_submodule", (Atom(f'"{path}"'),))
                        lines += [
                            Line(found, "layer = "),
                            Line(Call("isinstance", (Atom("layer"), Atom(kind))), "if ", ":"),
                            Line(Call("layer.reset_parameters"), depth=1),
                        ]
                    else:
                        lines.append(Line(Call(f"{holder}.{path}.reset_parameters")))
                if self._has_own_bias(op):
                    bias = tensor("bias", optional=isinstance(op, Conv))
                    lines.append(Line(fill(op.bias_fill, bias)))
                return lines
            case FrozenBatchNorm():
                return [Line(fill(op.gamma, tensor("weight", "buffer")))]
            case BatchNorm() | GroupNorm():
                return [Line(fill(op.gamma, tensor("weight")))]
            case _:
                raise AssertionError(f"{type(op).__name__} has no weights")

    def _is_general(self, op: Conv[Expr] | Linear[Expr]) -> bool:
        kind = self.conv if isinstance(op, Conv) else self.linear
        return kind is not None and kind.init == op.init

    def _has_own_bias(self, op: Conv[Expr] | Linear[Expr]) -> bool:
        """Whether the bias is left at another value than the operation asks for."""
        if not op.bias or (isinstance(op, Linear) and op.init.kind == TORCH_DEFAULT):
            return False
        drawn_anew = not self._is_general(op) and op.init.kind == TORCH_DEFAULT
        unfilled = isinstance(op, Linear) and self.linear is not None and self.linear.is_default
        return op.bias_fill != 0.0 or drawn_anew or unfilled

    def _in(self, item: ir.Statement, prefix: str) -> Iterator[Special]:
        match item:
            case Apply(name, op):
                if self._is_special(op):
                    yield Special(prefix + name, op)
            case ir.Call():
                function = self.program.functions[item.function]
                if item.splice:
                    yield from _shifted(self._chain(function), prefix, int(item.name))
                elif function.kind == "chain":
                    yield from _under(self._chain(function), f"{prefix}{item.name}.")
                for slot, filled in item.slots:
                    if filled is not None:
                        inside = self.program.functions[filled.function]
                        if inside.kind == "chain":
                            yield from _under(self._chain(inside), f"{prefix}{item.name}.{slot}.")
            case Chain(name, members):
                for member in members:
                    yield from self._in(member, f"{prefix}{name}.")
            case ir.UseSlot():
                return

    def _chain(self, function: Function) -> tuple[Special, ...]:
        if function.name not in self._chains:
            self._chains[function.name] = tuple(self.specials(function.body))
        return self._chains[function.name]

    def _is_special(self, op: SymbolicOp) -> bool:
        match op:
            case Conv() | Linear():
                return not self._is_general(op) or self._has_own_bias(op)
            case BatchNorm() | GroupNorm() | FrozenBatchNorm():
                return op.gamma != 1.0
            case _:
                return False


def operations(program: Program) -> Iterator[SymbolicOp]:
    """Every operation that stands in the program, once for each place."""
    for function in (program.main, *program.functions.values()):
        for member in members(function.body):
            if isinstance(member, Apply):
                yield member.op


def draw(init: Init, tensor: str) -> Node:
    """The call that draws a weight."""
    weight = Atom(tensor)
    mode = [keyword("mode", '"fan_out"')] if init.mode == "fan_out" else []
    match init.kind:
        case "he_normal" | "he_uniform":
            function = f"nn.init.{init.kind.replace('he', 'kaiming')}_"
            return Call(function, (weight, *mode, keyword("nonlinearity", '"relu"')))
        case "xavier_normal" | "xavier_uniform":
            return Call(f"nn.init.{init.kind}_", (weight,))
        case "normal":
            return Call("nn.init.normal_", (weight, keyword("std", repr(init.scale))))
        case "zeros":
            return Call("nn.init.zeros_", (weight,))
        case "uniform":
            raise ValueError("torch draws so by itself")


def fill(value: float, tensor: str) -> Node:
    """The call that fills a tensor."""
    names = {0.0: "nn.init.zeros_", 1.0: "nn.init.ones_"}
    if value in names:
        return Call(names[value], (Atom(tensor),))
    return Call("nn.init.constant_", (Atom(tensor), Atom(repr(value))))


_ZERO_BIAS = [
    Line(Atom("module.bias is not None"), "if ", ":"),
    Line(fill(0.0, "module.bias"), depth=1),
]


def branch(kinds: Sequence[str], lines: Sequence[Line], *, first: bool = True) -> list[Line]:
    """`lines`, for modules of these classes."""
    if not lines:
        return []
    names = tuple(Atom(kind) for kind in kinds)
    of = names[0] if len(names) == 1 else Group("(", names)
    test = Call("isinstance", (Atom("module"), of))
    return [Line(test, "if " if first else "elif ", ":"), *deeper(lines)]


def _under(specials: Sequence[Special], prefix: str) -> Iterator[Special]:
    return (Special(prefix + each.path, each.op) for each in specials)


def _shifted(specials: Sequence[Special], prefix: str, start: int) -> Iterator[Special]:
    for each in specials:
        first, dot, rest = each.path.partition(".")
        yield Special(f"{prefix}{start + int(first)}{dot}{rest}", each.op)
