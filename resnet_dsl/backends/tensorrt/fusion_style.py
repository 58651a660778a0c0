"""How the picture of an engine is drawn: colours in light and in dark, words, the marks of joins."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from resnet_dsl.render import safe

WIDTH = 1000
"""Of the picture, in pixels."""

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


def colour(kind: str) -> str:
    """The class of a data type."""
    return f"t-{kind}" if kind in COLOURS else "t-other"


def words(said: str) -> str:
    """What is said, as XML: names are a user's, and may hold anything."""
    return escape("\n".join(map(safe, said.split("\n"))))


def text(
    kind: str, x: float, y: float, said: str, points: int, anchor: str = "start", weight: int = 400
) -> str:
    """Words on one line, of a class."""
    more = "" if anchor == "start" else f' text-anchor="{anchor}"'
    more += "" if weight == 400 else f' font-weight="{weight}"'
    return f'<text class="{kind}" x="{n(x)}" y="{n(y)}" font-size="{points}"{more}>{words(said)}</text>'


def mark(x: float, y: float, fused: bool, kind: str) -> Iterator[str]:
    """The circle of a join: with a plus, or with the cross of a product."""
    mode = "full" if fused else "open"
    yield f'<circle class="{mode}" cx="{n(x)}" cy="{n(y)}" r="7"/>'
    turn = f' transform="rotate(45 {n(x)} {n(y)})"' if kind == "multiply" else ""
    yield f'<path class="{mode}-sign" d="M{n(x - 4)} {n(y)}h8M{n(x)} {n(y - 4)}v8"{turn}/>'


def n(value: float) -> str:
    """A coordinate with one decimal at most."""
    return f"{value:.1f}".removesuffix(".0")
