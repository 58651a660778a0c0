"""The runs of a study: all combinations of its axes' values, each with every seed.

What a run trains is settled here, once and for all: its spec is the file's with every override and every setting of
its recipe in it, and its id follows from that. A run of another content is another run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

from resnet_dsl.analysis.macs import total_macs
from resnet_dsl.analysis.parameters import total_parameters
from resnet_dsl.catalogue import bundled, find_spec
from resnet_dsl.compiler import Compilation, compile_spec, spec_hash
from resnet_dsl.errors import CompileError, Diagnostic, suggest
from resnet_dsl.language.recipes import training, written_out
from resnet_dsl.language.source import Source, load
from resnet_dsl.studies.overrides import Overrides, Place
from resnet_dsl.studies.schema import LABEL, Axis, Study

MOST_RUNS = 10_000
BACKWARD = 2
"""Cost of a backward pass in forward passes: one for the gradients of the activations, one for those of the weights."""

IMAGES = {"digits": 1437, "cifar10": 50_000, "cifar100": 50_000}
"""Training images of the data sets whose size is known without looking."""

Check: TypeAlias = Callable[[Compilation], object]
"""Raises CompileError for a network that cannot be trained as its spec says."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the command line asks for: values of axes, seeds, and overrides of every run."""

    axes: Mapping[str, tuple[str, ...]]
    seeds: tuple[int, ...] = ()
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """One combination of the axes' values: a network and its training. `at` are the axes with their labels."""

    at: tuple[tuple[str, str], ...]
    name: str
    parameters: int
    macs: int
    settings: Mapping[str, Any]

    @property
    def label(self) -> str:
        """As in `net=plain depth=8`."""
        return " ".join(f"{axis}={value}" for axis, value in self.at)

    @property
    def training_macs(self) -> int | None:
        """Multiply-adds of the whole training; None where the number of its images is not known before."""
        images = self._images
        return None if images is None else (1 + BACKWARD) * self.macs * images

    @property
    def _images(self) -> int | None:
        settings = self.settings
        if settings.get("iterations") is not None:
            return int(settings["iterations"]) * int(settings["batch_size"])
        count = IMAGES.get(settings["data"])
        if count is None:
            return None
        return int(settings["epochs"]) * max(count - int(settings["validation"]), 0)


@dataclass(frozen=True, slots=True)
class Run:
    """One training. `spec` is all that it trains, the seed and every setting of the recipe included, as plain data."""

    id: str
    case: Case
    seed: int
    spec: Mapping[str, Any]
    spec_hash: str

    @property
    def label(self) -> str:
        """As in `net=plain depth=8 seed=0`."""
        return f"{self.case.label} seed={self.seed}"


def plan(study: Study, source: Source, choice: Choice, check: Check) -> list[Run]:
    """The runs, in the order of the axes. Raises CompileError with the findings of every run."""
    axes = [
        (name, axis, _chosen(name, axis, choice.axes.get(name)))
        for name, axis in study.axes.items()
    ]
    for name in choice.axes:
        if name not in study.axes:
            hint = suggest(name, study.axes) or f"its axes: {', '.join(study.axes)}"
            raise _refusal(f"there is no axis `{name[:60]}` in {study.name}", hint=hint)
    seeds = choice.seeds or tuple(study.seeds)
    count = len(seeds)
    for _, _, labels in axes:
        count *= len(labels)
    if count > MOST_RUNS:
        raise _refusal(f"{study.name} would be {count:,} runs; the most is {MOST_RUNS:,}")
    runs: list[Run] = []
    found: dict[tuple[str, str], list[tuple[str, Diagnostic]]] = {}
    settle = _Settle(study, source, choice.overrides, check)
    for labels in product(*(labels for _, _, labels in axes)):
        at = tuple((name, label) for (name, _, _), label in zip(axes, labels, strict=True))
        try:
            runs += settle.runs(at, seeds)
        except CompileError as error:
            where = " ".join(f"{name}={label}" for name, label in at)
            for item in error.diagnostics:
                found.setdefault((item.code, item.message), []).append((where, item))
    if found:
        raise CompileError(map(_told_once, found.values()))
    return runs


def _told_once(alike: Sequence[tuple[str, Diagnostic]]) -> Diagnostic:
    """One finding for the same one about several cases: of the first of them."""
    where, first = alike[0]
    others = len({place for place, _ in alike}) - 1
    more = f" (and {others} more)" if others else ""
    return replace(first, message=f"{where}{more}: {first.message}")


class _Settle:
    """Makes runs of places on the axes."""

    def __init__(
        self, study: Study, source: Source, overrides: Sequence[str], check: Check
    ) -> None:
        self.study = study
        self.source = source
        self.overrides = overrides
        self.check = check

    def runs(self, at: tuple[tuple[str, str], ...], seeds: Sequence[int]) -> Iterator[Run]:
        """A run for each seed. Raises CompileError."""
        path = self.spec(at)
        texts = Overrides(self.source, load(path, resolve=_bundled).data)
        texts.add(self.study.set, ("set",))
        for name, label in at:
            axis = self.study.axes[name]
            place: Place = ("axes", name)
            if isinstance(axis.values, dict):
                texts.add(axis.set, (*place, "set"))
                texts.add(axis.values[label].set, (*place, "values", label, "set"))
            else:
                texts.compute(axis.set, (*place, "set"), name, label)
        texts.given(self.overrides)
        yield from self.of_seeds(at, path, texts.lines, seeds)

    def spec(self, at: tuple[tuple[str, str], ...]) -> Path:
        """The file of the spec: the last axis that names one wins over the study."""
        place: Place = ("spec",)
        found = self.study.spec
        for name, label in at:
            axis = self.study.axes[name]
            if axis.spec is not None:
                found, place = axis.spec, ("axes", name, "spec")
            variant = axis.values[label] if isinstance(axis.values, dict) else None
            if variant is not None and variant.spec is not None:
                found, place = variant.spec, ("axes", name, "values", label, "spec")
                if place not in self.source.positions:
                    place = place[:-1]
        if found is None:
            raise CompileError(
                self.source.diagnostic(
                    "RD102",
                    "no spec is named",
                    (),
                    hint="name one at the top, `spec: resnet20`, or at a value of an axis",
                )
            )
        beside = Path(self.source.position(()).file).parent / found
        if beside.is_file():
            return beside
        try:
            return find_spec(found)
        except CompileError as error:
            raise CompileError(
                self.source.diagnostic(item.code, item.message, place, why=item.why, hint=item.hint)
                for item in error.diagnostics
            ) from None

    def of_seeds(
        self,
        at: tuple[tuple[str, str], ...],
        path: Path,
        texts: Sequence[str],
        seeds: Sequence[int],
    ) -> Iterator[Run]:
        """The network is compiled once: seeds differ in nothing but themselves."""
        first = compile_spec(path, [*texts, f"train.seed={seeds[0]}"])
        self.check(first)
        resolved = training(first.spec, first.source)
        settings = {} if resolved is None else resolved.values
        graph = first.graph
        case = Case(
            at, first.spec.name, total_parameters(graph).trainable, total_macs(graph), settings
        )
        for seed in seeds:
            found = (
                first.source
                if seed == seeds[0]
                else load(path, [*texts, f"train.seed={seed}"], resolve=_bundled)
            )
            hashed = spec_hash(found)
            run = (
                f"{case.name}-{seed}-{hashed[:12]}"  # what one looks for, and what makes it another
            )
            yield Run(run, case, seed, written_out(found), hashed)


def _chosen(name: str, axis: Axis, asked: tuple[str, ...] | None) -> tuple[str, ...]:
    """The values of an axis that are asked for: of labels some, of a list any. Raises CompileError."""
    if asked is None:
        return axis.labels
    for label in asked:
        known = not isinstance(axis.values, dict) or label in axis.values
        if not known or not LABEL.fullmatch(label):
            raise _refusal(
                f"`{label[:60]}` is no value of the axis `{name}`",
                hint=suggest(label, axis.labels) or f"its values: {', '.join(axis.labels)}",
            )
    return tuple(dict.fromkeys(asked))


def _refusal(message: str, why: str | None = None, hint: str | None = None) -> CompileError:
    return CompileError(Diagnostic("RD661", message, why=why, hint=hint))


def _bundled(name: str, _including: Path) -> Path:
    return bundled()[name]
