"""GPU product names and the compute capability of each: `--gpus rtx4090,sm120`.

Names are compared without case, spaces, hyphens and makers' prefixes, and without what a driver appends ("Laptop
GPU", "80GB HBM3", "SXM4"), so that the name that `nvidia-smi` prints can be pasted.

Source: https://developer.nvidia.com/cuda-gpus and its list of legacy GPUs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from resnet_dsl.backends.tensorrt.products import RTX, TENSORRT, Product, is_older
from resnet_dsl.errors import CompileError, Diagnostic, suggest

ARCHITECTURES: Mapping[int, str] = {
    60: "Pascal",
    61: "Pascal",
    70: "Volta",
    72: "Volta (Xavier)",
    75: "Turing",
    80: "Ampere (A100)",
    86: "Ampere",
    87: "Ampere (Orin)",
    89: "Ada",
    90: "Hopper",
    100: "Blackwell (B200)",
    103: "Blackwell (B300)",
    110: "Blackwell (Thor)",
    120: "Blackwell (RTX)",
    121: "Blackwell (GB10)",
}

_NAMES: Mapping[int, str] = {
    60: "p100",
    61: "gtx1050 gtx1050ti gtx1060 gtx1070 gtx1070ti gtx1080 gtx1080ti titanx titanxp p4 p40",
    70: "v100 titanv",
    72: "xavier agxxavier",
    75: "gtx1650 gtx1650super gtx1650ti gtx1660 gtx1660super gtx1660ti rtx2060 rtx2060super rtx2070 "
    "rtx2070super rtx2080 rtx2080super rtx2080ti titanrtx t4 t400 t600 t1000 t1200 quadrot1000 quadrot2000 "
    "quadrortx3000 quadrortx4000 quadrortx5000 quadrortx6000 quadrortx8000 rtx8000",
    80: "a100 a100x a800 a30 a30x",
    86: "rtx2050 rtx3050 rtx3050ti rtx3060 rtx3060ti rtx3070 rtx3070ti rtx3080 rtx3080ti rtx3090 rtx3090ti "
    "a2 a10 a10g a16 a40 rtxa500 rtxa1000 rtxa2000 rtxa3000 rtxa4000 rtxa4500 rtxa5000 rtxa5500 rtxa6000",
    87: "orin jetsonorin agxorin orinnano orinnx",
    89: "rtx4050 rtx4060 rtx4060ti rtx4070 rtx4070super rtx4070ti rtx4070tisuper rtx4080 rtx4080super rtx4090 "
    "rtx4090d l2 l4 l20 l40 l40s l40g rtx2000ada rtx3500ada rtx4000ada rtx4500ada rtx5000ada rtx5880ada rtx6000ada",
    90: "h100 h200 h800 h20 gh200",
    100: "b100 b200 gb200",
    103: "b300 gb300",
    110: "thor jetsonthor agxthor",
    120: "rtx5050 rtx5060 rtx5060ti rtx5070 rtx5070ti rtx5080 rtx5090 rtx5090d rtxpro500 rtxpro1000 "
    "rtxpro2000 rtxpro3000 rtxpro4000 rtxpro4500 rtxpro5000 rtxpro6000",
    121: "gb10 dgxspark spark",
}
CAPABILITIES: Mapping[str, int] = {
    name: capability for capability, names in _NAMES.items() for name in names.split()
}

_AMBIGUOUS: Mapping[str, tuple[str, ...]] = {
    "rtx3000": ("quadrortx3000", "rtxa3000"),
    "rtx4000": ("quadrortx4000", "rtxa4000", "rtx4000ada", "rtxpro4000"),
    "rtx5000": ("quadrortx5000", "rtxa5000", "rtx5000ada", "rtxpro5000"),
    "rtx6000": ("quadrortx6000", "rtxa6000", "rtx6000ada", "rtxpro6000"),
}

_CAPABILITY = re.compile(r"(?:sm|cc|compute)?[ _]?(\d{2,3}|\d{1,2}\.\d)[af]?", re.ASCII)
_MAKERS = frozenset({"nvidia", "geforce", "tesla"})
_APPENDED = re.compile(
    r"laptop|mobile|gpu|with|max|q|design|generation|blackwell|workstation|server|edition|sxm\d*|pcie|nvl|hbm\d*e?"
    r"|\d+gb"
)


def parse_gpus(text: str, product: Product = RTX) -> tuple[int, ...]:
    """Names and capabilities separated by commas, as ascending capabilities: "rtx4090,sm120" is (89, 120).

    Raises CompileError with every finding: RD622 for a name that is not known, RD623 for a GPU that the product
    does not build for.
    """
    found: set[int] = set()
    findings: list[Diagnostic] = []
    for word in text.split(","):
        try:
            capability = capability_of(word)
            check_targets(product, (capability,), word.strip())
        except CompileError as error:
            findings += error.diagnostics
        else:
            found.add(capability)
    if findings:
        raise CompileError(findings)
    return tuple(sorted(found))


def capability_of(word: str) -> int:
    """The capability of one GPU: "RTX 4090", "sm_89", "8.9" and "89" are all 89. Raises CompileError (RD622)."""
    stripped = word.strip().casefold()
    if not stripped:
        raise CompileError(
            Diagnostic("RD622", "a GPU name is empty", hint="write GPUs as in `rtx4090,sm120`")
        )
    written = _CAPABILITY.fullmatch(stripped)
    if written is not None:
        number = int(written[1].replace(".", ""))
        if number in ARCHITECTURES:
            return number
        known = ", ".join(f"sm{item}" for item in ARCHITECTURES if item >= 75)
        raise CompileError(
            Diagnostic(
                "RD622",
                f"there is no compute capability `{word.strip()}`",
                hint=f"there are {known}",
            )
        )
    words = [item for item in re.split(r"[^a-z0-9]+", stripped) if item and item not in _MAKERS]
    plain = "".join(words)
    while len(words) > 1 and _APPENDED.fullmatch(words[-1]):
        words.pop()
    for name in (plain, "".join(words)):
        if name in CAPABILITIES:
            return CAPABILITIES[name]
        if name in _AMBIGUOUS:
            choices = ", ".join(f"`{item}` (sm{CAPABILITIES[item]})" for item in _AMBIGUOUS[name])
            raise CompileError(
                Diagnostic(
                    "RD622",
                    f"`{word.strip()}` is the name of GPUs of several generations",
                    hint=f"write {choices}",
                )
            )
    raise CompileError(
        Diagnostic(
            "RD622",
            f"there is no GPU named `{word.strip()}` in the table",
            hint=_ends_with(plain)
            or suggest(plain, CAPABILITIES)
            or "write its compute capability instead, such as `sm89`; `nvidia-smi --query-gpu=compute_cap "
            "--format=csv` prints it",
        )
    )


def _ends_with(number: str) -> str | None:
    """A hint for who wrote a number alone: `4090`."""
    found = [name for name in CAPABILITIES if number.isdigit() and name.endswith(number)]
    return f"did you mean `{found[0]}`?" if found else None


def check_targets(product: Product, targets: Sequence[int], written: str | None = None) -> None:
    """Raises CompileError (RD623) for the capabilities that the product cannot build for, each with why.

    `written` is how the user named a single target. A product that builds for the GPU at hand takes any from Turing
    on; whether it is at hand is only seen at the build.
    """
    findings = []
    for target in targets:
        name = describe(target)
        if written is not None and written.casefold() != f"sm{target}":
            name = f"`{written}` (sm{target}, {ARCHITECTURES.get(target, 'unknown')})"
        if target < 75:
            why = "both products begin with Turing (sm75)"
            hint = "run the ONNX file with ONNX Runtime there (`build --target onnx`)"
        elif product.ahead_of_time and target not in product.since:
            known = ", ".join(f"sm{item}" for item in product.since)
            why = f"{product.title} builds for {known}"
            hint = (
                f"full TensorRT builds for {ARCHITECTURES.get(target, 'it')} on a machine that has one: "
                f"`{TENSORRT.install}` there"
            )
        else:
            continue
        message = f"{product.title} builds no engine for {name}"
        findings.append(Diagnostic("RD623", message, why=why, hint=hint))
    if findings:
        raise CompileError(findings)


def unknown_target(product: Product, target: int, release: str) -> Diagnostic:
    """The finding (RD623) that a release does not know a capability yet."""
    since = product.since.get(target)
    known = [f"sm{item}" for item, first in product.since.items() if not is_older(release, first)]
    return Diagnostic(
        "RD623",
        f"{product.title} {release} cannot build for {describe(target)}",
        why=f"this release knows {', '.join(known)}",
        hint=f"release {since} and newer know it: `{product.install} --upgrade`"
        if since is not None
        else None,
    )


def describe(capability: int) -> str:
    """One capability for people: "sm89 (Ada)"."""
    return f"sm{capability} ({ARCHITECTURES.get(capability, 'unknown')})"
