"""What a user asks of the numbers that a network computes with. Imports nothing heavy, so that a command line can."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.passes.numbers import HALF, NARROW, Precision, Rest
from resnet_dsl.passes.placement import Placement

if TYPE_CHECKING:
    from resnet_dsl.calibrate.methods import Method

Asked: TypeAlias = Precision | Literal["auto"]

IMAGES = 512
"""How many images a network is calibrated with: Wu et al. 2020, section 4, found no gain beyond."""
RANGE_IMAGES = 128
"""How many are looked at to see whether fp16 holds all values."""
METHOD: Method = "entropy"
BUDGET = 0.5


@dataclass(frozen=True, slots=True)
class Wish:
    """What a network is to compute with; None: what the target is best at, or what the network was trained on.

    `keep` names stages, blocks and layers that stay wide; `place` is where calibration images are; `budget` is in
    points of accuracy, and `accuracy_images` how many labelled images it is measured on. `engine`: what is
    decided is for an engine, and not for an ONNX graph that is the result itself.
    """

    precision: Asked = "fp32"
    placement: Placement | None = None
    rest: Rest | None = None
    keep: tuple[str, ...] = ()
    place: str | None = None
    images: int | None = None
    method: Method | None = None
    percent: float | None = None
    budget: float | None = None
    accuracy_images: int | None = None
    engine: bool = False

    @property
    def quantised(self) -> bool:
        """Whether something is kept in codes."""
        return self.precision == "auto" or self.precision in NARROW

    @property
    def runtime(self) -> Placement:
        """The runtime that codes are placed for."""
        if self.placement is not None:
            return self.placement
        return "tensorrt" if self.precision == "fp8" else "onnxruntime"

    @property
    def others(self) -> Rest:
        """What computes in floating point beside codes."""
        if self.rest is not None:
            return self.rest
        return "fp16" if self.runtime == "tensorrt" and self.engine else "fp32"

    @property
    def half(self) -> bool:
        """Whether something computes in a half type, and may overflow or be rounded."""
        return self.precision in HALF or (self.quantised and self.others in HALF)

    @property
    def suffix(self) -> str:
        """What the names of its files end in, before their type."""
        return "" if self.precision == "fp32" else f".{self.precision}"


def check_wish(wish: Wish) -> None:
    """Raises CompileError RD702 for options that would do nothing, RD685 for a percentile that is none."""
    about = f"--precision {wish.precision}"
    found: list[Diagnostic] = []
    if not wish.quantised:
        why = f"{about} has one type for all"
        given: dict[str, object] = {"--rest": wish.rest, "--calibration-method": wish.method}
        if not wish.engine:
            given["--for"] = wish.placement
        found += _useless(given, why)
    if not (wish.quantised or wish.half):
        why = f"{about} needs no ranges of values"
        given = {"--calibration": wish.place, "--calibration-images": wish.images}
        found += _useless({**given, "--keep": wish.keep or None}, why)
    if wish.precision == "bf16":
        why = "bf16 has the range of fp32, so that nothing can overflow"
        found += _useless({"--calibration": wish.place, "--calibration-images": wish.images}, why)
    if wish.percent is not None and wish.method != "percentile":
        needs = "--calibration-method percentile"
        found += _useless({"--percentile": wish.percent}, "it is of one method", needs)
    if wish.precision != "auto":
        why = "nothing is searched for"
        limits = {"--accuracy-budget": wish.budget, "--accuracy-images": wish.accuracy_images}
        found += _useless(limits, why, "--precision auto")
    if wish.percent is not None and not 0 < wish.percent <= 100:
        hint = "give one above 0 and up to 100; 99.99 is the default"
        found.append(Diagnostic("RD685", f"{wish.percent:g} is no percentile", hint=hint))
    if wish.precision == "auto" and wish.place == "fake":
        found.append(
            Diagnostic(
                "RD686",
                "there are no right answers in noise",
                why="--precision auto weighs speed against accuracy",
                hint="give labelled images with --calibration, or for a try --precision int8",
            )
        )
    if found:
        raise CompileError(found)


def _useless(given: Mapping[str, object], why: str, needs: str = "") -> list[Diagnostic]:
    return [
        Diagnostic(
            "RD702",
            f"{name} would do nothing here",
            why=why,
            hint=f"leave {name} out" + (f", or add {needs}" if needs else ""),
        )
        for name, value in given.items()
        if value is not None
    ]
