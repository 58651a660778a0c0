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

from resnet_dsl.ir import program as ir
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

    def general_branches(self) -> list[str]:
        """The branches, for each `module`, that draw what follows the rule."""
        branches: list[str] = []
        if self.conv is not None:
            # torch would draw a convolution's bias; here it is zero.
            lines = [] if self.conv.is_default else [draw(self.conv.init, "module.weight")]
            if self.conv.biases != "none":
                lines += ["if module.bias is not None:", "    nn.init.zeros_(module.bias)"]
            branches += _branch("nn.Conv2d", lines, first=True)
        if self.linear is not None and not self.linear.is_default:
            lines = [draw(self.linear.init, "module.weight")]
            if self.linear.biases == "all":
                lines.append("nn.init.zeros_(module.bias)")
            elif self.linear.biases == "some":
                lines += ["if module.bias is not None:", "    nn.init.zeros_(module.bias)"]
            branches += _branch("nn.Linear", lines, first=not branches)
        return branches

    def lines(self, special: Special, holder: str) -> list[str]:
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
                        lines.append(draw(op.init, tensor("weight")))
                    elif nested:
                        kind = "Conv2d" if isinstance(op, Conv) else "Linear"
                        lines += [
                            f'layer = {holder}.get_submodule("{path}")',
                            f"if isinstance(layer, nn.{kind}):",
                            "    layer.reset_parameters()",
                        ]
                    else:
                        lines.append(f"{holder}.{path}.reset_parameters()")
                if self._has_own_bias(op):
                    bias = tensor("bias", optional=isinstance(op, Conv))
                    lines.append(fill(op.bias_fill, bias))
                return lines
            case FrozenBatchNorm():
                return [fill(op.gamma, tensor("weight", "buffer"))]
            case BatchNorm() | GroupNorm():
                return [fill(op.gamma, tensor("weight"))]
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
        for item in function.body:
            for member in item.members if isinstance(item, Chain) else (item,):
                if isinstance(member, Apply):
                    yield member.op


def draw(init: Init, tensor: str) -> str:
    """The statement that draws a weight."""
    mode = 'mode="fan_out", ' if init.mode == "fan_out" else ""
    match init.kind:
        case "he_normal":
            return f'nn.init.kaiming_normal_({tensor}, {mode}nonlinearity="relu")'
        case "he_uniform":
            return f'nn.init.kaiming_uniform_({tensor}, {mode}nonlinearity="relu")'
        case "xavier_normal" | "xavier_uniform":
            return f"nn.init.{init.kind}_({tensor})"
        case "normal":
            return f"nn.init.normal_({tensor}, std={init.scale!r})"
        case "zeros":
            return f"nn.init.zeros_({tensor})"
        case "uniform":
            raise ValueError("torch draws so by itself")


def fill(value: float, tensor: str) -> str:
    """The statement that fills a tensor."""
    names = {0.0: "zeros_", 1.0: "ones_"}
    if value in names:
        return f"nn.init.{names[value]}({tensor})"
    return f"nn.init.constant_({tensor}, {value!r})"


def _branch(kind: str, lines: Sequence[str], *, first: bool) -> list[str]:
    if not lines:
        return []
    keyword = "if" if first else "elif"
    return [f"{keyword} isinstance(module, {kind}):", *(f"    {line}" for line in lines)]


def _under(specials: Sequence[Special], prefix: str) -> Iterator[Special]:
    return (Special(prefix + each.path, each.op) for each in specials)


def _shifted(specials: Sequence[Special], prefix: str, start: int) -> Iterator[Special]:
    for each in specials:
        first, dot, rest = each.path.partition(".")
        yield Special(f"{prefix}{start + int(first)}{dot}{rest}", each.op)
