"""Training recipes: which settings a spec trains by, and where each of them stands.

A section of settings builds on a recipe, which may build on another; the library's `base` is below all. A recipe that a
spec defines wins over the library's of the same name where the spec names it; the library's recipes build on the
library's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.language.fields import RECIPE_NAME
from resnet_dsl.language.library import LIBRARY, names
from resnet_dsl.language.schema import DropPath, Spec
from resnet_dsl.language.source import Source, read
from resnet_dsl.language.synonyms import hint_for
from resnet_dsl.language.training import SETTINGS, Training
from resnet_dsl.language.validate import validate

BASE = "base"
LENGTHS = ("epochs", "iterations")
COUNTED = ("milestones", "warmup")
"""Settings that count in the unit of the training's length."""

Recipes = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Layer:
    """The settings of one section: the spec's `train`, a recipe of the spec, or one of the library (whose path in its
    own file is empty)."""

    section: Training
    settings: Mapping[str, object]
    source: Source
    path: tuple[str | int, ...]

    @property
    def length(self) -> str | None:
        """`epochs` or `iterations`, whichever it says."""
        return next((name for name in LENGTHS if self.settings.get(name) is not None), None)


@dataclass(frozen=True, slots=True)
class Resolved:
    """Every setting that is said, by the nearest layer that says it."""

    values: Mapping[str, object]
    layers: tuple[Layer, ...]

    def diagnostic(
        self, setting: str, code: str, message: str, why: str | None = None, hint: str | None = None
    ) -> Diagnostic:
        """A finding about a setting, where the spec says it, or else where it names its recipe."""
        own = [layer for layer in self.layers if layer.path]
        layer = next((layer for layer in own if setting in layer.settings), own[0])
        path = (*layer.path, setting)
        return layer.source.diagnostic(code, message, path, why=why, hint=hint)

    def miscounted(self) -> list[tuple[str, str, str]]:
        """Settings that count in another unit than the length that a section above them says: (`warmup`, `epochs`,
        `iterations`)."""
        found: list[tuple[str, str, str]] = []
        unit = next((layer.length for layer in self.layers if layer.length), None)
        for setting in COUNTED:
            depth = next(i for i, layer in enumerate(self.layers) if setting in layer.settings)
            meant = next((layer.length for layer in self.layers[depth:] if layer.length), unit)
            used = setting != "milestones" or self.values["schedule"] == "milestones"
            if unit and meant and unit != meant and self.values[setting] and used:
                found.append((setting, meant, unit))
        return found


def training(spec: Spec, source: Source) -> Resolved | None:
    """What a spec trains by; None where it does not say. Raises CompileError."""
    return None if spec.train is None else _resolved(spec.train, spec.recipes, source)


def with_drop_path(spec: Spec, source: Source) -> Spec:
    """The spec with the stochastic depth that it is trained by, unless it has one of its own. Raises CompileError."""
    found = training(spec, source)
    rate = found.values["drop_path"] if found is not None else None
    if not rate or spec.drop_path is not None:
        return spec
    return spec.model_copy(update={"drop_path": DropPath.model_validate({"rate": rate})})


def written_out(source: Source) -> dict[str, Any]:
    """A spec's data with what its recipe says in the place of the recipe's name; neutral values go without saying, so
    that a setting that is new to the language changes nothing. Raises CompileError."""
    section = source.data.get("train")
    if section is None:
        return source.data
    section = validate(Training, section, source, ("train",))
    found = _resolved(section, source.data.get("recipes", {}), source)
    neutral = found.layers[-1].settings
    said = {name: value for name, value in found.values.items() if value != neutral.get(name)}
    return {**source.data, "train": said}


def _resolved(section: Training, recipes: Recipes, source: Source) -> Resolved:
    layers = [Layer(section, section.said(), source, ("train",))]
    while (below := _below(layers, recipes)) is not None:
        layers.append(below)
    return Resolved(_merged(layers), tuple(layers))


def _below(layers: list[Layer], recipes: Recipes) -> Layer | None:
    """The recipe that the last of the layers builds on; None where it is the base. Raises CompileError."""
    top = layers[-1]
    name = top.section.recipe
    if name is None:
        return _from_library(BASE) if top.path else None
    path = ("recipes", name)
    at = (*top.path, "recipe") if (*top.path, "recipe") in top.source.positions else top.path
    if not top.path or name not in recipes:
        found = _from_library(name)
        if found is None:
            known = sorted({*names("recipe"), *recipes})
            raise CompileError(
                top.source.diagnostic(
                    "RD202",
                    f"there is no recipe `{name[:60]}`",
                    at,
                    hint=hint_for(name, known) or f"known: {', '.join(known)}",
                )
            )
        return found
    if path in [layer.path for layer in layers]:
        raise CompileError(
            top.source.diagnostic(
                "RD107",
                f"the recipe `{name[:60]}` builds on itself",
                at,
                hint="name another recipe, or none: then it builds on the library's `base`",
            )
        )
    section = validate(Training, recipes[name], top.source, path)
    return Layer(section, section.said(), top.source, path)


@cache
def _from_library(name: str) -> Layer | None:
    """A recipe of the library; None where there is none of that name. Raises CompileError."""
    file = LIBRARY / "recipes" / f"{name}.yaml"
    if not RECIPE_NAME.fullmatch(name) or not file.is_file():
        return None
    found = read(file)
    section = validate(Training, found.data, found)
    return Layer(section, section.said(), found, ())


def _merged(layers: list[Layer]) -> dict[str, object]:
    """The settings of all layers. A length takes the place of the one that a layer below says, in whatever unit."""
    values: dict[str, object] = {}
    for layer in reversed(layers):
        if layer.length is not None:
            values |= dict.fromkeys(LENGTHS, None)
        values |= layer.settings
    return {name: values[name] for name in SETTINGS if name in values}
