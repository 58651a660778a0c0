"""What is set on a builder's configuration, and the GPU that it builds on. Runs in the child process.

TensorRT has no type stubs, so its objects are `Any` here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resnet_dsl.backends.tensorrt import device, gpus
from resnet_dsl.backends.tensorrt.device import Device
from resnet_dsl.backends.tensorrt.messages import Request
from resnet_dsl.backends.tensorrt.products import RTX, Product
from resnet_dsl.errors import CompileError, Diagnostic

_AMPERE = 80
_FLAGS = {
    "version_compatible": "VERSION_COMPATIBLE",
    "exclude_lean_runtime": "EXCLUDE_LEAN_RUNTIME",
    "refit": "REFIT",
    "strip": "STRIP_PLAN",
}
"""The builder's flag of each option that is one."""


def choose_gpu(product: Product, request: Request) -> tuple[tuple[int, ...], Device | None]:
    """The capabilities that the engine will be for, and the GPU to build on, made the current one; None for a product
    that needs none.

    Raises CompileError: RD621 where a GPU is needed and there is none, RD623 where another was asked for, RD638 for
    hardware compatibility on a GPU that is too old for it.
    """
    wanted = request.targets
    if product.ahead_of_time:
        return wanted, None
    at_hand = device.local_gpus()
    if not at_hand:
        raise CompileError(
            Diagnostic(
                "RD621",
                f"{product.title} needs the GPU that it builds for, and there is none here",
                why="the NVIDIA driver finds no GPU, or is not installed",
                hint=f"run this on the machine that has the GPU; or `{RTX.install}`, which builds engines for RTX "
                "GPUs without one",
            )
        )
    fitting = [item for item in at_hand if not wanted or item.capability in wanted]
    if request.hardware == "ampere_plus":
        fitting = _ampere(product, at_hand, wanted)
    elif not fitting:
        raise _not_at_hand(product, at_hand, wanted)
    chosen = fitting[0]
    gpus.check_targets(product, (chosen.capability,), chosen.name)
    # The builder takes the current GPU, which is the first unless someone chooses another.
    if chosen.index and not device.use(chosen):
        raise _not_at_hand(product, at_hand[:1], wanted)
    return wanted or (chosen.capability,), chosen


def _ampere(product: Product, at_hand: Sequence[Device], wanted: Sequence[int]) -> list[Device]:
    """The GPUs that an engine for all from Ampere on can be built on, those that were named first."""
    older = [gpus.describe(target) for target in wanted if target < _AMPERE]
    able = [item for item in at_hand if item.capability >= _AMPERE]
    if older or not able:
        message = (
            f"an engine for all GPUs from Ampere on does not run on {', '.join(older)}"
            if older
            else f"{product.title} builds an engine for all GPUs from Ampere on only on one of these"
        )
        why = "here is " + ", ".join(
            f"{item.name}, {gpus.describe(item.capability)}" for item in at_hand
        )
        hint = "build `same_compute_capability` for the older GPU, or run this on the machine with the newer one"
        raise CompileError(Diagnostic("RD638", message, why=why, hint=hint))
    return sorted(able, key=lambda item: item.capability not in wanted)


def _not_at_hand(
    product: Product, at_hand: Sequence[Device], wanted: Sequence[int]
) -> CompileError:
    missing = ", ".join(gpus.describe(target) for target in wanted)
    here = ", ".join(f"{item.name}, {gpus.describe(item.capability)}" for item in at_hand)
    return CompileError(
        Diagnostic(
            "RD623",
            f"{product.title} cannot build for {missing} here",
            why=f"it builds for the GPU at hand, which is {here}",
            hint="leave the GPUs out, or run this on a machine that has the other",
        )
    )


def configure(
    trt: Any,
    product: Product,
    config: Any,
    request: Request,
    precision: str,
    targets: Sequence[int],
) -> None:
    """Everything but profiles and the timing cache.

    Raises CompileError: RD623 for a capability that this release does not know, RD638 for an option that it does not.
    """
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    # TF32 is on unless it is switched off, and fp32 must mean fp32.
    (config.set_flag if precision == "tf32" else config.clear_flag)(trt.BuilderFlag.TF32)
    if request.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request.workspace_mib << 20)
    if product.ahead_of_time:
        set_targets(trt, product, config, targets)
    for option, flag in _FLAGS.items():
        if getattr(request, option):
            config.set_flag(_member(trt, product, "BuilderFlag", flag))
    if request.hardware is not None:
        level = _member(trt, product, "HardwareCompatibilityLevel", request.hardware.upper())
        config.hardware_compatibility_level = level


def _member(trt: Any, product: Product, enumeration: str, name: str) -> Any:
    found = getattr(trt, enumeration).__members__.get(name)
    if found is None:
        raise CompileError(
            Diagnostic(
                "RD638",
                f"{product.title} {trt.__version__} has no {enumeration}.{name}",
                hint=f"`{product.install} --upgrade`",
            )
        )
    return found


def set_targets(trt: Any, product: Product, config: Any, targets: Sequence[int]) -> None:
    """Tell an ahead-of-time builder its targets: always, because its default asks the driver for a GPU.

    Raises CompileError (RD623) for a capability that this release does not know.
    """
    known = trt.ComputeCapability.__members__
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        member = known.get(f"SM{target}")
        if member is None or not config.set_compute_capability(member, index):
            raise CompileError(gpus.unknown_target(product, target, str(trt.__version__)))
