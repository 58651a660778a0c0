"""Operations at random, each of which keeps the size or divides it by the block's stride."""

from __future__ import annotations

from typing import Any, get_args

from hypothesis import strategies as st

from compiler_tests.random_specs.choices import Choices, Draw
from compiler_tests.random_specs.names import Body, Channels, Item, Names
from resnet_dsl.ir.ops import ActivationKind, InitKind

ACTIVATIONS: tuple[str, ...] = get_args(ActivationKind)
INITS: tuple[str, ...] = get_args(InitKind)


class Items(Choices):
    """Draws operations over `names`."""

    def __init__(self, draw: Draw, names: Names) -> None:
        super().__init__(draw)
        self.names = names

    def conv(self, start: Channels, end: Channels, *, strided: bool = False) -> dict[str, Any]:
        """A convolution that keeps the size, or divides it by the block's stride."""
        given: dict[str, Any] = {"kernel": self.one_of(self.names.kernels)}
        if end.text != start.text or self.chance(40):
            given["out"] = end.text
        if strided:
            given["stride"] = self.one_of(["stride", ["stride", "stride"]])
        if self.chance(30):
            # An even kernel keeps the size where the dilation is even too.
            given["dilation"] = self.one_of(self.names.dilations)
            if given["dilation"] == 2 and not strided and self.chance(30):
                given["kernel"] = 2
        if self.chance(30):
            fitting = [n for n in (1, 2, 4) if start.divisor % n == 0 and end.divisor % n == 0]
            given["groups"] = self.one_of([*fitting, start.text if start.text == end.text else 1])
        if self.chance(25):
            given["bias"] = self.one_of([True, False, *self.names.conditions[:1]])
        if self.chance(15):
            given |= {"bias": True, "bias_fill": self.one_of(self.names.fills)}
        if self.chance(20):
            given["init"] = self.one_of(INITS)
        return {"conv": given}

    def norm(self, here: Channels) -> Body:
        if here.divisor % (2 * self.names.norm_groups or 1):
            return []
        given: Item = self.one_of(
            ["norm", "norm", {"norm": {"gamma": self.one_of([0.0, 0.5, 1.0])}}]
        )
        return [self.under_condition(self.named(given))]

    def activation(self) -> Item:
        kind = self.one_of(["act", "act", *ACTIVATIONS])
        if kind in ("leaky_relu", "elu") and self.chance(50):
            return {kind: {"slope": self.one_of([0.2, 0.01, 1.5])}}
        return kind if self.chance(70) else {kind: {}}

    def pool(self) -> Item:
        kind = self.one_of(["max_pool", "avg_pool"])
        given: dict[str, Any] = self.one_of(
            [
                {"kernel": 3, "stride": 1, "padding": 1},
                {"kernel": [1, 3], "stride": 1, "padding": [0, 1]},
                {"kernel": [3, 1], "stride": [1, 1], "padding": [1, 0], "ceil": True},
                {"kernel": 1},
            ]
        )
        return {kind: dict(given)}

    def squeeze(self, here: Channels) -> Body:
        """What the whole image says of each channel: (N, C, 1, 1)."""
        narrow = Channels(f"max(({here.text}) // 2, 1)", 1)
        first: dict[str, Any] = {"conv": {"out": narrow.text, "kernel": 1, "bias": True}}
        second: dict[str, Any] = {"conv": {"out": here.text, "kernel": 1, "bias": True}}
        pooled: Item = self.one_of(["global_avg_pool", {"adaptive_avg_pool": {"size": 1}}])
        return [pooled, first, self.activation(), second, self.one_of(["sigmoid", "hardsigmoid"])]

    def under_condition(self, item: Item) -> Item:
        if not self.names.conditions or not self.chance(20):
            return item
        entry: dict[str, Any] = {item: None} if isinstance(item, str) else dict(item)
        return {**entry, "when": self.one_of(self.names.conditions)}

    def named(self, item: Item) -> Item:
        if not self.chance(10):
            return item
        entry: dict[str, Any] = {item: None} if isinstance(item, str) else dict(item)
        return {**entry, "name": self.names.fresh(self.draw(st.integers(0, 12)))}
