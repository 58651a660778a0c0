"""Reading expressions: text to tree, never through Python's own parser.

    expression  = choice ;
    choice      = or , [ "if" , or , "else" , choice ] ;
    or          = and , { "or" , and } ;
    and         = not , { "and" , not } ;
    not         = "not" , not | comparison ;
    comparison  = sum , [ ( "==" | "!=" | "<" | "<=" | ">" | ">=" ) , sum ] ;
    sum         = term , { ( "+" | "-" ) , term } ;
    term        = factor , { ( "*" | "/" | "//" | "%" ) , factor } ;
    factor      = "-" , factor | atom ;
    atom        = number | string | truth | name | call | "(" , expression , ")" ;
    call        = function , "(" , expression , { "," , expression } , ")" ;
    function    = "min" | "max" | "floor" | "ceil" | "round" | "abs" | "sqrt" | "int"
                | "make_divisible" ;
    truth       = "true" | "false" | "True" | "False" ;
    name        = ( letter | "_" ) , { letter | digit | "_" } ;
    number      = integer | real ;
    integer     = "0" | nonzero digit , { digit } ;
    real        = ( integer , "." , { digit } | "." , digits ) , [ exponent ]
                | integer , exponent ;
    exponent    = ( "e" | "E" ) , [ "+" | "-" ] , digits ;
    digits      = digit , { digit } ;
    string      = "'" , { any character but "'" } , "'" | '"' , { any character but '"' } , '"' ;

A letter is one of a to z and A to Z. Space between tokens is free. The words and, or, not, if,
else, the truths and the functions are no names. A string holds printable characters and no
backslash, and `-` before a number makes a negative constant. An expression has at most 500
characters, 100 operators, and 32 levels of nesting.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn, cast

from resnet_dsl.errors import suggest
from resnet_dsl.ir.expr import (
    FUNCTIONS,
    Binary,
    BinaryOp,
    Conditional,
    Expr,
    ExprError,
    FunctionName,
    Invoke,
    Literal,
    Name,
    Unary,
    literal,
)
from resnet_dsl.ir.expr.rules import check_arity
from resnet_dsl.language.misreadings import CHOICE, missing_value, unexpected
from resnet_dsl.language.tokens import ExpressionSyntaxError, Token, tokenize

MAX_OPERATORS = 100
MAX_NESTING = 32

_COMPARISONS = frozenset({"==", "!=", "<", "<=", ">", ">="})
_TRUTHS = {"true": True, "True": True, "false": False, "False": False}


@dataclass(frozen=True, slots=True)
class Span:
    """The characters of the text that a node was read from."""

    offset: int
    length: int


@lru_cache(maxsize=4096)
def parse(text: str) -> Expr:
    """The tree of an expression. Raises ExpressionSyntaxError."""
    return _Parser(text).whole()


def locate(text: str, part: Expr) -> Span | None:
    """Where in `text` the first sub-expression equal to `part` stands, for errors found later.

    Raises ExpressionSyntaxError if `text` is no expression.
    """
    parser = _Parser(text)
    parser.whole()
    found = [span for node, span in parser.spans if node == part]
    return min(found, key=lambda span: (span.offset, span.length), default=None)


class _Parser:
    """Recursive descent: one method a rule of the grammar."""

    def __init__(self, text: str) -> None:
        self.tokens = tokenize(text)
        self.index = 0
        self.nesting = 0
        self.operators = 0
        self.open: list[Token] = []
        self.spans: list[tuple[Expr, Span]] = []

    @property
    def token(self) -> Token:
        return self.tokens[self.index]

    def at(self, *words: str) -> bool:
        return self.token.kind in ("op", "word") and self.token.text in words

    def at_end(self) -> bool:
        return self.token.kind == "end"

    def take(self) -> Token:
        token = self.tokens[self.index]
        self.index += 1
        return token

    def whole(self) -> Expr:
        if self.at_end():
            raise ExpressionSyntaxError("the expression is empty", 0, 1)
        expr = self.choice()
        if not self.at_end():
            self.unexpected()
        return expr

    def choice(self) -> Expr:
        start = self.token
        then = self.disjunction()
        if not self.at("if"):
            return then
        word = self.take()
        test = self.disjunction()
        if not self.at("else"):
            if self.at_end() or self.at(")", ","):
                self.fail("`if` without `else`", word, CHOICE)
            self.unexpected()
        self.count(word)
        self.take()
        with_else = self.deeper(word, self.choice)
        return self.node(Conditional(then, test, with_else), start)

    def disjunction(self) -> Expr:
        return self.chain(("or",), self.conjunction)

    def conjunction(self) -> Expr:
        return self.chain(("and",), self.negation)

    def negation(self) -> Expr:
        if not self.at("not"):
            return self.comparison()
        word = self.take()
        self.count(word)
        return self.node(Unary("not", self.deeper(word, self.negation)), word)

    def comparison(self) -> Expr:
        start = self.token
        left = self.sum()
        if not self.at(*_COMPARISONS):
            return left
        operator = self.take()
        self.count(operator)
        right = self.sum()
        expr = self.node(Binary(cast(BinaryOp, operator.text), left, right), start)
        if self.at(*_COMPARISONS):
            self.fail(
                "comparisons do not chain",
                self.token,
                "join two comparisons with `and`: `1 < x and x < 3`",
            )
        return expr

    def sum(self) -> Expr:
        return self.chain(("+", "-"), self.term)

    def term(self) -> Expr:
        return self.chain(("*", "/", "//", "%"), self.factor)

    def factor(self) -> Expr:
        if not self.at("-"):
            return self.atom()
        minus = self.take()
        if self.token.kind == "number":
            number = self.take()
            assert not isinstance(number.value, str)
            return self.node(Literal(-number.value), minus)
        self.count(minus)
        return self.node(Unary("-", self.deeper(minus, self.factor)), minus)

    def atom(self) -> Expr:
        token = self.token
        if token.kind in ("number", "string"):
            return self.node(literal(self.take().value), token)
        if token.kind == "name":
            self.take()
            if token.text in _TRUTHS:
                return self.node(Literal(_TRUTHS[token.text]), token)
            if self.at("("):
                return self.call(token)
            if token.text in FUNCTIONS:
                self.fail(
                    f"`{token.text}` is a function and needs arguments",
                    token,
                    f"write `{token.text}(…)`",
                )
            return self.node(Name(token.text), token)
        if not self.at("("):
            raise missing_value(self.tokens, self.index)
        self.open.append(self.take())
        inner = self.deeper(token, self.choice)
        self.close()
        return inner

    def call(self, function: Token) -> Expr:
        if function.text not in FUNCTIONS:
            listed = ", ".join(f"`{name}`" for name in FUNCTIONS)
            hint = suggest(function.text, FUNCTIONS) or f"the functions are {listed}"
            self.fail(f"unknown function `{function.text}`", function, hint)
        self.open.append(self.take())
        arguments: list[Expr] = []
        if not self.at(")"):
            arguments.append(self.deeper(function, self.choice))
            while self.at(","):
                self.take()
                arguments.append(self.deeper(function, self.choice))
        self.close()
        expr = Invoke(cast(FunctionName, function.text), tuple(arguments))
        try:
            check_arity(expr)
        except ExprError as error:
            self.fail(error.message, function)
        return self.node(expr, function)

    def chain(self, operators: tuple[str, ...], operand: Callable[[], Expr]) -> Expr:
        """Operators of one strength, associating to the left."""
        start = self.token
        left = operand()
        while self.at(*operators):
            operator = self.take()
            self.count(operator)
            left = self.node(Binary(cast(BinaryOp, operator.text), left, operand()), start)
        return left

    def deeper(self, token: Token, rule: Callable[[], Expr]) -> Expr:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            self.fail(f"nested more than {MAX_NESTING} levels deep", token)
        expr = rule()
        self.nesting -= 1
        return expr

    def count(self, operator: Token) -> None:
        # A chain makes a tree as deep as it is long, and ir.expr.MAX_DEPTH limits that.
        self.operators += 1
        if self.operators > MAX_OPERATORS:
            self.fail(f"more than {MAX_OPERATORS} operators in one expression", operator)

    def close(self) -> None:
        if not self.at(")"):
            self.unexpected()
        self.take()
        self.open.pop()

    def node(self, expr: Expr, start: Token) -> Expr:
        last = self.tokens[self.index - 1]
        self.spans.append((expr, Span(start.offset, last.offset + last.length - start.offset)))
        return expr

    def unexpected(self) -> NoReturn:
        raise unexpected(self.tokens, self.index, self.open)

    def fail(self, message: str, token: Token, hint: str | None = None) -> NoReturn:
        raise ExpressionSyntaxError(message, token.offset, token.length, hint)
