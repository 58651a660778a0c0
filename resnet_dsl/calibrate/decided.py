"""What was decided of a network's numbers, and how it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from resnet_dsl.passes.numbers import NARROW, Numbers, Rest

if TYPE_CHECKING:
    from resnet_dsl.calibrate.calibration import Calibration
    from resnet_dsl.calibrate.search import Mix
    from resnet_dsl.evaluate.feed import Feed


@dataclass(frozen=True)
class Decided:
    """What a graph computes with, and how that came about.

    `feed` are the images that it was calibrated with; `overflow` the largest magnitude of each value that fp16 could
    not hold, by name; `mix` what `auto` found, `measured_on` on which images; `notes` are for the user.
    """

    numbers: Numbers
    feed: Feed | None = None
    calibration: Calibration | None = None
    method: str = ""
    kept: tuple[str, ...] = ()
    overflow: Mapping[str, float] = field(default_factory=dict)
    mix: Mix | None = None
    measured_on: str = ""
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What people are told."""
        found = []
        if self.calibration is not None:
            seen = self.calibration
            by = f", by {self.method}" if self.method else ""
            kept = "; seen before, and read from a file" if seen.reused else ""
            found.append(f"calibrate ranges of {seen.about}{by}{kept}")
        if self.kept:
            found.append(f"kept      {', '.join(self.kept)} in {self._wide}, as asked")
        if self.overflow:
            names = sorted(self.overflow, key=lambda name: self.overflow[name], reverse=True)
            shown = ", ".join(f"{name} ({self.overflow[name]:.3g})" for name in names[:4])
            more = f", and {len(names) - 4} more" if len(names) > 4 else ""
            found.append(f"overflow  kept in fp32, since fp16 ends at 65504: {shown}{more}")
        if self.mix is not None:
            found += self._mix_lines(self.mix)
        return found

    def _mix_lines(self, mix: Mix) -> list[str]:
        narrow = self.numbers.precision
        wide = ", ".join(unit.name for unit in mix.wide)
        stays = f"{wide} in {self._wide}" if wide else "nothing stays wide"
        return [
            f"mix       {narrow}, {stays}",
            f"accuracy  {mix.found.accuracy:.2f} %, {mix.reference.accuracy:.2f} % in fp32, "
            f"{mix.narrow.accuracy:.2f} % all in {narrow}; {self.measured_on}",
        ]

    @property
    def rest(self) -> Rest | None:
        """What computes in floating point beside codes; None where nothing is kept in codes."""
        return self.numbers.rest if self.numbers.precision in NARROW else None

    @property
    def _wide(self) -> str:
        return self.numbers.rest if self.numbers.precision in NARROW else "fp32"

    def as_dict(self) -> dict[str, Any]:
        """For `--json` and the manifest."""
        seen, mix = self.calibration, self.mix
        return {
            "precision": self.numbers.precision,
            "rest": self.numbers.rest if self.numbers.precision in NARROW else None,
            "kept": list(self.kept),
            "overflow": dict(self.overflow),
            "calibration": None
            if seen is None
            else {
                "images": seen.about,
                "count": seen.images,
                "method": self.method or None,
                "sha256": seen.sha256,
                "file": seen.path.name,
            },
            "mix": None
            if mix is None
            else {
                "wide": [unit.name for unit in mix.wide],
                "accuracy": mix.found.accuracy,
                "accuracy_fp32": mix.reference.accuracy,
                "accuracy_narrow": mix.narrow.accuracy,
                "images": mix.found.images,
                "measured_on": self.measured_on,
                "sensitivity": {name: round(item, 6) for name, item in mix.sensitivity.items()},
            },
        }
