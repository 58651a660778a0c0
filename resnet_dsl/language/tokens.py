"""The tokens of an expression, and the error that reading one may raise."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal as Choice

from resnet_dsl.ir.expr import ExprError, Value, literal

MAX_CHARACTERS = 500


class ExpressionSyntaxError(Exception):
    """Text that is no expression; at fault are the `length` characters from `offset` (0-based)."""

    def __init__(self, message: str, offset: int, length: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.length = length
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Token:
    """`text` is as written; `value` is that of a number or a string."""

    kind: Choice["number", "string", "name", "word", "op", "end"]
    text: str
    offset: int
    value: Value = ""

    @property
    def length(self) -> int:
        return len(self.text)


_WORDS = frozenset({"and", "or", "not", "if", "else"})
_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR = re.compile(r"//|[=!<>]=|[-+*/%<>(),]")

# What other languages write, and what to write here: first what begins as our own operators do.
_LOOKALIKES = {
    "===": "write `==`",
    "!==": "write `!=`",
    "**": "there are no powers; write `x * x`",
    "<>": "write `!=`",
    "=>": "write `>=`",
    "=<": "write `<=`",
}
_LOOKALIKE = re.compile("|".join(map(re.escape, _LOOKALIKES)))
_FOREIGN = {
    "&&": "write `and`",
    "||": "write `or`",
    "^": "there are no powers; write `x * x`",
    "=": "write `==`",
    "&": "write `and`",
    "|": "write `or`",
    "!": "write `not`",
    "~": "write `not`",
    "?": "write `a if condition else b`",
    ":": "write `a if condition else b`",
    "[": "lists are not values; use parentheses for grouping",
    "{": "there are no braces; use parentheses for grouping",
    "$": "write the name alone",
    ".": "names have no dots, and a number needs a digit beside the point",
    "×": "write `*`",
    "÷": "write `/` or `//`",
    "−": "write `-`",
    "–": "write `-`",
    "≤": "write `<=`",
    "≥": "write `>=`",
    "≠": "write `!=`",
    "“": "use plain quotes, ' or \"",
    "”": "use plain quotes, ' or \"",
    "‘": "use plain quotes, ' or \"",
    "’": "use plain quotes, ' or \"",
    "`": "use plain quotes, ' or \"",
}


def tokenize(text: str) -> list[Token]:
    """The tokens, the last of them the end. Raises ExpressionSyntaxError."""
    if len(text) > MAX_CHARACTERS:
        raise ExpressionSyntaxError(
            f"the expression has {len(text)} characters, and {MAX_CHARACTERS} is the most",
            MAX_CHARACTERS,
            1,
        )
    tokens: list[Token] = []
    offset = 0
    while True:
        space = _SPACE.match(text, offset)
        assert space is not None  # it matches the empty string
        offset = space.end()
        if offset == len(text):
            return [*tokens, Token("end", "", offset)]
        token = _token(text, offset)
        tokens.append(token)
        offset += token.length


def _token(text: str, offset: int) -> Token:
    if match := _NAME.match(text, offset):
        return Token("word" if match[0] in _WORDS else "name", match[0], offset)
    if match := _NUMBER.match(text, offset):
        return _number(match[0], offset)
    if match := _LOOKALIKE.match(text, offset):
        raise _stranger(match[0], offset, _LOOKALIKES[match[0]])
    if match := _OPERATOR.match(text, offset):
        return Token("op", match[0], offset)
    if text[offset] in "'\"":
        return _string(text, offset)
    for foreign, hint in _FOREIGN.items():
        if text.startswith(foreign, offset):
            raise _stranger(foreign, offset, hint)
    character = text[offset]
    shown = character if character.isprintable() else f"U+{ord(character):04X}"
    spelling = "names are written with a to z, digits and `_`" if character.isalpha() else None
    raise ExpressionSyntaxError(f"`{shown}` is not in the language", offset, 1, spelling)


def _stranger(text: str, offset: int, hint: str) -> ExpressionSyntaxError:
    return ExpressionSyntaxError(f"`{text}` is not in the language", offset, len(text), hint)


def _string(text: str, offset: int) -> Token:
    quote = text[offset]
    end = text.find(quote, offset + 1)
    if end < 0:
        raise ExpressionSyntaxError("the string is never closed", offset, 1, f"add {quote}")
    value = text[offset + 1 : end]
    for place, character in enumerate(value, offset + 1):
        if character == "\\" or not character.isprintable():
            raise ExpressionSyntaxError(
                "a string holds printable characters and no backslash", place, 1
            )
    return Token("string", text[offset : end + 1], offset, value)


def _number(digits: str, offset: int) -> Token:
    whole = digits.isdigit()
    if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
        raise ExpressionSyntaxError(
            "a number does not begin with 0",
            offset,
            len(digits),
            f"write `{digits.lstrip('0') or 0}`",
        )
    try:
        value = literal(int(digits) if whole else float(digits)).value
    except ExprError as error:
        message = f"`{digits}` is too large"
        raise ExpressionSyntaxError(message, offset, len(digits)) from error
    return Token("number", digits, offset, value)
