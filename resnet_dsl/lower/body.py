"""Bodies to statements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import assert_never, cast

from resnet_dsl.ir import ops
from resnet_dsl.ir.expr import (
    Expr,
    Name,
    add,
    floordiv,
    literal,
    mul,
    sub,
    to_source,
)
from resnet_dsl.ir.ops import Init, InitKind, PadSide
from resnet_dsl.ir.program import Apply, Chain, SymbolicOp
from resnet_dsl.language import body as language
from resnet_dsl.language.body import Body, Item, Join, Operation
from resnet_dsl.language.fields import CallForm
from resnet_dsl.language.schema import BatchNorm, FrozenNorm, GroupNorm, NoNorm, Spec
from resnet_dsl.language.scope import SIDES
from resnet_dsl.lower.frame import Frame, Place, Scope, show

ONE = literal(1)
MAX_REPEAT = 4096
DEFAULT_SLOPE = {"leaky_relu": 0.01, "elu": 1.0}


@dataclass(frozen=True, slots=True)
class GateBody:
    """The transform gate of a highway join: its body, and where and in which scope it stands."""

    body: Body
    scope: Scope
    place: Place


class BodyLowering(ABC):
    """Lowers bodies under a spec's policies; calls of blocks and shortcuts are a subclass's."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    @abstractmethod
    def call_block(self, frame: Frame, form: CallForm, scope: Scope, value: int, place: Place, name: str | None) -> int:  # fmt: skip
        """Append a call of a block inside of a body."""

    @abstractmethod
    def inline_shortcut(self, frame: Frame, form: CallForm, scope: Scope, value: int, out: Expr, place: Place) -> int:  # fmt: skip
        """Append a shortcut from `value` inside of a body."""

    def body(self, frame: Frame, body: Body, scope: Scope, value: int, place: Place) -> int:
        """Append a body that reads `value`; the value of its last item."""
        for index, item in enumerate(body):
            value = self._item(frame, item, scope, value, place.at(index))
        return value

    def _item(self, frame: Frame, item: Item, scope: Scope, value: int, place: Place) -> int:
        if item.when is not None:
            wanted = scope.value(item.when, place.at("when"))
            frame.conditions.append(to_source(item.when) if wanted else "")
            if not wanted:
                return value
        if item.operation is not None:
            where = place.at(item.operation.op)
            return self._operation(frame, item.operation, scope, value, where, item.name)
        if item.call is not None:
            return self.call_block(
                frame, item.call, scope, value, place.at(item.call.name), item.name
            )
        if item.residual is not None:
            return self._residual(frame, item, item.residual, scope, value, place)
        if item.branches is not None:
            return self._branches(frame, item, item.branches, scope, value, place)
        if item.repeat is not None:
            return self._repeat(frame, item, item.repeat, scope, value, place)
        assert item.sequence is not None and item.name is not None
        return self._sequence(frame, item.sequence, item.name, scope, value, place)

    def _repeat(
        self, frame: Frame, item: Item, times: Expr, scope: Scope, value: int, place: Place
    ) -> int:
        count = scope.integer(times, place.at("repeat"))
        if not 0 <= count <= MAX_REPEAT:
            raise place.at("repeat").error(
                "RD106", f"`repeat` is out of range: {count} is not within 0 and {MAX_REPEAT}"
            )
        assert item.body is not None
        frame.conditions.append(f"x{count}")
        for i in range(count):
            inner = scope.with_symbols({"i": literal(i)})
            value = self.body(frame, item.body, inner, value, place.at("body"))
        return value

    def _sequence(
        self, frame: Frame, body: Body, name: str, scope: Scope, value: int, place: Place
    ) -> int:
        inner = Frame(frame.shapes[value], frame.channels[value], numbered=True)
        end = self.body(inner, body, scope, 0, place.at("sequence"))
        members = cast("tuple[Apply, ...]", inner.finished())
        frame.require_chain((value,), place)
        frame.conditions += inner.conditions
        chain = Chain(frame.fresh("sequence", name, place), members, value, frame.group)
        return frame.append(chain, inner.shapes[end], inner.channels[end])

    def _residual(
        self, frame: Frame, item: Item, body: Body, scope: Scope, value: int, place: Place
    ) -> int:
        inside = self.body(frame, body, scope, value, place.at("residual"))
        join: Join = item.join or "add"
        around = value
        if item.shortcut is not None and join != "none":
            around = self.inline_shortcut(
                frame, item.shortcut, scope, value, frame.channels[inside], place.at("shortcut")
            )
        gate = None if item.gate is None else GateBody(item.gate, scope, place.at("gate"))
        joined = self.join(frame, join, inside, around, value, gate, scope, place)
        return self.body(frame, item.after, scope, joined, place.at("after"))

    def join(
        self,
        frame: Frame,
        join: Join,
        inside: int,
        around: int,
        start: int,
        gate: GateBody | None,
        scope: Scope,
        place: Place,
        hint: str | None = None,
    ) -> int:
        """Join a residual's value with its shortcut's."""
        left, right = frame.shapes[inside], frame.shapes[around]
        match join:
            case "none":
                return inside
            case "add" | "gate":
                if left != right:
                    raise place.error(
                        "RD402",
                        f"the residual gives {show(left)} and its shortcut {show(right)}: "
                        "they cannot be added",
                        why="shapes are channels × height × width, and a sum needs equal ones",
                        hint=hint,
                    )
                if join == "add":
                    return frame.apply("add", ops.Add(), (inside, around), scope, place)
                assert gate is not None
                opened = self.body(frame, gate.body, gate.scope, start, gate.place)
                return frame.apply("gate", ops.Gate(), (inside, around, opened), scope, gate.place)
            case "multiply":
                return frame.apply(
                    "mul", ops.Multiply(), (around, inside), scope, place, frame.channels[around]
                )
            case "concat":
                total = add(frame.channels[inside], frame.channels[around])
                return frame.apply("cat", ops.Concat(), (inside, around), scope, place, total)
            case _:
                assert_never(join)

    def _branches(
        self,
        frame: Frame,
        item: Item,
        branches: list[Body],
        scope: Scope,
        value: int,
        place: Place,
    ) -> int:
        joined = self.branches(frame, branches, item.join, scope, value, place)
        return self.body(frame, item.after, scope, joined, place.at("after"))

    def branches(
        self,
        frame: Frame,
        branches: list[Body],
        join: Join | None,
        scope: Scope,
        value: int,
        place: Place,
    ) -> int:
        """Parallel bodies over one value, joined by concatenation unless the join says otherwise."""
        ends = [
            self.body(frame, branch, scope, value, place.at("branches", index))
            for index, branch in enumerate(branches)
        ]
        match join or "concat":
            case "concat":
                total = frame.channels[ends[0]]
                for end in ends[1:]:
                    total = add(total, frame.channels[end])
                return frame.apply("cat", ops.Concat(), ends, scope, place, total)
            case "add":
                return frame.apply("add", ops.Add(), ends, scope, place)
            case "multiply":
                return frame.apply("mul", ops.Multiply(), ends, scope, place)
            case other:
                raise place.at("join").error(
                    "RD103",
                    f"branches cannot be joined by `{other}`",
                    hint="one of concat, add, multiply",
                )

    def _init(self, given: InitKind | None, policy: InitKind) -> Init:
        init = self.spec.init
        return Init(given or policy, init.mode, init.scale)

    def _bias(self, given: Expr | None, default: bool, scope: Scope, place: Place) -> bool:
        return default if given is None else bool(scope.value(given, place.at("bias")))

    def _fill(self, given: Expr | None, scope: Scope, place: Place) -> float:
        return 0.0 if given is None else float(scope.value(given, place.at("bias_fill")))

    def _operation(
        self,
        frame: Frame,
        operation: Operation,
        scope: Scope,
        value: int,
        place: Place,
        name: str | None,
    ) -> int:
        """Append one operation."""

        def both(pair: tuple[Expr, Expr]) -> tuple[Expr, Expr]:
            return scope.symbolic(pair[0]), scope.symbolic(pair[1])

        def put(kind: str, op: SymbolicOp, channels: Expr | None = None) -> int:
            return frame.apply(kind, op, (value,), scope, place, channels, name)

        channels = frame.channels[value]
        match operation:
            case language.ConvArgs():
                kernel = both(operation.kernel)
                dilation = both(operation.dilation or (ONE, ONE))
                padding = (
                    (_same(kernel[0], dilation[0]), _same(kernel[1], dilation[1]))
                    if operation.padding is None
                    else both(operation.padding)
                )
                out = channels if operation.out is None else scope.symbolic(operation.out)
                return put(
                    "conv",
                    ops.Conv(
                        in_channels=channels,
                        out_channels=out,
                        kernel=kernel,
                        stride=both(operation.stride or (ONE, ONE)),
                        padding=padding,
                        dilation=dilation,
                        groups=scope.symbolic(operation.groups or ONE),
                        bias=self._bias(
                            operation.bias, isinstance(self.spec.norm, NoNorm), scope, place
                        ),
                        init=self._init(operation.init, self.spec.init.conv),
                        bias_fill=self._fill(operation.bias_fill, scope, place),
                    ),
                    out,
                )
            case language.LinearArgs():
                if len(frame.shapes[value]) != 1:
                    raise place.error(
                        "RD401",
                        f"a linear layer reads a flat tensor, not {show(frame.shapes[value])}",
                        hint="put `flatten` before it",
                    )
                out = scope.symbolic(operation.out)
                bias = self._bias(operation.bias, True, scope, place)
                init = self._init(operation.init, self.spec.init.linear)
                fill = self._fill(operation.bias_fill, scope, place)
                return put("fc", ops.Linear(channels, out, bias, init, fill), out)
            case language.NormArgs():
                return self._norm(frame, operation, scope, value, place, name)
            case language.ActArgs():
                policy = self.spec.activation
                slope = DEFAULT_SLOPE.get(policy.kind, 0.0)
                slope = slope if policy.slope is None else policy.slope
                return put(policy.kind, ops.Activation(policy.kind, slope))
            case language.ActivationArgs():
                slope = DEFAULT_SLOPE.get(operation.op, 0.0)
                slope = slope if operation.slope is None else operation.slope
                return put(operation.op, ops.Activation(operation.op, slope))
            case language.PoolArgs():
                kernel = both(operation.kernel)
                stride = kernel if operation.stride is None else both(operation.stride)
                zero = literal(0)
                padding = both(operation.padding or (zero, zero))
                if operation.op == "max_pool":
                    return put("maxpool", ops.MaxPool(kernel, stride, padding, operation.ceil))
                return put("avgpool", ops.AvgPool(kernel, stride, padding, operation.ceil))
            case language.AdaptiveArgs():
                return put("avgpool", ops.AdaptiveAvgPool(both(operation.size)))
            case language.PlainArgs():
                if operation.op == "flatten":
                    return put("flatten", ops.Flatten())
                return put("avgpool", ops.AdaptiveAvgPool((ONE, ONE)))
            case language.RateArgs():
                rate = scope.symbolic(operation.rate)
                found = scope.value(operation.rate, place.at("rate"))
                if not isinstance(found, int | float) or not 0 <= found < 1:
                    raise place.at("rate").error(
                        "RD106", f"`rate` is out of range: {found} is not within 0 and 1"
                    )
                if operation.op == "dropout":
                    return put("dropout", ops.Dropout(rate))
                return put("drop_path", ops.DropPath(rate))
            case language.SubsampleArgs():
                return put("subsample", ops.Subsample(scope.symbolic(operation.stride)))
            case language.PadChannelsArgs():
                out = scope.symbolic(operation.out)
                side = self._side(operation.side, scope, place.at("side"))
                return put("pad", ops.PadChannels(channels, out, side), out)
            case _:
                assert_never(operation)

    def _side(self, given: str, scope: Scope, place: Place) -> PadSide:
        found = given if given in SIDES else scope.value(Name(given), place)
        if found not in SIDES:
            raise place.error(
                "RD103", f"`{found}` is not a side", hint="one of symmetric, trailing"
            )
        return cast(PadSide, found)

    def _norm(
        self,
        frame: Frame,
        args: language.NormArgs,
        scope: Scope,
        value: int,
        place: Place,
        name: str | None,
    ) -> int:
        channels = frame.channels[value]
        gamma = 1.0 if args.gamma is None else args.gamma
        norm = self.spec.norm
        op: SymbolicOp
        match norm:
            case BatchNorm():
                op = ops.BatchNorm(channels, norm.eps, norm.momentum, gamma)
                return frame.apply("bn", op, (value,), scope, place, None, name)
            case FrozenNorm():
                op = ops.FrozenBatchNorm(channels, norm.eps, gamma)
                return frame.apply("bn", op, (value,), scope, place, None, name)
            case GroupNorm():
                op = ops.GroupNorm(channels, literal(norm.groups), norm.eps, gamma)
                return frame.apply("gn", op, (value,), scope, place, None, name)
            case NoNorm():
                return value
            case _:
                assert_never(norm)


def zero_last_norm(frame: Frame, since: int) -> None:
    """Zero the weight of a residual's last normalisation (Goyal et al. 2017, section 5.1), where
    no convolution follows it, so that a block begins as its shortcut."""
    for index in range(len(frame.statements) - 1, since - 1, -1):
        statement = frame.statements[index]
        if not isinstance(statement, Apply):
            continue
        if isinstance(statement.op, ops.Conv | ops.Linear):
            return
        if isinstance(statement.op, ops.BatchNorm | ops.FrozenBatchNorm | ops.GroupNorm):
            frame.statements[index] = replace(statement, op=replace(statement.op, gamma=0.0))
            return


def _same(kernel: Expr, dilation: Expr) -> Expr:
    """The padding that keeps the size at stride 1."""
    return floordiv(mul(dilation, sub(kernel, ONE)), literal(2))
