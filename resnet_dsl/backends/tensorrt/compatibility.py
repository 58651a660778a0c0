"""Whether an engine can run somewhere: on this product, in this version, on this GPU, and what to do where it cannot.

Each rule is a function that gives its finding, or None, so that `inspect` can tell them all, while what is about to run
an engine raises them (`check_runnable`). Nothing here loads TensorRT.

The rules, by the vendor's documentation: an engine runs in the very version that built it, but for one of full TensorRT
that was built version compatible, which runs in later releases of the same major version; it runs on the compute
capabilities that it was built for, but for one of full TensorRT that was built for all from Ampere on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from resnet_dsl.backends.tensorrt import products
from resnet_dsl.backends.tensorrt.device import Device, local_gpus
from resnet_dsl.backends.tensorrt.gpus import describe
from resnet_dsl.backends.tensorrt.header import EngineHeader, read_header
from resnet_dsl.backends.tensorrt.manifest import Compatibility, Manifest
from resnet_dsl.backends.tensorrt.options import not_installed
from resnet_dsl.backends.tensorrt.products import PRODUCTS, Product
from resnet_dsl.errors import CompileError, Diagnostic

_AMPERE = 80


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine has: the products that are installed, each with its version (None: not told), and its GPUs."""

    products: Mapping[str, str | None]
    gpus: tuple[Device, ...]


def this_machine() -> Machine:
    """What is here, by the packages' own records and the driver; imports neither product."""
    return Machine({item.key: _installed(item) for item in products.available()}, local_gpus())


def obstacles(
    path: Path, header: EngineHeader, manifest: Manifest | None, machine: Machine
) -> list[Diagnostic]:
    """Everything that keeps an engine from running on a machine: RD620 or RD635 for what is installed, RD621 or RD636
    for its GPUs. Without a manifest the GPUs of an engine are not known, and any will do."""
    findings: list[Diagnostic | None] = []
    product = header.product
    if product.key not in machine.products:
        other = next((PRODUCTS[key] for key in machine.products), None)
        findings.append(
            not_installed(product) if other is None else wrong_product(path, header, other)
        )
    elif (installed := machine.products[product.key]) is not None:
        compatible = manifest is not None and manifest.engine.compatibility.version
        findings.append(wrong_version(path, header, installed, compatible=compatible))
    if not machine.gpus:
        findings.append(_no_gpu(path))
    elif manifest is not None:
        findings.append(wrong_gpu(path, manifest, machine.gpus))
    return [item for item in findings if item is not None]


def check_runnable(
    path: Path,
    product: Product,
    installed: str,
    gpus: Sequence[Device],
    manifest: Manifest | None = None,
) -> EngineHeader:
    """The header of an engine that `product` in version `installed` can run on one of these GPUs.

    Raises CompileError with every finding: RD001 and RD631 for the file (see `header.read_header`), RD635 for an
    engine of another product or version, RD621 and RD636 for GPUs.
    """
    header = read_header(path)
    here = Machine({product.key: installed}, tuple(gpus))
    if findings := obstacles(path, header, manifest, here):
        raise CompileError(findings)
    return header


def wrong_product(path: Path, header: EngineHeader, product: Product) -> Diagnostic | None:
    """RD635 for an RTX plan given to TensorRT, or the reverse."""
    if header.product is product:
        return None
    return Diagnostic(
        "RD635",
        f"{path} is an engine of {header.product.title}, and {product.title} cannot load it",
        why=f"it begins with `{header.product.magic.decode()}`; the two products share their interface, and no engines",
        hint=f"run it with {header.product.title} {header.version} (`{header.product.install}`), or build one for "
        f"{product.title}: `resnet-dsl compile SPEC --target tensorrt` where that is installed",
    )


def wrong_version(
    path: Path, header: EngineHeader, installed: str, *, compatible: bool = False
) -> Diagnostic | None:
    """RD635 for an engine that the installed version of its product cannot load. `compatible`: built to run in later
    releases of its major version, too."""
    built, here = _numbers(header.version), _numbers(installed)
    if built == here or (compatible and built[0] == here[0] and built <= here):
        return None
    product = header.product
    if compatible:
        why = (
            "it was built version compatible, which is for later releases of the same major version"
        )
    elif product.ahead_of_time:
        why = "its engines run in the very version that built them"
    else:
        why = "an engine runs in the very version that built it, unless it was built version compatible"
    package = product.install.removeprefix("pip install ")
    return Diagnostic(
        "RD635",
        f"{path} is of {product.title} {header.version}, and {installed} is installed",
        why=why,
        hint=f"build it again with this version, `resnet-dsl compile SPEC --target tensorrt`, or install that one, "
        f"`pip install '{package}=={header.version.rpartition('.')[0]}.*'`",
    )


def wrong_gpu(path: Path, manifest: Manifest, gpus: Sequence[Device]) -> Diagnostic | None:
    """RD636 for an engine that was built for none of these GPUs."""
    if any(_runs_on(item.capability, manifest) for item in gpus):
        return None
    targets = [describe(target) for target in manifest.engine.capabilities]
    here = ", ".join(
        dict.fromkeys(f"{item.name}, which is {describe(item.capability)}" for item in gpus)
    )
    wanted = ",".join(dict.fromkeys(f"sm{item.capability}" for item in gpus))
    product = PRODUCTS[manifest.engine.product]
    known = all(item.capability in product.since for item in gpus)
    if product.ahead_of_time and not known:
        hint = (
            f"{product.title} builds no engine for it; full TensorRT does, on this machine: `pip install tensorrt`, "
            "then `resnet-dsl compile SPEC --target tensorrt`"
        )
    elif product.ahead_of_time:
        hint = f"build one for it: `resnet-dsl compile SPEC --target tensorrt --gpus {wanted}`"
    else:
        hint = "build it again on this machine: `resnet-dsl compile SPEC --target tensorrt`"
    return Diagnostic(
        "RD636",
        f"{path} is for {', '.join(targets) or 'no GPU that it names'}, and here is {here}",
        why="an engine holds machine code for the GPUs that it was built for",
        hint=hint,
    )


def _runs_on(capability: int, manifest: Manifest) -> bool:
    level: Compatibility = manifest.engine.compatibility
    if level.hardware == "ampere_plus":
        return capability >= _AMPERE
    return capability in manifest.engine.capabilities


def _no_gpu(path: Path) -> Diagnostic:
    return Diagnostic(
        "RD621",
        f"{path} cannot run here: this machine has no NVIDIA GPU, or no driver for one",
        hint="copy its folder to a machine with one of its GPUs; the graph it was built from runs here: "
        "`resnet-dsl verify SPEC`",
    )


def _installed(product: Product) -> str | None:
    try:
        return version(product.module)
    except PackageNotFoundError:
        return None  # a module without a package, such as one built by hand


def _numbers(text: str) -> tuple[int, ...]:
    """A version as four numbers, the last modulo 256, as engines hold it."""
    found = [int(item) for item in re.findall(r"\d+", text)[:4]]
    found += [0] * (4 - len(found))
    return (*found[:3], found[3] % 256)
