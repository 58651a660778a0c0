"""The small types that the schema is made of: expressions, names, and calls."""

from __future__ import annotations

import builtins
import keyword
import re
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from resnet_dsl.ir.expr import FUNCTIONS, ExprError, literal
from resnet_dsl.ir.expr import Expr as Tree
from resnet_dsl.ir.reserved import EMITTED_NAMES, MODULE_ATTRIBUTES
from resnet_dsl.language.expression import parse
from resnet_dsl.language.tokens import ExpressionSyntaxError

IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
RECIPE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

# Modules that emitted code, or what it imports, imports: a file of one of these names would stand in its place.
_IMPORTED = (sys.stdlib_module_names - {"test", "this", "turtledemo"}) | {
    "numpy", "onnx", "onnxruntime", "safetensors", "sklearn", "scipy", "tensorrt", "tensorrt_rtx",
    "tensorboard", "torch", "torchvision", "PIL",
    # What these import in their turn, or try to.
    "charset_normalizer", "cloudpickle", "colorama", "cuda", "cython", "dill", "filelock", "flint", "fsspec",
    "functorch", "fx2trt_oss", "gmpy", "gmpy2", "google", "hypothesis", "jinja2", "joblib", "lz4", "markupsafe",
    "ml_dtypes", "monkeytype", "mpmath", "narwhals", "networkx", "nvidia", "onnx_tf", "opt_einsum", "optree",
    "packaging", "pandas", "pkg_resources", "psutil", "pyarrow", "pydot", "pynvml", "rich", "scikits", "setuptools",
    "sitecustomize", "sksparse", "sympy", "tabulate", "tensorflow", "threadpoolctl", "torch2trt", "torchcomms",
    "torchdistx", "torchgen", "tqdm", "tree", "triton", "tvm", "typing_extensions", "uarray", "usercustomize",
    "xarray", "yaml",
}  # fmt: skip
_DEVICE = re.compile(r"con|prn|aux|nul|(com|lpt)[0-9]", re.IGNORECASE)
_EXPRESSION_WORDS = frozenset({"and", "or", "not", "if", "else", "true", "false", "True", "False"})


class Model(BaseModel):
    """Every section of the language: frozen, nothing coerced, nothing unknown let through."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        arbitrary_types_allowed=True,
        allow_inf_nan=False,
    )


def _expression(value: object) -> object:
    if isinstance(value, bool | int | float):
        try:
            return literal(value)
        except ExprError as error:
            raise PydanticCustomError("number", "{problem}", {"problem": error.message}) from None
    if isinstance(value, str):
        try:
            return parse(value)
        except ExpressionSyntaxError as error:
            raise PydanticCustomError("expression", "{error}", {"error": error}) from None
    raise PydanticCustomError("expression_type", "expected a number or an expression", {})


def _both(value: object) -> object:
    if not isinstance(value, list | tuple):
        return (value, value)
    if len(value) != 2:
        raise PydanticCustomError("pair", "expected one value, or two: [height, width]", {})
    return tuple(value)


def _identifier(value: object) -> object:
    if isinstance(value, str) and not IDENTIFIER.fullmatch(value):
        raise PydanticCustomError("identifier", "`{name}` is no identifier", {"name": value[:80]})
    return value


def free(taken: Callable[[str], str | None]) -> BeforeValidator:
    """Refuses a name for which `taken` gives a reason."""

    def check(value: object) -> object:
        reason = taken(value) if isinstance(_identifier(value), str) else None  # type: ignore[arg-type]
        if reason is not None:
            raise PydanticCustomError(
                "taken", "`{name}` is a name that is taken", {"name": value, "reason": reason}
            )
        return value

    return BeforeValidator(check)


def _word(name: str) -> str | None:
    return f"`{name}` is a word of Python" if keyword.iskeyword(name) else None


def _network(name: str) -> str | None:
    if name in _IMPORTED:
        return f"the emitted file would stand in the place of the module `{name}`"
    if name in dir(builtins):
        return f"the emitted function would stand in the place of Python's `{name}`"
    if name in EMITTED_NAMES:
        return f"the emitted file uses a `{name}` of its own"
    if name.casefold() == "train":
        return "`train.py` is the training script"
    if _DEVICE.fullmatch(name):
        return f"on Windows `{name}` is a device, and no file can be called `{name}.py`"
    return _word(name)


def _module(name: str) -> str | None:
    if name in MODULE_ATTRIBUTES:
        return f"torch's modules have an attribute `{name}`"
    return _word(name)


def _parameter(name: str) -> str | None:
    if name in _EXPRESSION_WORDS or name in FUNCTIONS:
        return f"in an expression `{name}` is a word of the language"
    return None


def _scalar(value: object) -> object:
    if not isinstance(value, bool | int | float | str):
        raise PydanticCustomError("scalar", "expected a number, a truth or text", {})
    return value


if TYPE_CHECKING:
    Expr: TypeAlias = Tree
    Pair: TypeAlias = tuple[Tree, Tree]
else:
    # Pydantic would build a schema of the tree's classes; the validators have made sure already.
    Expr = Annotated[Any, BeforeValidator(_expression)]
    """An expression; a number stands for itself."""

    Pair = Annotated[tuple[Expr, Expr], BeforeValidator(_both)]
    """(height, width); one value stands for both."""

if TYPE_CHECKING:
    Scalar: TypeAlias = int | float | bool | str
else:
    # One finding in place of one for each type of the union.
    Scalar = Annotated[Any, BeforeValidator(_scalar)]

Identifier = Annotated[str, BeforeValidator(_identifier)]
NetworkName = Annotated[str, free(_network)]
"""The name of a network: of a file, and of a function in it."""

ModuleName = Annotated[str, free(_module)]
"""The name of a module, and so of an attribute."""

ParameterName = Annotated[str, free(_parameter)]
"""A name that expressions can read."""


class CallForm(Model):
    """A name from the library or the spec, with its arguments: `B`, or `A: {padding: trailing}`."""

    name: str
    arguments: dict[str, Any] = {}

    @classmethod
    def of(cls, name: str) -> CallForm:
        """A call without arguments."""
        return cls.model_construct(name=name, arguments={})

    @model_validator(mode="before")
    @classmethod
    def _spellings(cls, value: object) -> object:
        """`name` and `{name: {parameter: value}` are the two spellings of a call."""
        if isinstance(value, str):
            return {"name": value, "arguments": {}}
        if not isinstance(value, Mapping):
            raise PydanticCustomError("call", "expected a name, or a name with its parameters", {})
        if len(value) != 1:
            raise PydanticCustomError(
                "call",
                "expected `name`, or `name: {parameter: value}` with one name, not {count} keys",
                {"count": len(value)},
            )
        ((name, arguments),) = value.items()
        if arguments is None:
            arguments = {}
        if not isinstance(arguments, Mapping):
            raise PydanticCustomError(
                "call_arguments",
                "the arguments of `{name}` are a mapping of parameters to values",
                {"name": str(name)[:80]},
            )
        return {"name": name, "arguments": dict(arguments)}
