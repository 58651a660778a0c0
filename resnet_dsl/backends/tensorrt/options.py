"""What is asked of an engine: product, targets, precision, and the shapes that it must take."""

from __future__ import annotations

from dataclasses import dataclass

from resnet_dsl.backends.tensorrt import gpus, products
from resnet_dsl.backends.tensorrt.products import Product
from resnet_dsl.errors import CompileError, Diagnostic

LARGEST = 2**31 - 1
"""The greatest extent of a dimension."""


@dataclass(frozen=True, slots=True)
class Range:
    """The least, the tuned-for and the greatest value of a symbolic dimension."""

    min: int
    opt: int
    max: int

    def __str__(self) -> str:
        return f"{self.min}/{self.opt}/{self.max}"


@dataclass(frozen=True, slots=True)
class Profile:
    """The shapes that an engine takes. `height` and `width` are for graphs in which these are symbolic too."""

    batch: Range = Range(1, 8, 64)
    height: Range | None = None
    width: Range | None = None

    def __str__(self) -> str:
        spatial = [
            f"{name} {size}"
            for name, size in (("height", self.height), ("width", self.width))
            if size is not None
        ]
        return ", ".join([f"batch {self.batch}", *spatial])


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine is built. None means: decided from what is installed, or read off the graph."""

    product: str | None = None
    """`tensorrt_rtx` or `tensorrt`; None: the former where it is installed, else the latter."""
    targets: tuple[int, ...] | None = None
    """Compute capabilities (`gpus.parse_gpus`); None: on RTX sm86, sm89 and sm120, else the GPU at hand."""
    precision: str | None = None
    """What the graph is in, a key of `products.PRECISIONS`; checked against it. `tf32` permits an fp32 graph TF32."""
    profiles: tuple[Profile, ...] | None = None
    """For a graph with symbolic dimensions; None: one, batch 1/8/64."""
    workspace_mib: int | None = None
    """The scratch memory that a kernel may use, in MiB; None: all of the GPU's."""
    timeout_s: float | None = 3600.0
    """When to give the build up; None: never."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Options after they were checked: nothing is left to decide but what only the graph or the GPU can say."""

    product: Product
    targets: tuple[int, ...]
    precision: str | None
    profiles: tuple[Profile, ...] | None
    workspace_mib: int | None
    timeout_s: float | None


def resolve(options: EngineOptions) -> Resolved:
    """Defaults filled in and everything checked that can be before TensorRT runs.

    Raises CompileError: RD620 for a product that is unknown or not installed, RD623 for targets that it has not got,
    RD624 for a precision that a target has not got, RD625 for a profile or a limit that makes no sense.
    """
    if options.product is None:
        product = products.default_product()
    else:
        product = products.product(options.product)
        if product not in products.available():
            raise CompileError(not_installed(product))
    targets = products.default_targets(product, options.precision, options.targets)
    if product.ahead_of_time and not targets:
        raise CompileError(
            Diagnostic(
                "RD623",
                "no GPU is given to build for",
                hint="name one, as in `rtx4090,sm120`, or leave them out",
            )
        )
    gpus.check_targets(product, targets)
    if options.precision is not None:
        products.check_precision(options.precision, targets)
    findings = [item for profile in options.profiles or () for item in _profile_findings(profile)]
    if options.profiles == ():
        findings.append(Diagnostic("RD625", "the list of profiles is empty"))
    for name, value in (
        ("workspace", options.workspace_mib),
        ("time limit", options.timeout_s),
    ):
        if value is not None and value <= 0:
            findings.append(Diagnostic("RD625", f"the {name} is {value}, and must be above 0"))
    if findings:
        raise CompileError(findings)
    return Resolved(
        product,
        targets,
        options.precision,
        options.profiles,
        options.workspace_mib,
        options.timeout_s,
    )


def not_installed(product: Product, why: str | None = None) -> Diagnostic:
    """The finding (RD620) that a product cannot be imported here."""
    return Diagnostic(
        "RD620",
        f"{product.title} is not installed"
        if why is None
        else f"{product.title} is installed but cannot be loaded",
        why=why or f"this Python finds no module `{product.module}`",
        hint=f"`{product.install}`"
        if product.ahead_of_time
        else f"`{product.install}` on the machine with the GPU, or `{products.RTX.install}`, which builds "
        "engines for RTX GPUs on any machine",
    )


def _nearest(size: Range) -> Range:
    return Range(*sorted(min(max(1, item), LARGEST) for item in (size.min, size.opt, size.max)))


def _profile_findings(profile: Profile) -> list[Diagnostic]:
    findings = []
    for name in ("batch", "height", "width"):
        size: Range | None = getattr(profile, name)
        if size is None or 1 <= size.min <= size.opt <= size.max <= LARGEST:
            continue
        findings.append(
            Diagnostic(
                "RD625",
                f"the {name} of a profile is {size}",
                why="a profile is min/opt/max, with 1 ≤ min ≤ opt ≤ max"
                + (f" ≤ {LARGEST:,}" if size.max > LARGEST else ""),
                hint=f"write `{_nearest(size)}`",
            )
        )
    return findings
