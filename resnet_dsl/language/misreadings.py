"""What to say of a token of an expression that stands where it cannot, or does not where one must."""

from __future__ import annotations

from collections.abc import Sequence

from resnet_dsl.errors import Diagnostic
from resnet_dsl.language.source import Source
from resnet_dsl.language.tokens import ExpressionSyntaxError, Token

CHOICE = "write `a if condition else b`"
CUT_SHORT = "within { } a comma ends a value: put quotes around it, or write a pair as [3, 3]"

# What people write in the place of an operator.
_WORDS = {
    "is": "`==`",
    "AND": "`and`",
    "OR": "`or`",
    "mod": "`%`",
    "div": "`//`",
    "x": "`*`",
    "then": "`a if condition else b`",
}


def missing_value(tokens: Sequence[Token], index: int) -> ExpressionSyntaxError:
    """At `index` a value should stand, and none does."""
    token = tokens[index]
    hint = None
    if token.text == "not":
        hint = "put `not …` in parentheses"
    elif token.text in ("if", "else"):
        hint = CHOICE
    if index:
        return _error(f"expected a value after `{tokens[index - 1].text}`", tokens[index - 1], hint)
    return _error(f"expected a value before `{token.text}`", token, hint)


def unexpected(
    tokens: Sequence[Token], index: int, opened: Sequence[Token]
) -> ExpressionSyntaxError:
    """The expression could end before `index`, or go on with an operator, but does neither."""
    token, before = tokens[index], tokens[index - 1]
    if token.kind == "end":
        return _error("`(` is never closed", opened[-1], "add `)`")
    match token.text:
        case ")":
            return _error("`)` without `(`", token, "remove it, or add `(`")
        case ",":
            return _error("unexpected `,`", token, "commas stand between a function's arguments")
        case "else":
            return _error("`else` without `if`", token, CHOICE)
        case "if":
            return _error("unexpected `if`", token, "put the inner choice in parentheses")
        case _:
            return _error(
                f"expected an operator before `{token.text}`", token, _operator_hint(before, token)
            )


def syntax_problem(
    error: ExpressionSyntaxError, source: Source, path: Sequence[str | int]
) -> Diagnostic:
    """What stands at `path` is no expression: the finding, at the part at fault."""
    return source.diagnostic(
        "RD301",
        error.message,
        path,
        hint=_cut_short(error.message, source, path) or error.hint,
        offset=error.offset,
        length=error.length,
    )


def _cut_short(problem: str, source: Source, path: Sequence[str | int]) -> str | None:
    """A hint, where an expression that stands in { } without quotes ends at a comma of its own."""
    position = source.position(path)
    line = source.line(position)
    if line is None or not problem.endswith("is never closed"):
        return None
    text = line[position.column - 1 :]
    cut = text[position.width :].lstrip().startswith(",") and text[0] not in "'\""
    return CUT_SHORT if cut else None


def _operator_hint(before: Token, token: Token) -> str | None:
    if before.kind == "number" and before.offset + before.length == token.offset:
        if token.text[0] in "_." or before.text == "0":
            return "numbers are written like 64, 0.5 and 1e-4"
        factor = "(…)" if token.text == "(" else token.text
        return f"write `{before.text} * {factor}`"
    return f"write {_WORDS[token.text]}" if token.text in _WORDS else None


def _error(message: str, token: Token, hint: str | None) -> ExpressionSyntaxError:
    return ExpressionSyntaxError(message, token.offset, token.length, hint)
