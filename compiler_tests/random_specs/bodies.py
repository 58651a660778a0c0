"""Bodies at random: lists of operations that fit together for every width, stride and place that a block is called for.

Within a block every window keeps the size, or divides it by `stride` and rounds up, so that paths meet again; channels
are expressions over the block's names, of which a divisor is known, so that groups divide them.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from compiler_tests.random_specs.items import Items
from compiler_tests.random_specs.names import Body, Callee, Channels, Item

LONGEST = 60
"""Characters of an expression that may still grow; the language ends at 500."""


class Bodies(Items):
    """Draws bodies over `names`."""

    def body(
        self,
        start: Channels,
        end: Channels | None = None,
        *,
        strided: bool = False,
        straight: bool = False,
        depth: int = 2,
        most: int = 3,
    ) -> tuple[Body, Channels]:
        """A body from `start` channels to `end` (or to any), with the block's stride where `strided`. `straight`: for a
        chain, which has one path; `depth`: how deep bodies may nest."""
        items: Body = []
        here = start
        if not strided and end is None and self.chance(10):
            return items, here
        length = self.draw(st.integers(0 if strided or end else 1, most))
        at = self.draw(st.integers(0, length)) if strided else -1
        for place in range(length + 1):
            if place == at:
                more, here = self.striding(here)
                items += more
            if place < length:
                more, here = self.step(here, straight, depth)
                items += more
        if end is not None and here.text != end.text:
            items.append(self.conv(here, end))
            here = end
            if self.chance(60):
                items += self.norm(here)
        return items, here

    def step(self, here: Channels, straight: bool, depth: int) -> tuple[Body, Channels]:
        """One or two items, and the channels after them."""
        kinds = (
            ["conv"] * 4
            + ["norm"] * 2
            + ["activation"] * 3
            + ["pool", "dropping", "padding", "call"]
        )
        if len(here.text) > LONGEST:
            kinds = ["narrow"]
        elif depth > 0:
            kinds += ["repeat", "tower", "tower", *(["group"] if self.names.conditions else [])]
            if not straight:
                kinds += ["residual"] * 2 + ["branches"] * 2 + ["sequence"]
        match self.one_of(kinds):
            case "conv":
                end = self.one_of([here, *self.names.widths])
                return [self.named(self.conv(here, end))], end
            case "narrow":
                end = self.one_of(self.names.widths)
                return [self.conv(here, end)], end
            case "norm":
                return self.norm(here), here
            case "activation":
                return [self.under_condition(self.named(self.activation()))], here
            case "pool":
                return [self.under_condition(self.named(self.pool()))], here
            case "dropping":
                kind = self.one_of(["dropout", "drop_path"])
                return [self.under_condition({kind: {"rate": self.one_of(self.names.rates)}})], here
            case "padding":
                end = here.times(2)
                given: dict[str, Any] = {"out": end.text}
                if self.chance(70):
                    given["side"] = self.one_of(self.names.sides)
                return [self.named({"pad_channels": given})], end
            case "call":
                return self.call(here)
            case "repeat":
                return [self.repeat(here, straight, depth)], here
            case "tower":
                return self.tower(here, straight)
            case "group":
                inside, _ = self.body(here, here, straight=straight, depth=depth - 1)
                return [
                    {"when": self.one_of(self.names.conditions), "body": inside}
                ] if inside else [], here
            case "sequence":
                inside, end = self.body(here, straight=True, depth=depth - 1)
                if not inside:
                    return [], here
                unnamed = [without_names(item) for item in inside]
                return [{"sequence": unnamed, "name": self.names.fresh()}], end
            case "branches":
                return self.branches(here, depth)
            case _:
                return self.residual(here, depth)

    def striding(self, here: Channels) -> tuple[Body, Channels]:
        """What divides the size by the block's stride, rounded up."""
        callees = [each for each in self._callees(here) if each.strides]
        match self.one_of(
            ["conv"] * 4 + ["max_pool", "avg_pool", "subsample"] + ["call"] * bool(callees)
        ):
            case "conv":
                end = self.one_of([here, *self.names.widths])
                return [self.named(self.conv(here, end, strided=True))], end
            case "max_pool":
                return [{"max_pool": {"kernel": 3, "stride": "stride", "padding": 1}}], here
            case "avg_pool":
                return [self.named({"avg_pool": {"kernel": "stride", "ceil": True}})], here
            case "call":
                return self.call(here, self.one_of(callees), strided=True)
            case _:
                return [{"subsample": {"stride": "stride"}}], here

    def call(
        self, here: Channels, callee: Callee | None = None, *, strided: bool = False
    ) -> tuple[Body, Channels]:
        """A call of another block."""
        if callee is None:
            fitting = self._callees(here)
            if not fitting:
                return [self.activation()], here
            callee = self.one_of(fitting)
        given: dict[str, Any] = {"stride": "stride"} if strided else {}
        end = here
        if not callee.keeps:
            end = self.one_of([here, *(each for each in self.names.widths if each.divisor >= 4)])
            if end.divisor < 4:
                end = Channels("8", 8)
            given["width"] = end.text
            if callee.expansion != 1:
                end = end.times(callee.expansion)
        if self.chance(20):
            given["dilation"] = self.one_of([2, "dilation" if callee.strides else 1])
        for name, choices in callee.arguments:
            if self.chance(30) or callee.name == "squeeze_excite":
                given[name] = self.one_of(choices)
        return [self.named({callee.name: given} if given or self.chance(50) else callee.name)], end

    def _callees(self, here: Channels) -> list[Callee]:
        return [each for each in self.names.callees if here.divisor % each.reads == 0]

    def repeat(self, here: Channels, straight: bool, depth: int) -> Item:
        inside, _ = self.body(here, here, straight=straight, depth=depth - 1, most=2)
        unnamed = [without_names(item) for item in inside]
        if self.chance(30):
            unnamed.append({"conv": {"kernel": 3, "dilation": "i + 1"}})
        if self.chance(20):
            unnamed.append({"act": None, "when": "i > 0"})
        return {"repeat": self.one_of(self.names.counts), "body": unnamed}

    def tower(self, here: Channels, straight: bool) -> tuple[Body, Channels]:
        """Calls of one block that differ in a number which counts, as emitted loops do."""
        fitting = self._callees(here)
        if not fitting:
            return [self.activation()], here
        callee = self.one_of(fitting)
        start, step = self.draw(st.integers(1, 3)), self.draw(st.integers(-1, 2))
        calls: Body = []
        same = {
            name: name if name in self.names.held and self.chance(70) else self.one_of(choices)
            for name, choices in callee.arguments
        }
        for place in range(self.draw(st.integers(2, 5))):
            given = dict(same)
            if not callee.keeps:
                given["width"] = 4 * max(start + step * place, 1)
                here = Channels(str(given["width"]), 4)
                if callee.expansion != 1:
                    here = here.times(callee.expansion)
            calls.append({callee.name: given})
        if straight:
            return calls, here
        return [{"sequence": calls, "name": self.names.fresh()}], here

    def branches(self, here: Channels, depth: int) -> tuple[Body, Channels]:
        join = self.one_of([None, "concat", "concat", "add", "multiply"])
        count = self.draw(st.integers(2, 3))
        ends: list[Channels] = []
        bodies: list[Body] = []
        common = self.one_of([here, *self.names.widths])
        for _ in range(count):
            equal = None if join in (None, "concat") else common
            inside, end = self.body(here, equal, depth=depth - 1, most=2)
            bodies.append(inside)
            ends.append(end)
        item: dict[str, Any] = {"branches": bodies}
        if join is not None:
            item["join"] = join
        out = common
        if join in (None, "concat"):
            out = ends[0]
            for end in ends[1:]:
                out = out.plus(end)
        if self.chance(30):
            item["after"] = [self.activation()]
        return [item], out

    def residual(self, here: Channels, depth: int) -> tuple[Body, Channels]:
        join = self.one_of(
            ["add", "add", "add", "multiply", "multiply", "concat", "gate", "none", None]
        )
        wide = [each for each in (here, *self.names.widths) if each.divisor % 4 == 0]
        projected = join in ("add", "gate", None) and bool(wide) and self.chance(35)
        item: dict[str, Any] = {}
        end = here
        if join == "multiply" and self.chance(60):
            item["residual"] = self.squeeze(here)
        elif join in ("concat", "none"):
            item["residual"], end = self.body(here, depth=depth - 1)
        elif projected:
            end = self.one_of(wide)
            item["residual"], _ = self.body(here, end, depth=depth - 1)
            item["shortcut"] = self.one_of(self.names.shortcuts)
        else:
            item["residual"], _ = self.body(here, here, depth=depth - 1)
            if self.chance(20):
                item["shortcut"] = "identity"
        if not item["residual"]:
            item["residual"] = [self.activation()]
        if join is not None:
            item["join"] = join
        if join == "gate":
            gate, _ = self.body(here, end, depth=0, most=1)
            item["gate"] = [*gate, "sigmoid"]
        if join == "none":
            item.pop("shortcut", None)
        if self.chance(40):
            item["after"] = [self.activation()]
        return [item], here.plus(end) if join == "concat" else end


def without_names(item: Item) -> Item:
    """An item for a `repeat`, whose rounds would give modules the same names, or for a `sequence`, which counts."""
    if isinstance(item, str):
        return item
    if "sequence" in item:
        return {"repeat": 1, "body": [without_names(each) for each in item["sequence"]]}
    changed = {key: value for key, value in item.items() if key != "name"}
    for key in ("residual", "gate", "after", "body"):
        if key in changed:
            changed[key] = [without_names(each) for each in changed[key]]
    if "branches" in changed:
        changed["branches"] = [
            [without_names(each) for each in body] for body in changed["branches"]
        ]
    return changed
