"""The two products, which of them is installed and in which version, and which targets share an engine.

A compute capability is written as NVIDIA's compilers write it, without the point: 86 is 8.6, 120 is 12.0.

Sources: the vendor's support matrices of TensorRT for RTX 1.0 to 1.5; for 1.7 the module's own enumeration.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version

from resnet_dsl.backends.tensorrt.precisions import PRECISIONS as PRECISIONS
from resnet_dsl.backends.tensorrt.precisions import support_matrix as support_matrix
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
    oldest: str
    """The first release that this compiler builds with: strongly typed networks, by the interface of today."""
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
    oldest="1.4",
    ahead_of_time=True,
    since={75: "1.0", 80: "1.7", 86: "1.0", 89: "1.0", 120: "1.0", 121: "1.5"},
)
TENSORRT = Product(
    key="tensorrt",
    title="TensorRT",
    module="tensorrt",
    install="pip install tensorrt",
    magic=b"ftrt",
    oldest="10.12",
    ahead_of_time=False,
)
PRODUCTS: Mapping[str, Product] = {item.key: item for item in (RTX, TENSORRT)}
"""By key, in order of preference: the first builds on any machine."""

RTX_DEFAULT_TARGETS = (86, 89, 120)
"""The RTX 30, 40 and 50 series: one engine serves all three at no extra size. Turing is best in its own engine."""


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


def installed_version(chosen: Product) -> str | None:
    """The version by the package's own record, as in 1.7.1.116; None where that does not say. Imports nothing."""
    for name in (chosen.module, *(f"{chosen.module}_cu{major}" for major in (13, 12))):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None  # a module without a package, such as one built by hand


def is_older(installed: str, other: str) -> bool:
    """Whether one version comes before another, which may have fewer numbers: 1.5.0.2 is older than 1.7."""
    wanted = [int(item) for item in other.split(".")]
    found = [int(item) for item in re.findall(r"\d+", installed)[: len(wanted)]]
    return bool(found) and found < wanted


def default_targets(
    chosen: Product,
    precisions: str | Sequence[str] | None = None,
    explicit: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """The capabilities to build for, ascending: those asked for, else the product's own that have every precision.
    Empty for a product that builds for the GPU at hand."""
    if explicit is not None:
        return tuple(sorted(set(explicit)))
    if not chosen.ahead_of_time:
        return ()
    names = (precisions,) if isinstance(precisions, str) else precisions or ()
    least = max((PRECISIONS[name].minimum for name in names if name in PRECISIONS), default=0)
    return tuple(target for target in RTX_DEFAULT_TARGETS if target >= least)


def engine_groups(
    targets: Sequence[int], chosen: Product = RTX, *, shared: bool = False
) -> tuple[tuple[int, ...], ...]:
    """Targets that share an engine, together, ascending.

    On RTX Turing is apart, because an engine that serves it too gives up speed on the others. A product that builds for
    the GPU at hand makes one for each target, unless `shared` says that its engines run on newer GPUs as well.
    """
    wanted = sorted(set(targets))
    if not chosen.ahead_of_time:
        return (tuple(wanted),) if shared or not wanted else tuple((target,) for target in wanted)
    turing = tuple(target for target in wanted if target <= TURING)
    newer = tuple(target for target in wanted if target > TURING)
    return tuple(group for group in (turing, newer) if group)


def _installed(module: str) -> bool:
    """Whether a real package of this name can be found. A mere folder of the name, such as one in the working
    directory, would be found as a namespace package, and has no origin."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin is not None
