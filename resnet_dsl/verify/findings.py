"""What comes of a target: values compared, and what departs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from resnet_dsl.verify.measure import Measured
from resnet_dsl.verify.targets import About

Question: TypeAlias = Literal["passes", "weights", "arithmetic", "values", "result", "agreement"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that departs: which question, at which spec block and which value, by how many times its bound."""

    question: Question
    block: str
    name: str
    ratio: float
    message: str


@dataclass(frozen=True, slots=True)
class Compared:
    """A value at the end of a block (or the output, of which `deployed` says whether it was computed as it is used)
    beside the reference: errors, what they may be, and the root mean square of the value."""

    name: str
    block: str
    scale: float
    largest: float
    largest_bound: float
    rms: float
    rms_bound: float
    deployed: bool = False

    @property
    def ratio(self) -> float:
        """The error as a part of its bound; more than 1 is a departure."""
        return max(part(self.largest, self.largest_bound), part(self.rms, self.rms_bound))


@dataclass(frozen=True)
class Proof:
    """What came of a target."""

    about: About
    why_not: str = ""
    """Why it was not executed; its graph and constants were looked at nevertheless."""
    steps: list[Measured] = field(default_factory=list)
    compared: list[Compared] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def executed(self) -> bool:
        """Whether it was executed."""
        return not self.why_not

    @property
    def holds(self) -> bool:
        """Whether rounding explains everything."""
        return not self.findings


def part(error: float, bound: float) -> float:
    """An error as a part of its bound."""
    if error == 0:
        return 0.0
    return error / max(bound, 1e-300) if error == error else float("inf")
