"""One operation of a body to one statement, under the spec's policies."""

from __future__ import annotations

from math import gcd
from typing import assert_never, cast

from resnet_dsl.ir import ops
from resnet_dsl.ir.expr import Expr, Name, floordiv, literal, mul, sub
from resnet_dsl.ir.ops import Init, InitKind, PadSide
from resnet_dsl.ir.program import SymbolicOp
from resnet_dsl.language import body as language
from resnet_dsl.language.body import Operation
from resnet_dsl.language.schema import (
    MAX_CHANNELS,
    BatchNorm,
    FrozenNorm,
    GroupNorm,
    NoNorm,
    Spec,
)
from resnet_dsl.language.scope import SIDES
from resnet_dsl.lower.frame import ONE, Frame
from resnet_dsl.lower.place import Place, Scope, show

ZERO = literal(0)
DEFAULT_SLOPE = {"leaky_relu": 0.01, "elu": 1.0}
MAX_FEATURES = 1 << 27

Pair = tuple[Expr, Expr]


class OperationLowering:
    """Appends operations to frames; `norm`, `act` and initialisations are the spec's."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def append(
        self,
        frame: Frame,
        operation: Operation,
        scope: Scope,
        value: int,
        place: Place,
        name: str | None = None,
    ) -> int:
        """Append an operation that reads `value`; the value of its result. Raises RefusalError."""

        def put(kind: str, op: SymbolicOp, channels: Expr | None = None) -> int:
            return frame.apply(kind, op, (value,), place, channels, name)

        channels = frame.channels(value)
        match operation:
            case language.ConvArgs():
                return self._conv(frame, operation, scope, value, place, name)
            case language.LinearArgs():
                if len(frame.shape(value)) != 1:
                    raise place.error(
                        "RD401",
                        f"a linear layer reads a flat tensor, not {show(frame.shape(value))}",
                        hint="put `flatten` before it",
                    )
                out = self._out(operation.out, MAX_FEATURES, scope, place)
                bias = self._bias(operation.bias, True, scope, place)
                init = self._init(operation.init, self.spec.init.linear)
                fill = self._fill(operation.bias_fill, scope, place)
                return put("fc", ops.Linear(channels, out, bias, init, fill), out)
            case language.NormArgs():
                return self._norm(frame, operation, value, place, name)
            case language.ActArgs():
                policy = self.spec.activation
                return put(policy.kind, _activation(policy.kind, policy.slope))
            case language.ActivationArgs():
                return put(operation.op, _activation(operation.op, operation.slope))
            case language.PoolArgs():
                kernel = _pair(operation.kernel, scope, place.at("kernel"))
                stride = _pair(operation.stride, scope, place.at("stride"), kernel)
                padding = _pair(operation.padding, scope, place.at("padding"), (ZERO, ZERO))
                if operation.op == "max_pool":
                    return put("maxpool", ops.MaxPool(kernel, stride, padding, operation.ceil))
                return put("avgpool", ops.AvgPool(kernel, stride, padding, operation.ceil))
            case language.AdaptiveArgs():
                size = _pair(operation.size, scope, place.at("size"))
                return put("avgpool", ops.AdaptiveAvgPool(size))
            case language.GlobalPoolArgs():
                return put("avgpool", ops.AdaptiveAvgPool((ONE, ONE)))
            case language.FlattenArgs():
                return put("flatten", ops.Flatten())
            case language.RateArgs():
                return self._dropping(frame, operation, scope, value, place, name)
            case language.SubsampleArgs():
                step = scope.symbolic(operation.stride, place.at("stride"))
                return put("subsample", ops.Subsample(step))
            case language.PadChannelsArgs():
                out = self._out(operation.out, MAX_CHANNELS, scope, place)
                side = self._side(operation.side, scope, place.at("side"))
                return put("pad", ops.PadChannels(channels, out, side), out)
            case _:
                assert_never(operation)

    def _conv(
        self,
        frame: Frame,
        args: language.ConvArgs,
        scope: Scope,
        value: int,
        place: Place,
        name: str | None,
    ) -> int:
        channels = frame.channels(value)
        kernel = _pair(args.kernel, scope, place.at("kernel"))
        dilation = _pair(args.dilation, scope, place.at("dilation"))
        same = (_same(kernel[0], dilation[0]), _same(kernel[1], dilation[1]))
        out = channels
        if args.out is not None:
            out = self._out(args.out, MAX_CHANNELS, scope, place)
        groups = ONE if args.groups is None else scope.symbolic(args.groups, place.at("groups"))
        if args.groups is not None and len(frame.shape(value)) == 3:
            self._check_groups(args.groups, frame.shape(value)[0], out, scope, place)
        op: SymbolicOp = ops.Conv(
            in_channels=channels,
            out_channels=out,
            kernel=kernel,
            stride=_pair(args.stride, scope, place.at("stride")),
            padding=_pair(args.padding, scope, place.at("padding"), same),
            dilation=dilation,
            groups=groups,
            bias=self._bias(args.bias, isinstance(self.spec.norm, NoNorm), scope, place),
            init=self._init(args.init, self.spec.init.conv),
            bias_fill=self._fill(args.bias_fill, scope, place),
        )
        return frame.apply("conv", op, (value,), place, out, name)

    def _check_groups(
        self, given: Expr, channels: int, out: Expr, scope: Scope, place: Place
    ) -> None:
        """Here and not in the shape rule, so that the groups are what the error points to."""
        where = place.at("groups")
        groups, outs = scope.integer(given, where), scope.integer(out, where)
        if groups < 1:
            raise where.error(
                "RD106", f"`groups` is out of range: it is {groups}", reads=scope.reads(given)
            )
        for count, side in ((channels, "input"), (outs, "output")):
            if count % groups:
                both = gcd(channels, outs)
                fitting = next(n for n in range(min(groups, both), 0, -1) if both % n == 0)
                raise where.error(
                    "RD401",
                    f"{groups} groups do not divide {count} {side} channels",
                    why="each group of a convolution has the same number of channels",
                    hint=f"the nearest number below that divides both ends is {fitting}",
                    reads=scope.reads(given),
                )

    def _norm(
        self, frame: Frame, args: language.NormArgs, value: int, place: Place, name: str | None
    ) -> int:
        channels = frame.channels(value)
        gamma = 1.0 if args.gamma is None else args.gamma
        norm = self.spec.norm
        match norm:
            case BatchNorm():
                batch = ops.BatchNorm(channels, norm.eps, norm.momentum, gamma)
                return frame.apply("bn", batch, (value,), place, None, name)
            case FrozenNorm():
                frozen = ops.FrozenBatchNorm(channels, norm.eps, gamma)
                return frame.apply("bn", frozen, (value,), place, None, name)
            case GroupNorm():
                count = frame.shape(value)[0]
                if count % norm.groups:
                    raise place.error(
                        "RD401",
                        f"{norm.groups} groups do not divide {count} channels",
                        why="the spec's `norm` is group normalisation",
                        hint="choose `norm: {group: {groups: …}}` so that it divides every width",
                    )
                group = ops.GroupNorm(channels, literal(norm.groups), norm.eps, gamma)
                return frame.apply("gn", group, (value,), place, None, name)
            case NoNorm():
                return value
            case _:
                assert_never(norm)

    def _dropping(
        self,
        frame: Frame,
        args: language.RateArgs,
        scope: Scope,
        value: int,
        place: Place,
        name: str | None,
    ) -> int:
        where = place.at("rate")
        rate, found = scope.symbolic(args.rate, where), scope.value(args.rate, where)
        if not isinstance(found, int | float) or not 0 <= found < 1:
            raise where.error(
                "RD106",
                f"`rate` is out of range: {found} is not from 0 to less than 1",
                reads=scope.reads(args.rate),
            )
        op = ops.Dropout(rate) if args.op == "dropout" else ops.DropPath(rate)
        return frame.apply(args.op, op, (value,), place, None, name)

    def _out(self, given: Expr, limit: int, scope: Scope, place: Place) -> Expr:
        """An output width: over the function's names, and refused where it is out of range."""
        where = place.at("out")
        scope.within(1, limit, given, where)
        return scope.symbolic(given, where)

    def _init(self, given: InitKind | None, policy: InitKind) -> Init:
        init = self.spec.init
        return Init(given or policy, init.mode, init.scale)

    def _bias(self, given: Expr | None, default: bool, scope: Scope, place: Place) -> bool:
        return default if given is None else bool(scope.value(given, place.at("bias")))

    def _fill(self, given: Expr | None, scope: Scope, place: Place) -> float:
        return 0.0 if given is None else float(scope.value(given, place.at("bias_fill")))

    def _side(self, given: str, scope: Scope, place: Place) -> PadSide:
        found = given if given in SIDES else scope.value(Name(given), place)
        if found not in SIDES:
            raise place.error(
                "RD103", f"`{found}` is not a side", hint="one of symmetric, trailing"
            )
        return cast(PadSide, found)


def _activation(kind: ops.ActivationKind, slope: float | None) -> ops.Activation:
    return ops.Activation(kind, DEFAULT_SLOPE.get(kind, 0.0) if slope is None else slope)


def _pair(given: Pair | None, scope: Scope, place: Place, default: Pair = (ONE, ONE)) -> Pair:
    """Height and width over the function's names; `default` where they are not given."""
    if given is None:
        return default
    return scope.symbolic(given[0], place), scope.symbolic(given[1], place)


def _same(kernel: Expr, dilation: Expr) -> Expr:
    """The padding that keeps the size at stride 1."""
    return floordiv(mul(dilation, sub(kernel, ONE)), literal(2))
