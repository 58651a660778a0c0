"""Specs at random: valid ones, that use everything the language has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from compiler_tests.random_specs import blocks, ends
from compiler_tests.random_specs.blocks import Block, Setting
from compiler_tests.random_specs.choices import Choices, Draw
from compiler_tests.random_specs.ends import Image
from compiler_tests.random_specs.items import ACTIVATIONS, INITS

Spec = dict[str, Any]

UNUSUAL = (("layer", "x"), ("module", "Tensor"), ("projection", "print"))
"""Names of blocks that emitted code might use for itself."""

EXTENTS = (1, 2, 4, 5, 6, 7, 8, 9, 11)


@st.composite
def specs(draw: Draw) -> Spec:
    """A spec of a small network, as a mapping that YAML can hold."""
    return _Author(draw).spec()


class _Author(Choices):
    def spec(self) -> Spec:
        channels = self.one_of([1, 2, 3, 4])
        image = Image(channels, self.one_of(EXTENTS), self.one_of(EXTENTS))
        spec: Spec = {
            "name": "random_net",
            "input": {"channels": channels, "size": [image.height, image.width]},
            "classes": self.one_of([1, 3, 4]),
        }
        straight = self.chance(20)
        stemless = self.chance(15)
        read = 4 if not stemless else channels & -channels
        groups = self.norm(spec, read)
        self.policies(spec)
        if not stemless:
            self.stem(spec, image, groups, straight)
        # Zero channels (A) need widths that never fall.
        rising = self.chance(30)
        shortcuts: list[object] = ["B", "C", "D", {"B": {"norm": False}}]
        policies: list[object] = ["none", "gate", {"gate": {"bias": 1.0}}, "matching"]
        if self.chance(30):
            spec["shortcuts"] = {"around": ends.shortcut(self.draw, groups)}
            shortcuts += ["around", {"around": {"window": 3}}]
        names = blocks.spellings(self.draw)
        setting = Setting(read, groups, names, (1,) if rising else (1, 2), tuple(shortcuts))
        own = self.blocks(spec, setting, straight)
        policies += shortcuts
        if rising:
            policies += ["A", {"A": {"padding": "trailing"}}, "A"]
        if self.chance(85):
            spec["shortcut"] = self.one_of(policies)
        self.stages(spec, own, policies, rising, straight)
        if straight:
            spec["trunk"] = "features"
        elif self.chance(15):
            spec["skip"] = self.one_of(shortcuts)
        self.drop_path(spec, own)
        self.head(spec, read, groups)
        return spec

    def norm(self, spec: Spec, read: int) -> int:
        """Chooses the normalisation; the groups that have to divide what it reads."""
        kinds = ["batch", "batch", "frozen", "none", None]
        kind = self.one_of(kinds if read == 1 else [*kinds, "group"])
        eps = {"eps": 0.001} if self.chance(40) else {}
        match kind:
            case "batch":
                spec["norm"] = {"batch": {**eps, **({"momentum": 0.3} if self.chance(40) else {})}}
            case "group":
                groups = int(
                    self.one_of([1, 2] if read == 4 else [1])
                )  # two numbers in each, at least
                spec["norm"] = {"group": {"groups": groups, **eps}}
                return groups
            case "frozen":
                spec["norm"] = {"frozen": eps} if eps else "frozen"
            case "none":
                spec["norm"] = "none"
            case _:
                pass
        return 0

    def policies(self, spec: Spec) -> None:
        if self.chance(60):
            kind = self.one_of(ACTIVATIONS)
            sloped = kind in ("leaky_relu", "elu") and self.chance(60)
            spec["activation"] = {kind: {"slope": 0.3}} if sloped else kind
        if self.chance(50):
            spec["init"] = {"conv": self.one_of(INITS), "linear": self.one_of(INITS)}
            spec["init"]["mode"] = self.one_of(["fan_in", "fan_out"])
            spec["init"] |= {"scale": 0.05} if self.chance(50) else {}
            spec["init"] |= {"zero_last_norm": True} if self.chance(50) else {}

    def stem(self, spec: Spec, image: Image, groups: int, straight: bool) -> None:
        known = [
            {"cifar": {"width": 8}},
            {"conv": {"width": 8}},
            {"imagenet": {"width": 8}},
            {"deep": {"width": 8, "narrow": 4}},
        ]
        if straight or groups > 1 or self.chance(60):
            definition = ends.stem(self.draw, image, groups, straight=straight)
            spec["stems"] = {"entrance": definition}
            spec["stem"] = "entrance"
            if "parameters" in definition and self.chance(50):
                spec["stem"] = {"entrance": {"planes": 8}}
        else:
            spec["stem"] = self.one_of(known)

    def blocks(self, spec: Spec, setting: Setting, straight: bool) -> list[Block]:
        """One to three blocks of the spec's own, the later of which may call the earlier."""
        found: list[Block] = []
        for number in range(self.draw(st.integers(1, 3))):
            # The first of a trunk may have any form: the others can call it.
            chain = straight and (number > 0 or self.chance(50))
            name = self.one_of([f"block_{number}", f"Unit{number}", *UNUSUAL[number]])
            found.append(blocks.block(self.draw, setting, name, found, straight=chain))
        spec["blocks"] = {each.name: each.definition for each in found}
        return found

    def stages(
        self,
        spec: Spec,
        blocks: Sequence[Block],
        policies: Sequence[object],
        rising: bool,
        straight: bool,
    ) -> None:
        stages: list[Spec] = []
        width = 8
        striding = [each for each in blocks if not each.keeps and (not straight or each.chain)]
        if not striding:
            definition: Spec = {
                "body": [{"conv": {"kernel": 3, "out": "width", "stride": "stride"}}, "act"]
            }
            striding = [
                Block(
                    "plain", definition, (), {}, joins=False, chain=True, keeps=False, expansion=1
                )
            ]
            spec["blocks"]["plain"] = definition
        for number in range(self.draw(st.integers(1, 3))):
            first = self.one_of(striding)
            pattern = [first]
            while self.chance(30) and len(pattern) < 3:
                pattern.append(self.one_of([*blocks, *striding] if not straight else striding))
            depth = len(pattern) * self.draw(st.integers(1, 5 if len(pattern) == 1 else 3))
            width = max(width, self.one_of([8, 12, 16])) if rising else self.one_of([4, 8, 12])
            stage: Spec = {"block": first.name, "depth": depth, "width": width}
            if len(pattern) > 1:
                stage["block"] = [each.name for each in pattern]
            if self.chance(25):
                stage["width"] = f"{width} + 4 * index"
                width += 4 * depth if rising else 0
            stage["stride"] = self.one_of([1, 2, 2, 3])
            if self.chance(30):
                stage["dilation"] = 2
            if self.chance(20) and not straight:
                stage["name"] = f"stage_{number}"
            if self.chance(20) and all(each.joins for each in pattern):
                stage["shortcut"] = self.one_of(policies)
            self.parameters(stage, pattern)
            if self.chance(15) and not straight:
                stage["skip"] = self.one_of(["B", "C", "D"])
            stages.append(stage)
        spec["stages"] = stages

    def parameters(self, stage: Spec, pattern: Sequence[Block]) -> None:
        """Parameters of a stage's blocks, given by the stage or by the call."""
        for position, each in enumerate(pattern):
            for parameter in each.parameters:
                if not self.chance(50):
                    continue
                name, given = each.names[parameter.role], self.one_of(parameter.stage)
                if self.chance(70):
                    stage[name] = given
                elif isinstance(stage["block"], str):
                    stage["block"] = {each.name: {name: given}}
                elif isinstance(stage["block"], list):
                    stage["block"][position] = {each.name: {name: given}}

    def drop_path(self, spec: Spec, blocks: Sequence[Block]) -> None:
        """Stochastic depth, where there is an addition that it could drop."""
        policy = spec.get("shortcut", "B")
        name = next(iter(policy)) if isinstance(policy, dict) else policy
        if name not in "ABCD" or not self.chance(30):
            return
        free = {each.name for each in blocks if each.joins and "shortcut" not in each.definition}
        for stage in spec["stages"]:
            called = stage["block"] if isinstance(stage["block"], list) else [stage["block"]]
            names = {next(iter(each)) if isinstance(each, dict) else each for each in called}
            if "shortcut" not in stage and names & free:
                spec["drop_path"] = {"rate": 0.3}
                if self.chance(50):
                    spec["drop_path"]["schedule"] = self.one_of(["constant", "linear"])
                return

    def head(self, spec: Spec, read: int, groups: int) -> None:
        if self.chance(65):
            spec["heads"] = {"exit": ends.head(self.draw, read, groups)}
            spec["head"] = "exit"
            if "hidden" in spec["heads"]["exit"].get("parameters", {}) and self.chance(50):
                spec["head"] = {"exit": {"hidden": 6}}
            return
        known = [
            "none",
            "classifier",
            {"classifier": {"dropout": 0.2}},
            {"vgg": {"width": 5, "size": 2}},
            {"highway": {"width": 5}},
        ]
        if groups <= read:
            known.append("preact_classifier")
        found = self.one_of(known)
        if found != "none" or self.chance(50):
            spec["head"] = found
