"""Bodies: lists of operations, and the forms that hold other bodies.

    body      = [ item* ]
    item      = VERB | { VERB: arguments, when: EXPR } | { MODULE: arguments, when: EXPR, name: NAME }
    VERB      = an operation | residual | branches | repeat | sequence | body | the name of a block
    MODULE    = an operation | sequence | the name of a block

An item has exactly one verb. `when` leaves the item out where the expression is false; `name` sets the name of what
becomes one module.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from resnet_dsl.ir.ops import ActivationKind, InitKind
from resnet_dsl.language.fields import CallForm, Expr, Model, ModuleName, Pair

Join: TypeAlias = Literal["add", "multiply", "concat", "gate", "none"]


class ConvArgs(Model):
    """2-d convolution. Padding keeps the size at stride 1, `dilation * (kernel - 1) // 2`, unless
    it is given; the bias is there only under `norm: none`, unless it is given."""

    op: Literal["conv"]
    out: Expr | None = None
    kernel: Pair
    stride: Pair | None = None
    padding: Pair | None = None
    dilation: Pair | None = None
    groups: Expr | None = None
    bias: Expr | None = None
    init: InitKind | None = None
    bias_fill: Expr | None = None


class LinearArgs(Model):
    """Fully connected layer on a flat tensor."""

    op: Literal["linear"]
    out: Expr
    bias: Expr | None = None
    init: InitKind | None = None
    bias_fill: Expr | None = None


class NormArgs(Model):
    """The network's normalisation; `gamma` fills its weight at the start."""

    op: Literal["norm"]
    gamma: float | None = None


class ActArgs(Model):
    """The network's activation."""

    op: Literal["act"]


class ActivationArgs(Model):
    """An activation by its own name; `slope` is leaky_relu's negative slope or elu's alpha."""

    op: ActivationKind
    slope: float | None = None


class PoolArgs(Model):
    """Pooling window; the stride is the kernel unless it is given."""

    op: Literal["max_pool", "avg_pool"]
    kernel: Pair
    stride: Pair | None = None
    padding: Pair | None = None
    ceil: bool = False


class AdaptiveArgs(Model):
    """Average pooling to a fixed output size."""

    op: Literal["adaptive_avg_pool"]
    size: Pair


class GlobalPoolArgs(Model):
    """The average of each channel: C × H × W becomes C × 1 × 1."""

    op: Literal["global_avg_pool"]


class FlattenArgs(Model):
    """One row of numbers, channel after channel: C × H × W becomes C · H · W."""

    op: Literal["flatten"]


class RateArgs(Model):
    """Drops with probability `rate` in training: `dropout` single values, `drop_path` the whole of
    a sample."""

    op: Literal["dropout", "drop_path"]
    rate: Expr


class SubsampleArgs(Model):
    """Every `stride`-th row and column."""

    op: Literal["subsample"]
    stride: Expr


class PadChannelsArgs(Model):
    """Zero channels up to `out`; `side` is symmetric, trailing, or a parameter that holds one."""

    op: Literal["pad_channels"]
    out: Expr
    side: str = "symmetric"


Operation: TypeAlias = (
    ConvArgs
    | LinearArgs
    | NormArgs
    | ActArgs
    | ActivationArgs
    | PoolArgs
    | AdaptiveArgs
    | GlobalPoolArgs
    | FlattenArgs
    | RateArgs
    | SubsampleArgs
    | PadChannelsArgs
)

ACTIVATIONS: frozenset[str] = frozenset(get_args(ActivationKind))
OPERATIONS: frozenset[str] = frozenset(
    verb for model in get_args(Operation) for verb in get_args(model.model_fields["op"].annotation)
)
_BESIDE: dict[str, frozenset[str]] = {
    "residual": frozenset({"shortcut", "join", "gate", "after"}),
    "branches": frozenset({"join", "after"}),
    "repeat": frozenset({"body"}),
    "sequence": frozenset(),
    "body": frozenset(),
}
FORMS: frozenset[str] = frozenset(_BESIDE)
MODIFIERS = frozenset({"when", "name"})


class Item(Model):
    """One entry of a body: an operation, a form that holds bodies, or a call of a block."""

    when: Expr | None = None
    name: ModuleName | None = None
    operation: Annotated[Operation, Field(discriminator="op")] | None = None
    call: CallForm | None = None
    residual: Body | None = None
    shortcut: CallForm | None = None
    join: Join | None = None
    gate: Body | None = None
    after: Body = []
    branches: Annotated[list[Body], Field(min_length=2)] | None = None
    repeat: Expr | None = None
    body: Body | None = None
    sequence: Body | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_verb(cls, value: object) -> object:
        if isinstance(value, str):
            value = {value: None}
        if not isinstance(value, Mapping):
            raise PydanticCustomError(
                "item", "expected an operation, a form such as `residual`, or a block", {}
            )
        return _normalise({str(key): entry for key, entry in value.items()})

    @model_validator(mode="after")
    def _complete(self) -> Item:
        if self.repeat is not None and self.body is None:
            raise PydanticCustomError("missing_body", "`repeat` needs a `body`", {})
        if self.body is not None and self.repeat is None and self.when is None:
            raise PydanticCustomError("missing_when", "`body` needs a `when`, or a `repeat`", {})
        if self.sequence is not None and self.name is None:
            raise PydanticCustomError("missing_name", "`sequence` needs a `name`", {})
        if any(_names(self.sequence or [])):
            raise PydanticCustomError(
                "nameless", "in a sequence modules are named by their places, `0`, `1`, …", {}
            )
        if self.name is not None and not (self.operation or self.call or self.sequence is not None):
            raise PydanticCustomError(
                "nameless", "`name` is for what becomes one module; a `sequence` can have one", {}
            )
        if self.residual is not None:
            check_residual(self.join, self.gate is not None, self.shortcut is not None)
        elif self.branches is not None:
            check_branches(self.join)
        return self


Body: TypeAlias = list[Item]
Item.model_rebuild()


def _names(body: Body) -> Iterator[str]:
    """The names in a body that is one path."""
    for item in body:
        if item.name is not None:
            yield item.name
        yield from _names(item.body or [])


def check_residual(join: Join | None, gate: bool, shortcut: bool) -> None:
    """Refuse what a residual's join has no use for, and what it lacks."""
    if join == "gate" and not gate:
        raise PydanticCustomError("missing_gate", "`join: gate` needs a `gate` body", {})
    if gate and join != "gate":
        raise PydanticCustomError("unused", "`gate` has a use under `join: gate` only", {})
    if shortcut and join == "none":
        raise PydanticCustomError("unused", "`join: none` has no use for a `shortcut`", {})


def check_branches(join: Join | None) -> None:
    """Refuse joins of which one operand is not like the others."""
    if join in ("gate", "none"):
        raise PydanticCustomError(
            "branches_join",
            "branches are joined by concat, add or multiply, not by {join}",
            {"join": join},
        )


_EXAMPLES: dict[str, str] = {
    "conv": "{out: 64, kernel: 3}",
    "linear": "{out: 10}",
    "norm": "{gamma: 0}",
    "leaky_relu": "{slope: 0.1}",
    "elu": "{slope: 1.0}",
    "max_pool": "{kernel: 2}",
    "avg_pool": "{kernel: 2}",
    "adaptive_avg_pool": "{size: 7}",
    "dropout": "{rate: 0.5}",
    "drop_path": "{rate: 0.1}",
    "subsample": "{stride: 2}",
    "pad_channels": "{out: 64}",
}


def _misgiven(verb: str, given: object) -> str:
    """What to say of arguments that are no mapping."""
    if verb == "act" and given in ACTIVATIONS:
        return f"`act` is the network's activation, and takes no arguments; `- {given}` is one by itself"
    if verb == "norm" and isinstance(given, str):
        return "`norm` is the network's normalisation; the spec's `norm:` says which"
    if verb in _EXAMPLES:
        return f"the arguments of `{verb}` are a mapping, as in `{verb}: {_EXAMPLES[verb]}`"
    return f"`{verb}` takes no arguments: write `- {verb}`"


def _normalise(entry: dict[str, Any]) -> dict[str, Any]:
    forms = [key for key in ("repeat", *entry) if key in entry and key in FORMS]
    beside = _BESIDE[forms[0]] if forms else frozenset()
    verbs = [key for key in entry if key not in MODIFIERS and key not in beside]
    if not verbs:
        raise PydanticCustomError(
            "item", "an entry of a body is an operation, a form such as `residual`, or a block", {}
        )
    if len(verbs) != 1:
        raise PydanticCustomError(
            "one_verb",
            "an entry of a body has one verb, and this one has {count}: {verbs}",
            {"count": len(verbs), "verbs": ", ".join(f"`{verb[:40]}`" for verb in verbs)},
        )
    verb = verbs[0]
    if verb in FORMS:
        return entry
    arguments = entry.pop(verb)
    if verb not in OPERATIONS:
        entry["call"] = {verb: arguments}
        return entry
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, Mapping):
        raise PydanticCustomError(
            "operation_arguments",
            "{problem}",
            {"problem": _misgiven(verb, arguments)},
        )
    entry["operation"] = {**arguments, "op": verb}
    return entry
