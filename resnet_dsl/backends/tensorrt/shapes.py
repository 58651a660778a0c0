"""The shapes that an engine takes: optimisation profiles, how they are written, and what is none.

A profile gives min/opt/max of the batch, and of height and width where the graph leaves them open: kernels are tuned
for `opt`, and nothing outside min to max runs. Profiles of one engine may overlap.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from resnet_dsl.errors import CompileError, Diagnostic, suggest

LARGEST = 2**31 - 1
"""The greatest extent of a dimension."""
DIMENSIONS = ("batch", "height", "width")
MOST_PROFILES = 64
"""More would fill the GPU's memory before they are of use: each has activations and kernels of its own."""


_PLURAL = {"batch": "batch sizes", "height": "heights", "width": "widths"}
_EXAMPLES = {"batch": "1/8/64", "height": "192/224/256", "width": "192/224/256"}


@dataclass(frozen=True, slots=True)
class Range:
    """The least, the tuned-for and the greatest value of a symbolic dimension."""

    min: int
    opt: int
    max: int

    def __str__(self) -> str:
        return f"{self.min}/{self.opt}/{self.max}"

    def holds(self, size: int) -> bool:
        """Whether a size is in the range."""
        return self.min <= size <= self.max


@dataclass(frozen=True, slots=True)
class Profile:
    """The shapes that an engine takes. `height` and `width` are for graphs in which these are symbolic too."""

    batch: Range = Range(1, 8, 64)
    height: Range | None = None
    width: Range | None = None

    def __str__(self) -> str:
        spatial = [
            f"{name} {size}"
            for name, size in (("height", self.height), ("width", self.width))
            if size is not None
        ]
        return ", ".join([f"batch {self.batch}", *spatial])


def range_of(text: str, dimension: str = "batch") -> Range:
    """`1/8/64`, or one number for a size that never changes. Raises CompileError (RD625)."""
    parts = [part.strip() for part in text.split("/")]
    if len(parts) not in (1, 3) or not all(re.fullmatch("[0-9]{1,20}", part) for part in parts):
        raise CompileError(
            Diagnostic(
                "RD625",
                f"`{text[:40]}` is no range of {_PLURAL[dimension]}",
                hint=f"write `{_EXAMPLES[dimension]}` for the least, the usual and the greatest, or one number",
            )
        )
    numbers = [int(part) for part in parts]
    found = Range(*numbers) if len(numbers) == 3 else Range(numbers[0], numbers[0], numbers[0])
    if findings := range_findings(found, dimension):
        raise CompileError(findings)
    return found


def profile_of(
    batch: str | None = None, height: str | None = None, width: str | None = None
) -> Profile:
    """A profile of ranges as text; without a batch, 1/8/64. Raises CompileError (RD625) with every finding."""
    ranges: dict[str, Range] = {}
    findings: list[Diagnostic] = []
    for name, text in (("batch", batch), ("height", height), ("width", width)):
        if text is None:
            continue
        try:
            ranges[name] = range_of(text, name)
        except CompileError as error:
            findings += error.diagnostics
    if findings:
        raise CompileError(findings)
    return Profile(**ranges)


def parse_profile(text: str) -> Profile:
    """`batch=1/8/64,height=192/224/256`; `size=` is height and width together. Raises CompileError (RD625)."""
    given: dict[str, str] = {}
    findings: list[Diagnostic] = []
    for word in text.split(","):
        name, equals, value = (part.strip() for part in word.partition("="))
        names = ("height", "width") if name == "size" else (name,)
        if not equals or not set(names) <= set(DIMENSIONS):
            hint = suggest(name, (*DIMENSIONS, "size")) if equals else None
            findings.append(
                Diagnostic(
                    "RD625",
                    f"`{word.strip()[:40]}` is no part of a profile",
                    hint=hint
                    or "write `--profile batch=1/8/64,height=192/224/256,width=192/224/256`",
                )
            )
        elif given.keys() & set(names):
            message = f"a profile gives {' and '.join(names)} twice: `{text[:60]}`"
            findings.append(Diagnostic("RD625", message, hint="leave one of them out"))
        else:
            given.update(dict.fromkeys(names, value))
    if findings:
        raise CompileError(findings)
    return profile_of(**given)


def parse_profiles(texts: Sequence[str]) -> tuple[Profile, ...]:
    """Each `--profile` in its order. Raises CompileError (RD625) with every finding."""
    profiles: list[Profile] = []
    findings: list[Diagnostic] = []
    for text in texts:
        try:
            profiles.append(parse_profile(text))
        except CompileError as error:
            findings += error.diagnostics
    findings = findings or list_findings(profiles)
    if findings:
        raise CompileError(findings)
    return tuple(profiles)


def parse_size(text: str) -> tuple[int, int]:
    """An image size, `224` or `192x256`, as (height, width) in pixels. Raises CompileError (RD625)."""
    parts = re.fullmatch(r"\s*([0-9]{1,9})(?:\s*[x×]\s*([0-9]{1,9}))?\s*", text, re.I | re.ASCII)
    sizes = (0, 0) if parts is None else (int(parts[1]), int(parts[2] or parts[1]))
    if min(sizes) < 1:
        raise CompileError(
            Diagnostic(
                "RD625",
                f"`{text[:40]}` is no image size",
                hint="write it in pixels, `224`, or height and width, `192x256`",
            )
        )
    return sizes


def profile_findings(profile: Profile) -> list[Diagnostic]:
    """What is wrong with a profile (RD625)."""
    ranges = {name: getattr(profile, name) for name in DIMENSIONS}
    return [
        item
        for name, size in ranges.items()
        if size is not None
        for item in range_findings(size, name)
    ]


def list_findings(profiles: Sequence[Profile]) -> list[Diagnostic]:
    """What is wrong with a list of profiles, whatever each of them is (RD625)."""
    if not profiles:
        return [Diagnostic("RD625", "the list of profiles is empty")]
    twice = next((item for item in profiles if profiles.count(item) > 1), None)
    if twice is not None:
        hint = "leave one of them out: profiles may overlap, and equal ones cost memory for nothing"
        return [Diagnostic("RD625", f"two profiles are the same: {twice}", hint=hint)]
    if len(profiles) > MOST_PROFILES:
        message = f"there are {len(profiles)} profiles, and {MOST_PROFILES} at most"
        return [Diagnostic("RD625", message, hint="give wider ranges, and fewer of them")]
    return []


def range_findings(size: Range, dimension: str) -> list[Diagnostic]:
    """What is wrong with the range of a dimension (RD625)."""
    if 1 <= size.min <= size.opt <= size.max <= LARGEST:
        return []
    return [
        Diagnostic(
            "RD625",
            f"the {dimension} of a profile is {size}",
            why="a profile is min/opt/max, with 1 ≤ min ≤ opt ≤ max"
            + (f" ≤ {LARGEST:,}" if size.max > LARGEST else ""),
            hint=f"write `{_nearest(size)}`",
        )
    ]


def _nearest(size: Range) -> Range:
    return Range(*sorted(min(max(1, item), LARGEST) for item in (size.min, size.opt, size.max)))
