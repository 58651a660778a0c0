"""Training recipes: which settings a spec trains by, and where each of them stands.

A section of settings builds on a recipe, which may build on another; the library's `base` is below all. A recipe that a
spec defines wins over the library's of the same name where the spec names it; the library's recipes build on the
library's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.language.fields import RECIPE_NAME
from resnet_dsl.language.library import LIBRARY, names
from resnet_dsl.language.schema import Spec
from resnet_dsl.language.source import Source, read
from resnet_dsl.language.synonyms import hint_for
from resnet_dsl.language.training import SETTINGS, Training
from resnet_dsl.language.validate import validate

BASE = "base"
MAX_CHAIN = 16
LENGTHS = ("epochs", "iterations")
COUNTED = ("milestones", "warmup")
"""Settings that count in the unit of the training's length."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The settings of one section: the spec's `train`, or a recipe."""

    section: Training
    settings: Mapping[str, object]
    source: Source
    path: tuple[str | int, ...]

    @property
    def in_library(self) -> bool:
        """Whether it is a file of the library."""
        return not self.path


@dataclass(frozen=True, slots=True)
class Resolved:
    """Every setting that is said, by the nearest layer that says it."""

    values: Mapping[str, object]
    layers: tuple[Layer, ...]

    def diagnostic(
        self, setting: str, code: str, message: str, why: str | None = None, hint: str | None = None
    ) -> Diagnostic:
        """A finding about a setting, where the spec says it, or else where it names its recipe."""
        own = [layer for layer in self.layers if not layer.in_library]
        layer = next((layer for layer in own if setting in layer.settings), own[0])
        path = (*layer.path, setting)
        return layer.source.diagnostic(code, message, path, why=why, hint=hint)


def training(spec: Spec, source: Source) -> Resolved | None:
    """What a spec trains by; None where it does not say. Raises CompileError."""
    if spec.train is None:
        return None
    layers = [Layer(spec.train, spec.train.said(), source, ("train",))]
    while (below := _below(layers, spec)) is not None:
        layers.append(below)
    return Resolved(_merged(layers), tuple(layers))


def _below(layers: list[Layer], spec: Spec) -> Layer | None:
    """The recipe that the last of the layers builds on; None where it is the base."""
    top = layers[-1]
    name = top.section.recipe
    if name is None:
        return None if top.in_library else _from_library(BASE, top)
    if not top.in_library and name in spec.recipes:
        path = ("recipes", name)
        if path in [layer.path for layer in layers]:
            raise CompileError(
                _about_recipe(
                    top,
                    "RD205",
                    f"the recipe `{name}` builds on itself",
                    hint="name another recipe there, or none: then it builds on the library's `base`",
                )
            )
        section = validate(Training, spec.recipes[name], top.source, path)
        return Layer(section, section.said(), top.source, path)
    return _from_library(name, top, spec)


def _from_library(name: str, top: Layer, spec: Spec | None = None) -> Layer:
    file = LIBRARY / "recipes" / f"{name}.yaml"
    if not RECIPE_NAME.fullmatch(name) or not file.is_file():
        known = sorted({*names("recipe"), *(spec.recipes if spec else ())})
        raise CompileError(
            _about_recipe(
                top,
                "RD202",
                f"there is no recipe `{name[:60]}`",
                hint=hint_for(name, known) or f"known: {', '.join(known)}",
            )
        )
    found = read(file)
    section = validate(Training, found.data, found)
    return Layer(section, section.said(), found, ())


def _about_recipe(layer: Layer, code: str, message: str, hint: str) -> Diagnostic:
    """A finding about the recipe that a layer names, at its key or at the name alone."""
    path = (*layer.path, "recipe")
    return layer.source.diagnostic(code, message, path, hint=hint)


def _merged(layers: list[Layer]) -> dict[str, object]:
    """The settings of all layers, the nearest first. A length replaces the other one that a layer below says."""
    values: dict[str, object] = {}
    for layer in reversed(layers):
        said = {name for name in LENGTHS if layer.settings.get(name) is not None}
        values |= {**dict.fromkeys(LENGTHS, None), **layer.settings} if said else layer.settings
    return {name: values[name] for name in SETTINGS if name in values}
