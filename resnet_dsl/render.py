"""Drawing a diagnostic as text, in the manner of rustc.

Source text and messages come from whoever wrote the spec, so nothing that steers a terminal leaves here: control
and direction characters, and what looks like a space and is none, are printed as escapes. Columns are cells of a
terminal: a tab fills up to the next multiple of 4, a wide character takes two cells, a combining mark none. A long
line is cut to a window around the caret.
"""

from __future__ import annotations

import unicodedata

from resnet_dsl.errors import Diagnostic, Position

TAB = 4
WINDOW = 100
"""How many characters of a source line are shown at most."""

_RESET = "\x1b[0m"
_STYLES = {
    "error": "\x1b[1;31m",
    "title": "\x1b[1m",
    "frame": "\x1b[1;34m",
    "second": "\x1b[1;34m",
    "hint": "\x1b[36m",
}


def draw(diagnostic: Diagnostic, color: bool = False) -> str:
    """The diagnostic as text, without a newline at its end."""

    def paint(style: str, text: str) -> str:
        return f"{_STYLES[style]}{text}{_RESET}" if color and text else text

    position = diagnostic.position
    places = [item.position for item in diagnostic.related] + ([position] if position else [])
    gutter = max((len(str(place.line)) for place in places), default=0) + 2
    bar = paint("frame", " " * gutter + "|")

    def note(style: str, name: str, text: str) -> str:
        first = " " * gutter + f"= {name}: "
        lines = [safe(line) for line in text.splitlines()] or [""]
        joined = ("\n" + " " * len(first)).join(lines)
        return paint("frame", " " * gutter + "=") + " " + paint(style, f"{name}:") + f" {joined}"

    def snippet(
        place: Position, text: str | None, mark: str, style: str, label: str = ""
    ) -> list[str]:
        if text is None:
            return [f"{bar} {label}"] if label else []
        shown, before, width = window(text, place.column, place.width)
        number = paint("frame", f"{place.line:>{gutter - 1}} |")
        caret = " " * before + paint(style, mark * width + (f" {label}" if label else ""))
        return [bar, f"{number} {shown}".rstrip(), f"{bar} {caret}"]

    message = ("\n" + " " * (gutter + 2)).join(
        safe(line) for line in diagnostic.message.splitlines()
    )
    lines = [paint("error", f"error[{safe(diagnostic.code)}]") + paint("title", f": {message}")]
    if position:
        lines.append(_place(gutter, position, paint("frame", "-->")))
        lines += snippet(position, diagnostic.line_text, "^", "error")
    for item in diagnostic.related:
        lines.append(_place(gutter, item.position, paint("frame", ":::")))
        lines += snippet(item.position, item.line_text, "-", "second", safe(item.label))
    if diagnostic.why:
        lines.append(note("title", "why", diagnostic.why))
    if diagnostic.hint:
        lines.append(note("hint", "hint", diagnostic.hint))
    return "\n".join(lines)


def _place(gutter: int, position: Position, arrow: str) -> str:
    return f"{' ' * (gutter - 1)}{arrow} {safe(position.file)}:{position.line}:{position.column}"


def window(text: str, column: int, width: int) -> tuple[str, int, int]:
    """What is shown of a source line, the cells before the caret, and the cells it underlines.

    `column` is 1-based; it may lie past the end of the line, as for a value that is missing.
    """
    text = text.rstrip("\r\n")
    start = max(column - 1, 0)
    stop = start + max(width, 1)
    first, last = 0, len(text)
    if last > WINDOW:
        # A third of the window stands before the caret, the rest after it.
        first = max(0, min(start - WINDOW // 3, last - WINDOW))
        last = first + WINDOW
    stop = min(stop, max(last, start + 1))
    head = "…" if first > 0 else ""
    tail = "…" if last < len(text) else ""
    shown, offsets = head, [len(head)]
    used = len(head)
    for character in text[first:last]:
        piece = " " * (TAB - used % TAB) if character == "\t" else safe(character)
        shown += piece
        used += _cells(piece)
        offsets.append(used)

    def cell(index: int) -> int:
        inside = index - first
        return (
            offsets[inside]
            if inside < len(offsets)
            else offsets[-1] + min(inside - len(offsets) + 1, 1)
        )

    return shown + tail, cell(start), max(cell(stop) - cell(start), 1)


def safe(text: str) -> str:
    """Text that a terminal shows and does not obey."""
    if text.isprintable():
        return text
    return "".join(map(_safe_character, text))


def _safe_character(character: str) -> str:
    if character.isprintable():
        return character
    number = ord(character)
    if number <= 0xFF:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def _cells(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.combining(character)
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )
