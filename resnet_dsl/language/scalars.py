"""What a plain (unquoted) scalar means: the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema).

Only `true` and `false` are booleans (`yes`, `no`, `on` and `off` are text), `1e-4` is a number, and dates and
`1_000` are text. PyYAML on its own follows YAML 1.1, where each of these is different.
"""

from __future__ import annotations

import math
import re
from typing import TypeAlias

Scalar: TypeAlias = str | int | float | bool | None

_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys(
        (f"{sign}{word}" for sign in ("", "+") for word in (".inf", ".Inf", ".INF")), math.inf
    ),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_DECIMAL = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_MAX_DIGITS = 300  # so that every integer is also a finite float, and converting stays cheap


def resolve(text: str) -> Scalar:
    """The value of a plain scalar.

    Raises:
        OverflowError: it is a number that no float can hold.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _DECIMAL.fullmatch(text):
        if len(text) > _MAX_DIGITS:
            raise OverflowError(f"a number of {len(text)} digits")
        return int(text)
    if _BASED.fullmatch(text):
        if len(text) > _MAX_DIGITS * 3 // 4:
            raise OverflowError(f"a number of {len(text)} digits")
        return int(text[2:], 8 if text[1] == "o" else 16)
    if _FLOAT.fullmatch(text):
        value = float(text)
        if math.isinf(value):
            raise OverflowError("a number above 1.8e308")
        return value
    return text
