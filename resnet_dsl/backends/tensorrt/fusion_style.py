"""The colours of the picture of an engine, in light and in dark."""

from __future__ import annotations

from collections.abc import Iterator

COLOURS: dict[str, tuple[str, str]] = {
    "fp32": ("#f3c969", "#8f6a16"),
    "fp16": ("#9cc3f5", "#2d5f9e"),
    "bf16": ("#8ed4c2", "#1d7464"),
    "fp8": ("#d0b3ee", "#7044a3"),
    "int8": ("#f3a896", "#a34631"),
    "uint8": ("#f3a896", "#a34631"),
    "other": ("#c9cdd3", "#565d67"),
}
"""A fill for each data type, in light and in dark, of a lightness on which the words of its mode can be read."""

_INK = ("#1c2128", "#e6e9ee")
_SOFT = ("#5c6570", "#9aa4b0")
_LINE = ("#b9c0c9", "#47505b")
_GROUND = ("#ffffff", "#14181d")
_APART = ("#c4291c", "#ff8474")


def css() -> str:
    """The style sheet: light, and dark where that is preferred."""
    light, dark = "".join(_rules(0)), "".join(_rules(1))
    return f"{light}@media (prefers-color-scheme:dark){{{dark}}}"


def _rules(mode: int) -> Iterator[str]:
    ink, ground, apart = _INK[mode], _GROUND[mode], _APART[mode]
    yield f".ground{{fill:{ground}}}.ink,.word{{fill:{ink}}}.soft{{fill:{_SOFT[mode]}}}"
    yield f".line{{stroke:{_LINE[mode]};stroke-width:1.2}}path.line{{fill:none}}"
    yield f".hatch{{stroke:{ink};stroke-width:1.4;stroke-opacity:.28}}"
    yield f".skip{{fill:none;stroke:{_SOFT[mode]};stroke-width:1.4}}"
    yield f".full{{fill:{ink}}}.full-sign{{stroke:{ground};stroke-width:1.8}}"
    yield f".open{{fill:{ground};stroke:{apart};stroke-width:1.8}}.open-sign{{stroke:{apart};stroke-width:1.8}}"
    for name, fills in COLOURS.items():
        yield f".t-{name}{{fill:{fills[mode]}}}"
