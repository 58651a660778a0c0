"""From what a user asks (`Wish`) to what a graph computes with (`Numbers`): the ranges that codes need, what a half
type could not hold, and for `auto` the fastest mix within a loss of accuracy."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_dsl.calibrate.decided import Decided
from resnet_dsl.calibrate.methods import PERCENT
from resnet_dsl.calibrate.overflow import overflowing
from resnet_dsl.calibrate.parts import nodes_in
from resnet_dsl.calibrate.wish import BUDGET, IMAGES, METHOD, RANGE_IMAGES, Wish
from resnet_dsl.compiler import Compilation
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.ir.graph import Graph
from resnet_dsl.needs import require
from resnet_dsl.passes.names import distinct, value_names
from resnet_dsl.passes.numbers import Numbers, Precision

if TYPE_CHECKING:
    from resnet_dsl.calibrate.calibration import Calibration
    from resnet_dsl.calibrate.observe import Progress
    from resnet_dsl.evaluate.feed import Feed
    from resnet_dsl.weights.store import Weights

AUTO: Precision = "int8"
"""What `auto` makes narrow: every GPU and processor that is compiled for has it."""
_BFLOAT16_CODES = (
    "TensorRT for RTX 1.7 has no kernels of codes beside bf16: convolutions compute in bf16 there, with numbers "
    "that are rounded as codes are, and are no faster; --rest fp16 has them"
)

Bar = Callable[[str, str], "AbstractContextManager[Progress]"]
"""A progress bar for a piece of work with this name, and what it counts."""


def decide(
    compilation: Compilation,
    weights: Weights,
    wish: Wish,
    folder: Path,
    *,
    file: Path | None = None,
    fold: bool = True,
    fixed_size: bool = True,
    bar: Bar | None = None,
) -> Decided:
    """What a network is to compute with. `file` is what its weights were loaded from; None: they are drawn from a seed.
    Calibrations are stored in `folder`.

    Raises CompileError: RD685 for a part that is none, RD686 where images or labels are needed and there are none,
    RD687 where ONNX Runtime cannot measure a mix; and what the feed and calibration raise.
    """
    graph = compilation.inference_graph(fold=fold, fixed_size=fixed_size)
    kept = nodes_in(graph, wish.keep)
    work = _Decision(compilation, weights, wish, folder, file, graph, kept, bar or _no_bar)
    if wish.quantised:
        return work.quantised()
    if wish.precision == "fp16":
        return work.half()
    assert wish.precision != "auto"
    return Decided(Numbers(wish.precision, wide=kept), kept=wish.keep)


@dataclass(frozen=True)
class _Decision:
    compilation: Compilation
    weights: Weights
    wish: Wish
    folder: Path
    file: Path | None
    graph: Graph
    kept: frozenset[str]
    bar: Bar

    def half(self) -> Decided:
        """fp16, with what it could not hold in fp32; unchecked, and said so, where there are no images."""
        plain = Decided(Numbers("fp16", wide=self.kept), kept=self.wish.keep)
        if self.wish.place is None and self.file is None:
            return replace(plain, notes=(_unchecked("the weights are untrained"),))
        try:
            feed = self._feed("train", self.wish.images or RANGE_IMAGES)
            calibration = self._calibrated(feed)
        except CompileError as error:
            if self.wish.place is not None:
                raise
            return replace(plain, notes=(_unchecked(error.diagnostics[0].message),))
        overflow = overflowing(self.graph, _largest(calibration, self.graph))
        return replace(
            plain,
            numbers=Numbers("fp16", wide=self.kept | overflow.keys()),
            feed=feed,
            calibration=calibration,
            overflow=overflow,
            notes=calibration.notes,
        )

    def quantised(self) -> Decided:
        """Codes, with the ranges of what is kept in them; for `auto`, in as many blocks as the budget allows."""
        wish = self.wish
        narrow: Precision = AUTO if wish.precision == "auto" else wish.precision
        feed = self._needed_feed()
        whole = Numbers(narrow, wish.others, wish.runtime, floating=self.kept)
        calibration = self._calibrated(feed)
        overflow = {}
        if wish.others == "fp16":
            overflow = overflowing(self.graph, _largest(calibration, self.graph))
        method = wish.method or METHOD
        found = Decided(
            self._ranged(replace(whole, wide=frozenset(overflow)), calibration),
            feed,
            calibration,
            f"{method} {wish.percent or PERCENT:g} %" if method == "percentile" else method,
            wish.keep,
            overflow,
            notes=(*calibration.notes, *_warnings(wish, narrow)),
        )
        return self._mixed(found) if wish.precision == "auto" else found

    def _ranged(self, numbers: Numbers, calibration: Calibration) -> Numbers:
        """The numbers with the ranges that their plan asks for."""
        plan = numbers.plan(self.graph)
        assert plan is not None
        levels = {value.ranged_by: int(plan.codes(value)[1]) for value in plan.values}
        method, percent = self.wish.method or METHOD, self.wish.percent or PERCENT
        ranges = {
            name: calibration.threshold(name, method, count, percent)
            for name, count in levels.items()
        }
        return replace(numbers, ranges=ranges)

    def _mixed(self, whole: Decided) -> Decided:
        from resnet_dsl.calibrate.accuracy import compared, held, logits_of, most_images
        from resnet_dsl.calibrate.search import Measured, search, steps_of, units_of

        wish = self.wish
        limit = wish.accuracy_images or most_images(self.graph.input)
        feed = self._feed("test", limit)
        images = held(feed)
        units = [unit for unit in units_of(self.graph) if not unit.nodes <= self.kept]
        assert whole.calibration is not None
        seen = whole.calibration
        plain = replace(whole.numbers, rest="fp32", wide=frozenset())
        with self.bar("measuring mixes", "mixes") as progress:
            progress.begin(steps_of(len(units)))
            reference = logits_of(self.graph, self.weights, images)
            wide = compared(reference, reference, images)
            progress.add(1)

            def measure(floating: frozenset[str]) -> Measured:
                mixed = self._ranged(replace(plain, floating=self.kept | floating), seen)
                graph = self._in(mixed)
                found = compared(logits_of(graph, self.weights, images), reference, images)
                progress.add(1)
                return found

            budget = BUDGET if wish.budget is None else wish.budget
            mix = search(units, budget, measure, wide)
        floating = self.kept.union(*(unit.nodes for unit in mix.wide))
        if len(mix.wide) == len(units):  # what has no multiply-adds is in no unit
            floating = frozenset(node.name for node in self.graph.nodes)
        return replace(
            whole,
            numbers=self._ranged(replace(whole.numbers, floating=floating), seen),
            mix=mix,
            measured_on=feed.about,
        )

    def _in(self, numbers: Numbers) -> Graph:
        from resnet_dsl.passes.manager import run

        return run(self.graph, numbers.passes())

    def _needed_feed(self) -> Feed:
        if self.wish.place is None and self.file is None:
            way = ", or for a try --calibration fake"
            raise CompileError(
                Diagnostic(
                    "RD686",
                    f"--precision {self.wish.precision} needs images to calibrate with",
                    why="the weights are drawn from a seed, and the ranges of an untrained network say nothing",
                    hint="give trained weights with --weights"
                    + (way if self.wish.precision != "auto" else ", and labelled images"),
                )
            )
        try:
            return self._feed("train")
        except CompileError as error:
            if self.wish.place is not None:
                raise
            raise CompileError(
                Diagnostic(
                    "RD686",
                    f"--precision {self.wish.precision} needs images to calibrate with",
                    why=error.diagnostics[0].message,
                    hint="name them: --calibration with a folder, an archive, or an .npy of (N, C, H, W)",
                )
            ) from error

    def _feed(self, split: str, limit: int | None = None) -> Feed:
        from resnet_dsl.evaluate.feed import open_feed

        wish = self.wish
        count = limit or wish.images or IMAGES
        return open_feed(
            self.compilation, self.file, wish.place, "test" if split == "test" else "train", count
        )

    def _calibrated(self, feed: Feed) -> Calibration:
        require("onnx", "onnxruntime")
        from resnet_dsl.calibrate.calibrate import calibrate

        with self.bar("calibrating", "images") as progress:
            return calibrate(
                distinct(self.graph), self.weights, feed, self.folder, progress=progress
            )


def _largest(calibration: Calibration, graph: Graph) -> dict[str, float]:
    return {name: calibration.largest(name) for name in value_names(graph)}


def _warnings(wish: Wish, narrow: Precision) -> list[str]:
    """What runtimes do to graphs that they should run as they are."""
    if wish.engine:
        return [_BFLOAT16_CODES] if wish.others == "bf16" else []
    if narrow == "fp8":
        return [
            "ONNX Runtime 1.31 takes float8 for int8 where it fuses, and then has other numbers: switch its graph "
            "optimisations off to run this"
        ]
    if wish.others != "fp32":
        return [
            f"ONNX Runtime 1.31 makes codes of {wish.others} biases, too coarse ones: run this with "
            "disabled_optimizers=['WeightBiasQuantization'], or leave --rest out"
        ]
    return []


def _unchecked(why: str) -> str:
    return f"whether fp16 can hold all values was not checked: {why}"


def _no_bar(_what: str, _unit: str) -> AbstractContextManager[Progress]:
    from resnet_dsl.calibrate.observe import Silent

    return nullcontext(Silent())
