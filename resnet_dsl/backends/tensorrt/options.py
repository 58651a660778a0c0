"""What is asked of an engine: product, targets, precision, the shapes that it must take, and where else it must run."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from resnet_dsl.backends.tensorrt import gpus, products
from resnet_dsl.backends.tensorrt.precisions import check_precisions
from resnet_dsl.backends.tensorrt.products import RTX, TENSORRT, Product
from resnet_dsl.backends.tensorrt.shapes import LARGEST as LARGEST
from resnet_dsl.backends.tensorrt.shapes import Profile as Profile
from resnet_dsl.backends.tensorrt.shapes import Range as Range
from resnet_dsl.backends.tensorrt.shapes import list_findings, profile_findings
from resnet_dsl.errors import CompileError, Diagnostic, suggest

HARDWARE = ("ampere_plus", "same_compute_capability")
"""The levels of hardware compatibility."""
_QUANTISED = ("int8", "fp8")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How an engine is built. None means: decided from what is installed, or read off the graph."""

    product: str | None = None
    """`tensorrt_rtx` or `tensorrt`; None: the former where it is installed, else the latter."""
    targets: tuple[int, ...] | None = None
    """Compute capabilities (`gpus.parse_gpus`); None: on RTX those of sm86, sm89 and sm120 that have the precision,
    else the GPU at hand."""
    precision: str | None = None
    """What the graph is in, a key of `products.PRECISIONS`; checked against it. `tf32` permits an fp32 graph TF32."""
    rest: str | None = None
    """What the rest of an int8 or fp8 graph is in: `fp32`, `fp16` or `bf16`; checked against it."""
    profiles: tuple[Profile, ...] | None = None
    """For a graph with symbolic dimensions; None: one, batch 1/8/64."""
    workspace_mib: int | None = None
    """The scratch memory that a kernel may use, in MiB; None: all of the GPU's."""
    timeout_s: float | None = 3600.0
    """When to give the build up; None: never."""
    hardware: str | None = None
    """Full TensorRT: the engine runs on other GPUs too, on all from Ampere on (`ampere_plus`) or on those of the same
    capability (`same_compute_capability`), at some cost in speed."""
    version_compatible: bool = False
    """Full TensorRT: the engine runs in later releases of the same major version too, at some cost in speed."""
    exclude_lean_runtime: bool = False
    """With `version_compatible`: the engine does not carry the runtime that later releases load it with."""
    timing_cache: Path | None = None
    """Full TensorRT: a file that keeps how fast each kernel was, so that the next build is quicker. It is made where it
    is not there, and several builds may share it."""
    refit: bool = False
    """Full TensorRT: other weights can be put into the engine later."""
    strip: bool = False
    """Full TensorRT: the engine is written without its weights, which must be put into it from the same ONNX file."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Options after they were checked: nothing is left to decide but what only the graph or the GPU can say."""

    product: Product
    targets: tuple[int, ...]
    precision: str | None
    rest: str | None
    profiles: tuple[Profile, ...] | None
    workspace_mib: int | None
    timeout_s: float | None
    hardware: str | None = None
    version_compatible: bool = False
    exclude_lean_runtime: bool = False
    timing_cache: Path | None = None
    refit: bool = False
    strip: bool = False

    @property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """The targets of each engine that this asks for; one without targets is for the GPU at hand."""
        shared = self.hardware == "ampere_plus"
        return products.engine_groups(self.targets, self.product, shared=shared) or ((),)


def resolve(options: EngineOptions) -> Resolved:
    """Defaults filled in and everything checked that can be before TensorRT runs.

    Raises CompileError: RD620 for a product that is unknown or not installed, RD623 for targets that it has not got,
    RD624 for a precision that a target has not got, RD625 for a profile or a limit that makes no sense, RD638 for what
    the product does not do, RD639 for a product that is too old.
    """
    product = _product(options)
    precisions = [name for name in (options.precision, options.rest) if name is not None]
    targets = products.default_targets(product, precisions, options.targets)
    if product.ahead_of_time and not targets:
        raise CompileError(
            Diagnostic(
                "RD623",
                "no GPU is given to build for",
                hint="name one, as in `rtx4090,sm120`, or leave them out",
            )
        )
    _check_version(product, targets)
    gpus.check_targets(product, targets)
    check_precisions(precisions, targets)
    if findings := [*_wrong_rest(options), *_limits(options), *_not_done(product, options)]:
        raise CompileError(findings)
    kept = {field.name for field in fields(Resolved)} - {"product", "targets"}
    return Resolved(product, targets, **{name: getattr(options, name) for name in kept})


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
        else f"`{product.install}` on the machine with the GPU; or `{RTX.install}`, which builds "
        "engines for RTX GPUs on any machine",
    )


def too_old(product: Product, installed: str) -> Diagnostic | None:
    """The finding (RD639) that a release is older than what this compiler builds with, if it is."""
    if not products.is_older(installed, product.oldest):
        return None
    return Diagnostic(
        "RD639",
        f"{product.title} {installed} is too old",
        why=f"engines are built with release {product.oldest} and newer, in which precision stands in the graph",
        hint=f"`{product.install} --upgrade`",
    )


def _product(options: EngineOptions) -> Product:
    """The product that is asked for, or that is installed."""
    if options.product is None:
        return products.default_product()
    product = products.product(options.product)
    if product not in products.available():
        raise CompileError(not_installed(product))
    return product


def _check_version(product: Product, targets: tuple[int, ...]) -> None:
    """Raises CompileError, RD639 or RD623, for what a release is too old for, where the package says which it is."""
    installed = products.installed_version(product)
    if installed is None:
        return
    if finding := too_old(product, installed):
        raise CompileError(finding)
    findings = [
        gpus.unknown_target(product, target, installed)
        for target in targets
        if target in product.since and products.is_older(installed, product.since[target])
    ]
    if findings:
        raise CompileError(findings)


def _wrong_rest(options: EngineOptions) -> list[Diagnostic]:
    if options.rest is None:
        return []
    if options.precision not in (None, *_QUANTISED):
        return [
            Diagnostic(
                "RD624",
                f"a {options.precision} graph has no rest that could be {options.rest}",
                why="int8 and fp8 quantise convolutions and matrix products, and leave the rest in wider numbers",
                hint="leave the rest out, or say `--precision int8`",
            )
        ]
    if options.rest not in ("fp32", "fp16", "bf16"):
        message = f"the rest of a quantised graph cannot be {options.rest}"
        return [Diagnostic("RD624", message, hint="it is fp32, fp16 or bf16")]
    return []


def _limits(options: EngineOptions) -> list[Diagnostic]:
    findings = [item for profile in options.profiles or () for item in profile_findings(profile)]
    if options.profiles is not None and not findings:
        findings += list_findings(options.profiles)
    for name, value, hint in (
        ("workspace", options.workspace_mib, "leave it out for all of the GPU's memory"),
        ("time limit", options.timeout_s, "leave it out for an hour"),
    ):
        if value is not None and not 0 < value <= LARGEST:
            bound = f"at most {LARGEST:,}" if value > 0 else "above 0"  # which no NaN is
            message = f"the {name} is {value:,.15g}, and must be {bound}"
            findings.append(Diagnostic("RD625", message, hint=hint))
    return findings


_ONLY_FULL = {
    "hardware": (
        "hardware compatibility",
        "its engines run on every GPU they name, and on no other",
        "name the GPUs, as in `--gpus rtx3090,rtx4090`, for one engine that runs on all of them",
    ),
    "version_compatible": (
        "version compatibility",
        "its engines run in the release that built them",
        "build again with the other release: it takes seconds, and no GPU",
    ),
    "timing_cache": (
        "timing cache",
        "it times no kernels when it builds, and needs no GPU for that reason",
        "leave it out: there is nothing to keep",
    ),
    "refit": (
        "refitting",
        "it writes refittable engines only where there is a GPU",
        "build again with the other weights: it takes seconds, and no GPU",
    ),
    "strip": (
        "engines without weights",
        "it writes them only where there is a GPU",
        "ship the ONNX file, and build where the GPU is: it takes seconds",
    ),
}
"""What only full TensorRT does: its name, why RTX does not, and what to do there."""


def _full() -> str:
    """How to build with full TensorRT."""
    if TENSORRT in products.available():
        return "`--product tensorrt`"
    return f"`{TENSORRT.install}` on the machine with the GPU"


def _not_done(product: Product, options: EngineOptions) -> list[Diagnostic]:
    """What is asked for and the product does not do (RD638), or what makes no sense together."""
    findings = []
    if product.ahead_of_time:
        for name, (what, why, hint) in _ONLY_FULL.items():
            if getattr(options, name):
                other = f"; full TensorRT has it: {_full()}"
                message = f"{product.title} has no {what}"
                findings.append(Diagnostic("RD638", message, why=why, hint=hint + other))
    elif options.hardware is not None and options.hardware not in HARDWARE:
        hint = suggest(options.hardware, HARDWARE) or f"there are {' and '.join(HARDWARE)}"
        message = f"there is no hardware compatibility level `{options.hardware[:40]}`"
        findings.append(Diagnostic("RD638", message, hint=hint))
    if options.exclude_lean_runtime and not options.version_compatible:
        findings.append(
            Diagnostic(
                "RD638",
                "there is no runtime in the engine that could be left out",
                why="an engine carries the lean runtime only where it is version compatible",
                hint="add version compatibility, or leave this out",
            )
        )
    return findings
