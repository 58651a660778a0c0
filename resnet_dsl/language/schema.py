"""The schema of a spec: the top level of the language, and every default of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from resnet_dsl.ir.ops import ActivationKind, InitKind
from resnet_dsl.language.definitions import BlockDef, BlockName, HeadDef, ShortcutDef, StemDef
from resnet_dsl.language.fields import (
    CallForm,
    Expr,
    Identifier,
    Model,
    ModuleName,
    NetworkName,
    Scalar,
)
from resnet_dsl.language.training import Training

MAX_BLOCKS = 100_000
MAX_CHANNELS = 1 << 20
MAX_EXTENT = 65_536

Extent: TypeAlias = Annotated[int, Field(ge=1, le=MAX_EXTENT)]


def _size(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    return tuple(value) if isinstance(value, list) else value


class Input(Model):
    """The image: (N, channels, height, width). `size` is one number, or [height, width]."""

    channels: Annotated[int, Field(ge=1, le=MAX_CHANNELS)] = 3
    size: Annotated[tuple[Extent, Extent], BeforeValidator(_size)]


def _kinded(value: object) -> object:
    """`batch` and `{group: {groups: 32}` become `{kind: …, …}`."""
    if isinstance(value, str):
        return {"kind": value}
    if isinstance(value, Mapping) and len(value) == 1:
        ((kind, settings),) = value.items()
        if settings is None or isinstance(settings, Mapping):
            return {"kind": kind, **(settings or {})}
    if isinstance(value, Mapping):
        raise PydanticCustomError(
            "kinded", "expected one kind, with its settings: `kind: {setting: value}`", {}
        )
    return value


class BatchNorm(Model):
    """Batch normalisation (Ioffe & Szegedy 2015); momentum is the weight of the new batch."""

    kind: Literal["batch"]
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-5
    momentum: Annotated[float, Field(gt=0, le=1)] = 0.1


class GroupNorm(Model):
    """Group normalisation (Wu & He 2018)."""

    kind: Literal["group"]
    groups: Annotated[int, Field(ge=1)] = 32
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-5


class FrozenNorm(Model):
    """Batch normalisation with fixed statistics and affine terms, as detectors use it."""

    kind: Literal["frozen"]
    eps: Annotated[float, Field(gt=0, le=1)] = 1e-5


class NoNorm(Model):
    """No normalisation: `norm` in a body vanishes, and convolutions have biases."""

    kind: Literal["none"]


Norm: TypeAlias = Annotated[
    Annotated[BatchNorm | GroupNorm | FrozenNorm | NoNorm, Field(discriminator="kind")],
    BeforeValidator(_kinded),
]


class _ActivationModel(Model):
    kind: ActivationKind
    slope: Annotated[float, Field(ge=0, le=10)] | None = None

    @model_validator(mode="after")
    def _has_slope(self) -> _ActivationModel:
        if self.slope is not None and self.kind not in ("leaky_relu", "elu"):
            raise PydanticCustomError(
                "slope", "`slope` belongs to leaky_relu and elu, not to {kind}", {"kind": self.kind}
            )
        return self


Activation: TypeAlias = Annotated[_ActivationModel, BeforeValidator(_kinded)]


class Initialisation(Model):
    """How weights begin (He et al. 2015, section 3.4). Convolution biases begin at zero;
    `linear: uniform` is torch's default for linear layers, weight and bias."""

    conv: InitKind = "he_normal"
    mode: Literal["fan_in", "fan_out"] = "fan_out"
    linear: InitKind = "uniform"
    scale: Annotated[float, Field(gt=0, le=10)] = 0.01
    zero_last_norm: bool = False


class DropPath(Model):
    """Stochastic depth (Huang et al. 2016): `linear` raises the rate from block to block up to
    `rate` in the last one; `constant` gives every block `rate`."""

    rate: Annotated[float, Field(ge=0, lt=1)]
    schedule: Literal["linear", "constant"] = "linear"


GROUPS = frozenset({"stem", "head"})
"""What tables call the parts before and after the stages."""


def _pattern(value: object) -> object:
    """`bottleneck` is a pattern of one."""
    return value if isinstance(value, list) else [value]


class Stage(Model):
    """`depth` blocks in sequence; the first has `stride`. A list of blocks is a pattern that is
    repeated. Every other key is a parameter of the blocks; `width` and they may be expressions over
    `index`, `depth`, `number` and `blocks`."""

    block: Annotated[list[CallForm], BeforeValidator(_pattern), Field(min_length=1)]
    depth: Annotated[int, Field(ge=1, le=MAX_BLOCKS)]
    width: Expr
    stride: Annotated[int, Field(ge=1, le=64)] = 1
    dilation: Annotated[int, Field(ge=1, le=64)] = 1
    shortcut: CallForm | None = None
    skip: CallForm | None = None
    name: ModuleName | None = None
    parameters: dict[str, Scalar] = {}

    @model_validator(mode="before")
    @classmethod
    def _gather_parameters(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        known = {key: item for key, item in value.items() if key in STAGE_KEYS}
        rest = {key: item for key, item in value.items() if key not in STAGE_KEYS}
        block = known.get("block")
        if "depth" not in known and isinstance(block, list):
            known["depth"] = len(block)
        return {**known, "parameters": rest}

    @model_validator(mode="after")
    def _whole_patterns(self) -> Stage:
        length = len(self.block)
        below = self.depth // length * length
        near = [depth for depth in (below, below + length) if 1 <= depth <= MAX_BLOCKS]
        if self.depth != below:
            raise PydanticCustomError(
                "pattern",
                "a depth of {depth} is not a whole number of patterns of {length} blocks",
                {
                    "depth": self.depth,
                    "length": length,
                    "key": "depth",
                    "hint": f"write {' or '.join(f'`depth: {depth}`' for depth in near)}",
                },
            )
        return self


STAGE_KEYS = tuple(name for name in Stage.model_fields if name != "parameters")
"""What a stage says of itself; every other key is a parameter of its blocks."""


class Spec(Model):
    """One network."""

    READ_BEFORE: ClassVar = ("extends", "include")

    name: NetworkName
    doc: str = ""
    input: Input
    classes: Annotated[int, Field(ge=1, le=10_000_000)]
    norm: Norm = BatchNorm(kind="batch")
    activation: Activation = _ActivationModel(kind="relu")
    init: Initialisation = Initialisation()
    stem: CallForm | None = None
    shortcut: CallForm = CallForm.of("B")
    stages: Annotated[list[Stage], Field(min_length=1)]
    skip: CallForm | None = None
    trunk: ModuleName | None = None
    drop_path: DropPath | None = None
    head: CallForm | None = None
    train: Training | None = None
    blocks: dict[BlockName, BlockDef] = {}
    shortcuts: dict[Identifier, ShortcutDef] = {}
    stems: dict[Identifier, StemDef] = {}
    heads: dict[Identifier, HeadDef] = {}
    recipes: dict[str, dict[str, Any]] = {}

    @model_validator(mode="after")
    def _not_too_deep(self) -> Spec:
        blocks = sum(stage.depth for stage in self.stages)
        if blocks > MAX_BLOCKS:
            raise PydanticCustomError(
                "too_deep",
                "{blocks} blocks are more than the limit of {limit}",
                {"blocks": blocks, "limit": MAX_BLOCKS},
            )
        return self

    def stage_name(self, index: int) -> str:
        """The module name of a stage: its own, or `layer1`, `layer2`, …"""
        return self.stages[index].name or f"layer{index + 1}"
