"""Reading expressions: what is read as which tree, and what is said of text that is no expression."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from resnet_dsl.ir.expr import (
    FUNCTIONS,
    LARGEST_INT,
    Binary,
    BinaryOp,
    Conditional,
    Expr,
    FunctionName,
    Invoke,
    Literal,
    Name,
    Unary,
    evaluate,
    to_source,
)
from resnet_dsl.language.expression import Span, locate, parse
from resnet_dsl.language.tokens import MAX_CHARACTERS, ExpressionSyntaxError

A, B, C = Name("a"), Name("b"), Name("c")
RESERVED = {"and", "or", "not", "if", "else", "true", "false", "True", "False", *FUNCTIONS}

strings = st.text(st.characters(exclude_characters="\\", exclude_categories=("C", "Z")), max_size=6)
leaves: st.SearchStrategy[Expr] = st.one_of(
    st.integers(-LARGEST_INT, LARGEST_INT).map(Literal),
    st.floats(allow_nan=False, allow_infinity=False).map(Literal),
    st.booleans().map(Literal),
    strings.filter(lambda text: not ("'" in text and '"' in text)).map(Literal),
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)
    .filter(lambda name: name not in RESERVED)
    .map(Name),
)


def calls(parts: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    def arguments(function: FunctionName) -> st.SearchStrategy[Expr]:
        fewest, most = FUNCTIONS[function]
        items = st.lists(parts, min_size=fewest, max_size=most or 3).map(tuple)
        return st.builds(Invoke, st.just(function), items)

    return st.sampled_from(sorted(FUNCTIONS)).flatmap(arguments)


trees = st.recursive(
    leaves,
    lambda parts: (
        st.builds(Unary, st.sampled_from(["-", "not"]), parts)
        | st.builds(Binary, st.sampled_from(get_args(BinaryOp)), parts, parts)
        | st.builds(Conditional, parts, parts, parts)
        | calls(parts)
    ),
    max_leaves=8,
)


@given(trees)
def test_what_is_printed_reads_back_as_the_same_tree(expr: Expr) -> None:
    text = to_source(expr)
    assume(len(text) <= MAX_CHARACTERS)
    assert parse(text) == expr


@example("  ")
@given(st.text(st.sampled_from("ab1.09 +-*/%<>=!()',\"eif_&|^\\é\n"), max_size=30))
def test_any_text_gives_a_tree_or_a_placed_error(text: str) -> None:
    error = None
    try:
        parse(text)
    except ExpressionSyntaxError as caught:
        error = caught
    if error is not None:
        assert 0 <= error.offset < error.offset + error.length <= max(len(text), 1)


@pytest.mark.parametrize(
    ("text", "expr"),
    [
        ("64", Literal(64)),
        ("0", Literal(0)),
        ("1e-4", Literal(1e-4)),
        ("1E+4", Literal(1e4)),
        (".5", Literal(0.5)),
        ("2.", Literal(2.0)),
        ("-3", Literal(-3)),
        ("'conv1'", Literal("conv1")),
        ('"it\'s"', Literal("it's")),
        ("''", Literal("")),
        ("true", Literal(True)),
        ("False", Literal(False)),
        ("in", Name("in")),
        ("_x9", Name("_x9")),
        ("true_width", Name("true_width")),
        ("a+b", Binary("+", A, B)),
        ("a -1", Binary("-", A, Literal(1))),
        ("a - b - c", Binary("-", Binary("-", A, B), C)),
        ("a + b * c", Binary("+", A, Binary("*", B, C))),
        ("(a + b) * c", Binary("*", Binary("+", A, B), C)),
        ("a // b % c", Binary("%", Binary("//", A, B), C)),
        ("-a * b", Binary("*", Unary("-", A), B)),
        ("-(3)", Unary("-", Literal(3))),
        ("a <= b", Binary("<=", A, B)),
        ("a == b and not c", Binary("and", Binary("==", A, B), Unary("not", C))),
        ("not a == b", Unary("not", Binary("==", A, B))),
        ("a or b and c", Binary("or", A, Binary("and", B, C))),
        ("a if b else c", Conditional(A, B, C)),
        ("a if b else c if a else b", Conditional(A, B, Conditional(C, A, B))),
        ("a or b if c else a", Conditional(Binary("or", A, B), C, A)),
        ("min(a, b, c)", Invoke("min", (A, B, C))),
        ("floor(a / b)", Invoke("floor", (Binary("/", A, B),))),
        ("sqrt (a)", Invoke("sqrt", (A,))),
        ("((a))", A),
        (" \t\na\r\n", A),
    ],
)
def test_trees(text: str, expr: Expr) -> None:
    assert parse(text) == expr


POWERS = "there are no powers; write `x * x`"
CHOICE = "write `a if condition else b`"
QUOTES = "use plain quotes, ' or \""
NUMBERS = "numbers are written like 64, 0.5 and 1e-4"

# text, message, the characters at fault, hint
ERRORS = [
    ("w *", "expected a value after `*`", (2, 1), None),
    ("w * * 2", "expected a value after `*`", (2, 1), None),
    ("* 2", "expected a value before `*`", (0, 1), None),
    ("max(, 1)", "expected a value after `(`", (3, 1), None),
    ("max(1, )", "expected a value after `,`", (5, 1), None),
    ("()", "expected a value after `(`", (0, 1), None),
    ("a == not b", "expected a value after `==`", (2, 2), "put `not …` in parentheses"),
    ("if a then b else c", "expected a value before `if`", (0, 2), CHOICE),
    ("", "the expression is empty", (0, 1), None),
    ("   ", "the expression is empty", (0, 1), None),
    ("foo(2)", "unknown function `foo`", (0, 3), "did you mean `floor`?"),
    ("MAX(1, 2)", "unknown function `MAX`", (0, 3), "did you mean `max`?"),
    (
        "tanh(2)",
        "unknown function `tanh`",
        (0, 4),
        "the functions are `min`, `max`, `floor`, `ceil`, `round`, `abs`, `sqrt`, `int`, "
        "`make_divisible`",
    ),
    ("2 * min", "`min` is a function and needs arguments", (4, 3), "write `min(…)`"),
    ("sqrt(1, 2)", "`sqrt` takes 1 argument, 2 given", (0, 4), None),
    ("max()", "`max` takes at least 2 arguments, 0 given", (0, 3), None),
    ("make_divisible(9)", "`make_divisible` takes 2 arguments, 1 given", (0, 14), None),
    ("x ** 2", "`**` is not in the language", (2, 2), POWERS),
    ("x ^ 2", "`^` is not in the language", (2, 1), POWERS),
    ("a = b", "`=` is not in the language", (2, 1), "write `==`"),
    ("a === b", "`===` is not in the language", (2, 3), "write `==`"),
    ("a !== b", "`!==` is not in the language", (2, 3), "write `!=`"),
    ("a <> b", "`<>` is not in the language", (2, 2), "write `!=`"),
    ("a => b", "`=>` is not in the language", (2, 2), "write `>=`"),
    ("a =< b", "`=<` is not in the language", (2, 2), "write `<=`"),
    ("a && b", "`&&` is not in the language", (2, 2), "write `and`"),
    ("a || b", "`||` is not in the language", (2, 2), "write `or`"),
    ("a & b", "`&` is not in the language", (2, 1), "write `and`"),
    ("a | b", "`|` is not in the language", (2, 1), "write `or`"),
    ("!a", "`!` is not in the language", (0, 1), "write `not`"),
    ("~a", "`~` is not in the language", (0, 1), "write `not`"),
    ("a ? b : c", "`?` is not in the language", (2, 1), CHOICE),
    ("a : b", "`:` is not in the language", (2, 1), CHOICE),
    (
        "[1, 2]",
        "`[` is not in the language",
        (0, 1),
        "lists are not values; use parentheses for grouping",
    ),
    (
        "{a}",
        "`{` is not in the language",
        (0, 1),
        "there are no braces; use parentheses for grouping",
    ),
    ("$width", "`$` is not in the language", (0, 1), "write the name alone"),
    (
        "stem.width",
        "`.` is not in the language",
        (4, 1),
        "names have no dots, and a number needs a digit beside the point",
    ),
    ("a × b", "`×` is not in the language", (2, 1), "write `*`"),
    ("a ÷ b", "`÷` is not in the language", (2, 1), "write `/` or `//`"),
    ("a − b", "`−` is not in the language", (2, 1), "write `-`"),
    ("a – b", "`–` is not in the language", (2, 1), "write `-`"),
    ("a ≤ b", "`≤` is not in the language", (2, 1), "write `<=`"),
    ("a ≥ b", "`≥` is not in the language", (2, 1), "write `>=`"),
    ("a ≠ b", "`≠` is not in the language", (2, 1), "write `!=`"),
    ("“a”", "`“` is not in the language", (0, 1), QUOTES),
    ("a == ”", "`”` is not in the language", (5, 1), QUOTES),
    ("‘a’", "`‘` is not in the language", (0, 1), QUOTES),
    ("a == ’", "`’` is not in the language", (5, 1), QUOTES),
    ("`a`", "``` is not in the language", (0, 1), QUOTES),
    (
        "größe",
        "`ö` is not in the language",
        (2, 1),
        "names are written with a to z, digits and `_`",
    ),
    ("a @ b", "`@` is not in the language", (2, 1), None),
    ("a\x00", "`U+0000` is not in the language", (1, 1), None),
    ("(a + b", "`(` is never closed", (0, 1), "add `)`"),
    ("max(a, (b)", "`(` is never closed", (3, 1), "add `)`"),
    ("a)", "`)` without `(`", (1, 1), "remove it, or add `(`"),
    ("a, b", "unexpected `,`", (1, 1), "commas stand between a function's arguments"),
    ("(a, b)", "unexpected `,`", (2, 1), "commas stand between a function's arguments"),
    ("'conv1", "the string is never closed", (0, 1), "add '"),
    ('a == "x', "the string is never closed", (5, 1), 'add "'),
    ("'a\\n'", "a string holds printable characters and no backslash", (2, 1), None),
    ("'a\nb'", "a string holds printable characters and no backslash", (2, 1), None),
    ("a if b", "`if` without `else`", (2, 2), CHOICE),
    ("max(a if b, c)", "`if` without `else`", (6, 2), CHOICE),
    ("a else b", "`else` without `if`", (2, 4), CHOICE),
    (
        "a if b if c else a else b",
        "unexpected `if`",
        (7, 2),
        "put the inner choice in parentheses",
    ),
    ("a if b then c", "expected an operator before `then`", (7, 4), CHOICE),
    (
        "1 < x < 3",
        "comparisons do not chain",
        (6, 1),
        "join two comparisons with `and`: `1 < x and x < 3`",
    ),
    (
        "a == b == c",
        "comparisons do not chain",
        (7, 2),
        "join two comparisons with `and`: `1 < x and x < 3`",
    ),
    ("a b", "expected an operator before `b`", (2, 1), None),
    ("a is b", "expected an operator before `is`", (2, 2), "write `==`"),
    ("a AND b", "expected an operator before `AND`", (2, 3), "write `and`"),
    ("a OR b", "expected an operator before `OR`", (2, 2), "write `or`"),
    ("a mod b", "expected an operator before `mod`", (2, 3), "write `%`"),
    ("a div b", "expected an operator before `div`", (2, 3), "write `//`"),
    ("3 x 4", "expected an operator before `x`", (2, 1), "write `*`"),
    ("a not b", "expected an operator before `not`", (2, 3), None),
    ("max(1 2)", "expected an operator before `2`", (6, 1), None),
    ("2w", "expected an operator before `w`", (1, 1), "write `2 * w`"),
    ("2(w)", "expected an operator before `(`", (1, 1), "write `2 * (…)`"),
    ("1_000", "expected an operator before `_000`", (1, 4), NUMBERS),
    ("0x10", "expected an operator before `x10`", (1, 3), NUMBERS),
    ("1..2", "expected an operator before `.2`", (2, 2), NUMBERS),
    ("007", "a number does not begin with 0", (0, 3), "write `7`"),
    ("00", "a number does not begin with 0", (0, 2), "write `0`"),
    ("01.5", "a number does not begin with 0", (0, 4), "write `1.5`"),
    ("1e999", "`1e999` is too large", (0, 5), None),
    (str(2**62 + 1), f"`{2**62 + 1}` is too large", (0, 19), None),
]


@pytest.mark.parametrize(("text", "message", "place", "hint"), ERRORS)
def test_errors_say_what_where_and_what_to_write(
    text: str, message: str, place: tuple[int, int], hint: str | None
) -> None:
    with pytest.raises(ExpressionSyntaxError) as caught:
        parse(text)
    error = caught.value
    assert (error.message, (error.offset, error.length), error.hint) == (message, place, hint)
    assert str(error) == message


def test_an_expression_has_at_most_500_characters() -> None:
    assert parse("a".ljust(500)) == A
    with pytest.raises(ExpressionSyntaxError, match="has 501 characters, and 500 is the most") as e:
        parse("a".ljust(501))
    assert e.value.offset == 500


@pytest.mark.parametrize(
    ("opening", "closing"),
    [("(", ")"), ("-", ""), ("not ", ""), ("abs(", ")"), ("a if b else ", "")],
)
def test_nesting_stops_at_32_levels(opening: str, closing: str) -> None:
    parse(opening * 32 + "a" + closing * 32)
    with pytest.raises(ExpressionSyntaxError, match="nested more than 32 levels deep"):
        parse(opening * 33 + "a" + closing * 33)


@pytest.mark.parametrize("operator", ["+", "*", " and ", " or ", "//"])
def test_chains_stop_at_100_operators(operator: str) -> None:
    assert parse(operator.join("a" * 80)) is not None
    with pytest.raises(ExpressionSyntaxError, match="more than 100 operators in one expression"):
        parse("+".join("a" * 102))


def test_the_longest_chain_can_be_evaluated() -> None:
    assert evaluate(parse("+".join("a" * 101)), {"a": 1}) == 101


@pytest.mark.parametrize(
    ("text", "part", "span"),
    [
        ("stride if kind == 'a' else 1", "kind == 'a'", Span(10, 11)),
        ("a + b + a", "a", Span(0, 1)),
        ("2 * (a + b)", "a + b", Span(5, 5)),
        ("(a + b) * c", "(a + b) * c", Span(0, 11)),
        ("1 + max(a, -3)", "max(a, -3)", Span(4, 10)),
        ("a", "b", None),
    ],
)
def test_a_part_is_found_again_in_its_text(text: str, part: str, span: Span | None) -> None:
    assert locate(text, parse(part)) == span
