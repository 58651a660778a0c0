"""Expressions: values, types, simplification and printing."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resnet_dsl.ir.expr import (
    FUNCTIONS,
    LARGEST_INT,
    Binary,
    BinaryOp,
    Conditional,
    Expr,
    ExprError,
    FunctionName,
    Invoke,
    Literal,
    Name,
    TypeName,
    Unary,
    Value,
    add,
    evaluate,
    floordiv,
    infer,
    literal,
    make_divisible,
    mul,
    names,
    sub,
    substitute,
    to_source,
    type_of,
)
from resnet_dsl.language.expression import parse

TYPES: dict[str, TypeName] = {"n": "int", "m": "int", "x": "float", "b": "bool", "s": "str"}
VALUES: dict[TypeName, st.SearchStrategy[Value]] = {
    "int": st.integers(-9, 9) | st.sampled_from([64, -(2**40), LARGEST_INT]),
    "float": st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.5, -0.0, 3.0]),
    "bool": st.booleans(),
    "str": st.sampled_from(["", "conv1", "it's", 'say "x"']),
}
ENVIRONMENTS: st.SearchStrategy[dict[str, Value]] = st.fixed_dictionaries(
    {name: VALUES[kind] for name, kind in TYPES.items()}
)


def invocations(parts: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    def arguments(function: FunctionName) -> st.SearchStrategy[Expr]:
        fewest, most = FUNCTIONS[function]
        items = st.lists(parts, min_size=fewest, max_size=most or 3).map(tuple)
        return st.builds(Invoke, st.just(function), items)

    return st.sampled_from(sorted(FUNCTIONS)).flatmap(arguments)


def larger(parts: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    operators = st.sampled_from(get_args(BinaryOp))
    return (
        st.builds(Unary, st.sampled_from(["-", "not"]), parts)
        | st.builds(Binary, operators, parts, parts)
        | st.builds(Conditional, parts, parts, parts)
        | invocations(parts)
    )


LEAVES: st.SearchStrategy[Expr] = st.one_of(
    *(st.builds(Literal, values) for values in VALUES.values()),
    st.sampled_from(sorted(TYPES)).map(Name),
)
TREES = st.recursive(LEAVES, larger, max_leaves=12)


def same(one: Value, other: Value) -> bool:
    return type(one) is type(other) and one == other


def numeric(leaves: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    """Trees that mostly have a value, so that the algebra is reached."""
    operators = st.sampled_from(["+", "-", "*", "//", "%"])
    return st.recursive(
        leaves,
        lambda parts: (
            st.builds(Unary, st.just("-"), parts)
            | st.builds(Binary, operators, parts, parts)
            | st.builds(Conditional, parts, st.builds(Binary, st.just("<"), parts, parts), parts)
        ),
        max_leaves=10,
    )


COUNTS = numeric(st.integers(-4, 6).map(Literal) | st.sampled_from([Name("n"), Name("m")]))
REALS = numeric(
    st.integers(-4, 6).map(Literal)
    | st.sampled_from([0.1, 2.0, -0.3]).map(Literal)
    | st.sampled_from([Name("x"), Name("n")])
)


@given(TREES | COUNTS | REALS, ENVIRONMENTS, st.booleans())
def test_simplifying_keeps_value_and_type(expr: Expr, env: dict[str, Value], typed: bool) -> None:
    try:
        value = evaluate(expr, env)
    except ExprError:
        return
    simple = substitute(expr, {}, TYPES if typed else {})
    assert same(evaluate(simple, env), value), to_source(simple)


@given(COUNTS, ENVIRONMENTS)
def test_simplifying_counts_keeps_their_value(expr: Expr, env: dict[str, Value]) -> None:
    try:
        value = evaluate(expr, env)
    except ExprError:
        return
    assert same(evaluate(rebuilt(expr), env), value)


def rebuilt(expr: Expr) -> Expr:
    """The tree built again with the constructors for counts."""
    builders: dict[str, Any] = {"+": add, "-": sub, "*": mul, "//": floordiv}
    match expr:
        case Binary(op, left, right) if op in builders:
            made: Expr = builders[op](rebuilt(left), rebuilt(right))
            return made
        case _:
            return expr


@given(TREES, ENVIRONMENTS)
def test_substituting_values_is_evaluating(expr: Expr, env: dict[str, Value]) -> None:
    try:
        value = evaluate(expr, env)
    except ExprError:
        return
    result = substitute(expr, {name: Literal(bound) for name, bound in env.items()})
    assert isinstance(result, Literal)
    assert same(result.value, value)


@given(TREES, ENVIRONMENTS)
def test_inferred_types_are_those_of_the_values(expr: Expr, env: dict[str, Value]) -> None:
    kind: TypeName | None = None
    message = ""
    try:
        kind = infer(expr, TYPES)
        value = evaluate(expr, env)
    except ExprError as error:
        message = error.message
    if kind is None:
        return
    if message:  # what has a type may fail for its value only, never for a type
        assert any(word in message for word in ("zero", "too large", "negative", "a multiple of"))
    else:
        assert type_of(value) in (("int", "float") if kind == "float" else (kind,))


@given(TREES)
def test_simplifying_names_nothing_new(expr: Expr) -> None:
    assert names(substitute(expr, {})) <= names(expr)


@pytest.mark.parametrize(
    ("text", "simple"),
    [
        ("2 * 3 + 1", "7"),
        ("x * 1", "x"),
        ("1 * x", "x"),
        ("x + 0", "x"),
        ("0 + x", "x"),
        ("x - 0", "x"),
        ("0 - x", "-x"),
        ("x // 1", "x"),
        ("x % 1", "0"),
        ("4 * w", "w * 4"),
        ("4 + w", "w + 4"),
        ("w * 2 * 3", "w * 6"),
        ("3 * (2 * w)", "w * 6"),
        ("w * 4 // 4", "w"),
        ("w * 4 // 2", "w * 2"),
        ("w * e // e", "w"),
        ("e * w // e", "w"),
        ("w // 2 // 4", "w // 8"),
        ("w * 2.0 * 3", "w * 2.0 * 3"),
        ("x * -1", "-x"),
        ("x + -3", "x - 3"),
        ("x - -3", "x + 3"),
        ("x + -y", "x - y"),
        ("-y + x", "x - y"),
        ("x - -y", "x + y"),
        ("--x", "x"),
        ("-(3)", "-3"),
        ("-(x - y)", "y - x"),
        ("x * 1.0", "x * 1.0"),
        ("x + 0.0", "x + 0.0"),
        ("a if true else b", "a"),
        ("a if 1 == 2 else b", "b"),
        ("a if c else a", "a"),
        ("true if c else false", "c"),
        ("false if c else true", "not c"),
        ("1 if c else true", "1 if c else True"),
        ("x == x", "True"),
        ("x != x", "False"),
        ("x <= x", "True"),
        ("x < x", "False"),
        ("3 < x", "x > 3"),
        ("1 == x", "x == 1"),
        ("c == true", "c"),
        ("c != true", "not c"),
        ("'a' == 'b'", "False"),
        ("true and c", "c"),
        ("c and false", "False"),
        ("c or true", "True"),
        ("c or false", "c"),
        ("c and c", "c"),
        ("not not c", "c"),
        ("not a == b", "a != b"),
        ("not a < b", "a >= b"),
        ("floor(x // 2)", "x // 2"),
        ("round(floor(x))", "floor(x)"),
        ("min(x, x)", "x"),
        ("min(3, 2)", "2"),
        ("make_divisible(30, 8)", "32"),
        ("1 // 0", "1 // 0"),
        ("x // 0", "x // 0"),
        ("x * 0 // 0", "x * 0 // 0"),
    ],
)
def test_simplified_forms(text: str, simple: str) -> None:
    assert to_source(substitute(parse(text), {})) == simple


@pytest.mark.parametrize(
    ("text", "simple"),
    [
        ("n + 1 + 2", "n + 3"),
        ("n + 1 - 1", "n"),
        ("n - 5 + 2", "n - 3"),
        ("n * 3 * 5", "n * 15"),
        ("n * 0", "0"),
        ("n - n", "0"),
        ("int(abs(-n))", "abs(-n)"),
        ("x + 1 + 2", "x + 1 + 2"),
        ("x * 3 * 5", "x * 3 * 5"),
        ("x * 0", "x * 0"),
        ("x - x", "x - x"),
        ("floor(x)", "floor(x)"),
    ],
)
def test_only_integers_are_reassociated(text: str, simple: str) -> None:
    assert to_source(substitute(parse(text), {}, TYPES)) == simple


def test_constants_too_large_to_join_stay_apart() -> None:
    text = f"n * {2**40} * {2**40}"
    assert to_source(substitute(parse(text), {}, TYPES)) == text


def test_substitution_replaces_names_and_leaves_the_rest() -> None:
    bound = substitute(parse("width * expansion // groups"), {"groups": Literal(1)})
    assert to_source(bound) == "width * expansion"
    assert (
        to_source(substitute(bound, {"width": parse("w * 2"), "expansion": Literal(4)})) == "w * 8"
    )
    assert substitute(Name("w"), {"w": Name("v")}) == Name("v")
    assert substitute(Name("w"), {}) == Name("w")


def test_substitution_is_simultaneous() -> None:
    swapped = substitute(parse("a - b"), {"a": Name("b"), "b": Name("a")})
    assert to_source(swapped) == "b - a"


def test_the_constructors_simplify_and_take_names_for_integers() -> None:
    n = Name("n")
    assert add(add(n, Literal(1)), Literal(2)) == Binary("+", n, Literal(3))
    assert sub(add(n, Literal(3)), Literal(3)) == n
    assert mul(mul(Literal(3), n), Literal(5)) == Binary("*", n, Literal(15))
    assert floordiv(mul(n, Literal(4)), Literal(4)) == n
    assert mul(Literal(2), Literal(3)) == Literal(6)


def test_equal_expressions_mean_the_same() -> None:
    assert Literal(1) != Literal(1.0)
    assert Literal(1) != Literal(True)
    assert Literal(1) == Literal(1)
    assert hash(Literal("a")) == hash(Literal("a"))
    assert len({Literal(1), Literal(True), Literal(1.0), Literal(1)}) == 3
    assert Literal(1) != 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7 // 2", 3),
        ("-7 // 2", -4),
        ("-7 % 4", 1),
        ("1 / 4", 0.25),
        ("4 / 2", 2.0),
        ("2 + 0.5", 2.5),
        ("floor(-0.5)", -1),
        ("ceil(0.2)", 1),
        ("round(2.5)", 2),
        ("int(-1.7)", -1),
        ("sqrt(9)", 3.0),
        ("abs(-3)", 3),
        ("max(1, 2.5, 2)", 2.5),
        ("1 if n > 2 else 0", 1),
        ("n == 3.0", True),
        ("s == 'conv1'", True),
        ("b or 1 // 0 == 1", True),
        ("not b and 1 // 0 == 1", False),
        ("1 if b else 1 // 0", 1),
        ("-n", -3),
    ],
)
def test_values(text: str, value: Value) -> None:
    assert same(evaluate(parse(text), {"n": 3, "s": "conv1", "b": True}), value)


@pytest.mark.parametrize(
    ("value", "divisor", "expected"),
    [
        (30, 8, 32),
        (28, 8, 32),
        (27, 8, 32),
        (26, 8, 24),
        (1, 8, 8),
        (11, 8, 16),
        (16.5, 8, 16),
        (100, 1, 100),
    ],
)
def test_make_divisible_is_the_field_rule(value: float, divisor: int, expected: int) -> None:
    assert make_divisible(value, divisor) == expected
    assert evaluate(Invoke("make_divisible", (Literal(value), Literal(divisor))), {}) == expected


ENV: dict[str, Value] = {"n": 3, "x": 0.5, "b": True, "s": "conv1", "width": 64, "zero": 0}
ENV_TYPES: dict[str, TypeName] = {name: type_of(value) for name, value in ENV.items()}

TYPE_ERRORS = [
    ("n + b", "`+` takes numbers, but `b` is true or false", "b", None),
    ("s * 3", "`*` takes numbers, but `s` is a string", "s", None),
    ("n / s", "`/` takes numbers, but `s` is a string", "s", None),
    ("-b", "`-` takes numbers, but `b` is true or false", "b", None),
    ("not n", "`not` takes true or false, but `n` is an integer", "n", "write `n != 0`"),
    ("n and b", "`and` takes true or false, but `n` is an integer", "n", "write `n != 0`"),
    ("b and s", "`and` takes true or false, but `s` is a string", "s", None),
    ("x // 2", "`//` takes integers, but `x` is a real number", "x", "write `floor(a / b)`"),
    (
        "n % x",
        "`%` takes integers, but `x` is a real number",
        "x",
        "use integers, or `a - b * floor(a / b)`",
    ),
    ("n // s", "`//` takes integers, but `s` is a string", "s", None),
    ("s < s", "`<` takes numbers, but `s` is a string", "s", None),
    ("b >= n", "`>=` takes numbers, but `b` is true or false", "b", None),
    (
        "n == s",
        "`n == s` compares an integer with a string",
        "n == s",
        "compare values of one type",
    ),
    (
        "b != n",
        "`b != n` compares true or false with an integer",
        "b != n",
        "compare values of one type",
    ),
    ("1 if n else 2", "`if` takes true or false, but `n` is an integer", "n", "write `n != 0`"),
    ("sqrt(s)", "`sqrt` takes numbers, but `s` is a string", "s", None),
    ("max(1, b)", "`max` takes numbers, but `b` is true or false", "b", None),
    (
        "make_divisible(n, x)",
        "`make_divisible` takes integers, but `x` is a real number",
        "x",
        None,
    ),
    ("widht + 1", "unknown name `widht`", "widht", "did you mean `width`?"),
    (
        "qqq",
        "unknown name `qqq`",
        "qqq",
        "known here: `b`, `n`, `s`, `width`, `x`, `zero`",
    ),
]


@pytest.mark.parametrize(("text", "message", "part", "hint"), TYPE_ERRORS)
def test_type_errors_are_found_statically_and_at_run_time(
    text: str, message: str, part: str, hint: str | None
) -> None:
    def statically(expr: Expr) -> object:
        return infer(expr, ENV_TYPES)

    def at_run_time(expr: Expr) -> object:
        return evaluate(expr, ENV)

    for work in (statically, at_run_time):
        with pytest.raises(ExprError) as caught:
            work(parse(text))
        assert caught.value.message == str(caught.value) == message
        assert caught.value.expression == parse(part)
        assert caught.value.hint == hint


def test_branches_of_a_choice_must_go_together() -> None:
    with pytest.raises(ExprError) as caught:
        infer(parse("n if b else s"), ENV_TYPES)
    assert caught.value.message == (
        "the branches of `n if b else s` do not go together: `n` is an integer, `s` is a string"
    )
    assert caught.value.hint == "give both branches the same type"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("n + 1", "int"),
        ("n + x", "float"),
        ("n / 1", "float"),
        ("n // 2", "int"),
        ("n if b else x", "float"),
        ("n if b else 2", "int"),
        ("'a' if b else s", "str"),
        ("n < x", "bool"),
        ("not b or b", "bool"),
        ("-x", "float"),
        ("min(n, x)", "float"),
        ("abs(n)", "int"),
        ("round(x)", "int"),
        ("sqrt(n)", "float"),
        ("make_divisible(x, 8)", "int"),
    ],
)
def test_inferred_types(text: str, kind: TypeName) -> None:
    assert infer(parse(text), ENV_TYPES) == kind


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n / zero", "`n / zero` divides by zero"),
        ("1 // 0", "`1 // 0` divides by zero"),
        ("n % zero", "`n % zero` divides by zero"),
        ("x / 0.0", "`x / 0.0` divides by zero"),
        ("sqrt(-n)", "`sqrt(-n)` is the square root of a negative number"),
        ("make_divisible(n, 0)", "`make_divisible(n, 0)` asks for a multiple of 0"),
        ("1e308 * 10", "the value of `1e308 * 10` is too large"),
        (f"n * {2**61}", f"the value of `n * {2**61}` is too large"),
        ("floor(1e300)", "the value of `floor(1e300)` is too large"),
    ],
)
def test_expressions_without_a_value(text: str, message: str) -> None:
    with pytest.raises(ExprError) as caught:
        evaluate(parse(text), ENV)
    assert caught.value.message == message
    assert substitute(parse(text), {}) is not None  # the error is left for evaluate to tell


def test_the_largest_integer_is_allowed() -> None:
    assert evaluate(parse(f"{2**61} * 2"), {}) == LARGEST_INT


@pytest.mark.parametrize(
    ("given_arguments", "message"),
    [
        (("sqrt", 2), "`sqrt` takes 1 argument, 2 given"),
        (("min", 1), "`min` takes at least 2 arguments, 1 given"),
        (("make_divisible", 1), "`make_divisible` takes 2 arguments, 1 given"),
        (("tan", 1), "unknown function `tan`"),
    ],
)
def test_calls_built_by_hand_are_checked(given_arguments: tuple[Any, int], message: str) -> None:
    function, count = given_arguments
    with pytest.raises(ExprError, match=message):
        infer(Invoke(function, (Literal(1),) * count), {})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.inf, "inf is not a finite number"),
        (math.nan, "nan is not a finite number"),
        (2**62 + 1, "an integer is larger than 2 to the 62nd"),
        ([1], r"\[1\] is not a number, true, false or a string"),
        (None, "None is not a number, true, false or a string"),
    ],
)
def test_literal_refuses_what_the_language_cannot_say(value: Any, message: str) -> None:
    with pytest.raises(ExprError, match=message):
        literal(value)


def test_literal_keeps_the_type() -> None:
    assert [literal(value) for value in (1, 1.0, True, "a")] == [
        Literal(1),
        Literal(1.0),
        Literal(True),
        Literal("a"),
    ]


def test_deep_trees_are_refused_without_a_recursion_error() -> None:
    deep: Expr = Name("x")
    for _ in range(100_000):
        deep = Unary("-", deep)
    for work in (
        lambda: evaluate(deep, {"x": 1}),
        lambda: infer(deep, {"x": "int"}),
        lambda: substitute(deep, {}),
        lambda: to_source(deep),
        lambda: mul(deep, Literal(2)),
    ):
        with pytest.raises(ExprError, match="nested more than 200 levels deep"):
            work()
    assert names(deep) == {"x"}
    while isinstance(deep, Unary):  # let go of it level by level
        deep = deep.operand


def test_repeated_substitution_is_bounded_in_depth_and_size() -> None:
    def repeat(step: Expr) -> None:
        expr = step
        for _ in range(1000):
            expr = substitute(expr, {"x": step})

    with pytest.raises(ExprError, match="nested more than 200 levels deep"):
        repeat(parse("x / y"))
    with pytest.raises(ExprError, match="more than 10000 parts"):
        repeat(parse("x / x"))


def test_names_are_collected_from_everywhere() -> None:
    expr = parse("max(a, -b) if c and d == 'e' else f * 2")
    assert names(expr) == {"a", "b", "c", "d", "f"}
    assert names(Literal("a")) == frozenset()


@pytest.mark.parametrize(
    "text",
    [
        "a + b * c",
        "(a + b) * c",
        "a - (b - c)",
        "a - b - c",
        "a // b * c",
        "a * (b // c)",
        "-a * b",
        "-(a * b)",
        "-(a + b)",
        "--a",
        "-(3)",
        "-3 + a",
        "a - -3",
        "not a and b",
        "not (a and b)",
        "not not a",
        "not a == b",
        "(not a) == b",
        "a and (b or c)",
        "a and b or c",
        "a or (b or c)",
        "(a == b) == c",
        "a == (b < c)",
        "a + b < c * d",
        "a if b else c if d else e",
        "(a if b else c) if d else e",
        "a if (b if c else d) else e",
        "(a if b else c) + d",
        "max(a if b else c, d)",
        'a == "conv1"',
        "a == 'say \"x\"'",
        "True",
        "0.0001",
        "1e-05",
        "1e16",
    ],
)
def test_printing_uses_the_fewest_parentheses(text: str) -> None:
    assert to_source(parse(text)) == text


def test_printing_renames_names_and_functions() -> None:
    expr = parse("sqrt(in) * stride + abs(out)")
    renamed = to_source(expr, {"in": "in_channels", "sqrt": "math.sqrt", "stride": "self.stride"})
    assert renamed == "math.sqrt(in_channels) * self.stride + abs(out)"


@pytest.mark.parametrize("value", ["a\\b", 'it\'s "x"', "line\nline", "\x00"])
def test_strings_outside_the_language_are_still_printed_as_python(value: str) -> None:
    assert to_source(Literal(value)) == repr(value)
