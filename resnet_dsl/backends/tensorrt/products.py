"""The two products, the precisions, and which of them goes with which compute capability.

A compute capability is written as NVIDIA's compilers write it, without the point: 86 is 8.6, 120 is 12.0.

Sources: the vendor's support matrices of TensorRT for RTX 1.0 to 1.5; for 1.7 the module's own enumeration, and for
every precision and target below a build with it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from resnet_dsl.errors import CompileError, Diagnostic, suggest

TURING = 75


@dataclass(frozen=True, slots=True)
class Product:
    """One TensorRT product: how it is found, installed, recognised in a file, and told its targets."""

    key: str
    title: str
    module: str
    install: str
    magic: bytes
    """The first four bytes of its engines."""
    ahead_of_time: bool
    """Builds for the capabilities that it is told, with no GPU; otherwise for the GPU at hand, and nothing else."""
    since: Mapping[int, str] = field(default_factory=dict)
    """Ahead of time only: the capabilities that can be named, and the release that first knew each."""


RTX = Product(
    key="tensorrt_rtx",
    title="TensorRT for RTX",
    module="tensorrt_rtx",
    install="pip install tensorrt-rtx",
    magic=b"vtrt",
    ahead_of_time=True,
    since={75: "1.0", 80: "1.7", 86: "1.0", 89: "1.0", 120: "1.0", 121: "1.5"},
)
TENSORRT = Product(
    key="tensorrt",
    title="TensorRT",
    module="tensorrt",
    install="pip install tensorrt",
    magic=b"ftrt",
    ahead_of_time=False,
)
PRODUCTS: Mapping[str, Product] = {item.key: item for item in (RTX, TENSORRT)}
"""By key, in order of preference: the first builds on any machine."""

RTX_DEFAULT_TARGETS = (86, 89, 120)
"""The RTX 30, 40 and 50 series: one engine serves all three at no extra size. Turing is best in its own engine."""


@dataclass(frozen=True, slots=True)
class Precision:
    """A precision that a graph can be in, the oldest capability that computes in it, and why not before."""

    name: str
    data_type: str
    """The name in TensorRT's `DataType` that marks a graph of this precision."""
    minimum: int
    needs: str


PRECISIONS: Mapping[str, Precision] = {
    item.name: item
    for item in (
        Precision("fp32", "FLOAT", 75, "Turing or newer"),
        Precision("tf32", "FLOAT", 80, "Ampere or newer, whose tensor cores first had it"),
        Precision("fp16", "HALF", 75, "Turing or newer"),
        Precision("bf16", "BF16", 80, "Ampere or newer, whose tensor cores first had it"),
        Precision("int8", "INT8", 75, "Turing or newer"),
        Precision("fp8", "FP8", 89, "Ada or newer, whose tensor cores first had it"),
    )
}


def product(name: str) -> Product:
    """The product with this key. Raises CompileError (RD620) for any other name."""
    found = PRODUCTS.get(name.casefold().replace("-", "_"))
    if found is None:
        raise CompileError(
            Diagnostic(
                "RD620",
                f"there is no TensorRT product `{name}`",
                hint=suggest(name, PRODUCTS) or "there are " + " and ".join(PRODUCTS),
            )
        )
    return found


def available() -> tuple[Product, ...]:
    """The products that are installed for this interpreter, preferred first. Imports neither."""
    return tuple(item for item in PRODUCTS.values() if _installed(item.module))


def default_product() -> Product:
    """The preferred product of those installed. Raises CompileError (RD620) where there is none."""
    found = available()
    if not found:
        raise CompileError(
            Diagnostic(
                "RD620",
                "no TensorRT is installed, so no engine can be built",
                why="neither `tensorrt_rtx` nor `tensorrt` can be found by this Python",
                hint=f"`{RTX.install}` (about 95 MB) builds engines for RTX GPUs on any machine, "
                "with or without a GPU",
            )
        )
    return found[0]


def default_targets(
    chosen: Product, precision: str | None = None, explicit: Sequence[int] | None = None
) -> tuple[int, ...]:
    """The capabilities to build for, ascending: those asked for, else the product's own that have the precision.
    Empty for a product that builds for the GPU at hand."""
    if explicit is not None:
        return tuple(sorted(set(explicit)))
    if not chosen.ahead_of_time:
        return ()
    least = PRECISIONS[precision].minimum if precision is not None else 0
    return tuple(target for target in RTX_DEFAULT_TARGETS if target >= least)


def engine_groups(targets: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """Targets that should share an engine, together: Turing apart, because an engine that serves it too gives up
    speed on the others."""
    turing = tuple(target for target in sorted(set(targets)) if target <= TURING)
    newer = tuple(target for target in sorted(set(targets)) if target > TURING)
    return tuple(group for group in (turing, newer) if group)


def check_precision(precision: str, targets: Sequence[int]) -> Precision:
    """The precision by name. Raises CompileError: RD624 for an unknown one or where a target has not got it."""
    found = PRECISIONS.get(precision)
    if found is None:
        hint = suggest(precision, PRECISIONS) or "there are " + ", ".join(PRECISIONS)
        raise CompileError(Diagnostic("RD624", f"there is no precision `{precision}`", hint=hint))
    without = [f"sm{target}" for target in sorted(set(targets)) if target < found.minimum]
    if without:
        kept = [f"sm{target}" for target in sorted(set(targets)) if target >= found.minimum]
        raise CompileError(
            Diagnostic(
                "RD624",
                f"{precision} cannot be computed on {', '.join(without)}",
                why=f"{precision} needs {found.needs} (sm{found.minimum})",
                hint=f"build {precision} for {','.join(kept)} alone, and another precision, such as fp16, for the rest"
                if kept
                else "fp16 runs on every target",
            )
        )
    return found


def _installed(module: str) -> bool:
    """Whether a real package of this name can be found. A mere folder of the name, such as one in the working
    directory, would be found as a namespace package, and has no origin."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None
