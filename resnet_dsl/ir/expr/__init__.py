"""Expressions: the small typed arithmetic in which the numbers of a function are written.

tree.py       the nodes, and the errors
rules.py      which types an operation takes and gives; `infer`
values.py     `evaluate`
rewriting.py  `substitute`, and the constructors that simplify
printing.py   `to_source`
"""

from resnet_dsl.ir.expr.printing import to_source
from resnet_dsl.ir.expr.rewriting import add, floordiv, mul, sub, substitute
from resnet_dsl.ir.expr.rules import infer
from resnet_dsl.ir.expr.tree import (
    EXPR_TYPES,
    FUNCTIONS,
    LARGEST_INT,
    MAX_DEPTH,
    MAX_NODES,
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
    UnaryOp,
    Value,
    literal,
    names,
    type_of,
)
from resnet_dsl.ir.expr.values import evaluate, make_divisible

__all__ = [
    "EXPR_TYPES",
    "FUNCTIONS",
    "LARGEST_INT",
    "MAX_DEPTH",
    "MAX_NODES",
    "Binary",
    "BinaryOp",
    "Conditional",
    "Expr",
    "ExprError",
    "FunctionName",
    "Invoke",
    "Literal",
    "Name",
    "TypeName",
    "Unary",
    "UnaryOp",
    "Value",
    "add",
    "evaluate",
    "floordiv",
    "infer",
    "literal",
    "make_divisible",
    "mul",
    "names",
    "sub",
    "substitute",
    "to_source",
    "type_of",
]
