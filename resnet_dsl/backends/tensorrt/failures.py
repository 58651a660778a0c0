"""What TensorRT says when it refuses, turned into findings that name the spec's block.

An ONNX node carries the path of the operation in the spec, so the node's name is where to look; which block of the spec
it belongs to is told besides, where that is known (`blocks`: node name to block).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from resnet_dsl.errors import CompileError, Diagnostic

NO_DRIVER = "cudaError 35"
"""Stands in the line about CUDA that every failing call adds where there is no driver."""
_NOISE = (NO_DRIVER, "ModelImporter.cpp:1")
"""Lines that stand beside the real error: the missing driver, and the node that the ONNX parser was at."""
_WRAPPED = re.compile(
    r"^(?:\w+::\w+: )?Error Code \d+: [\w ]+ \((?P<text>.*?)(?: In \w+ at \S+)?\)$", re.DOTALL
)
_PLACE = re.compile(r"^\[[\w.]+(?:::\w+)+\] ")
_INTERNAL = re.compile(
    r"^\[\w+\.cpp:\d+: \w+\] |^\w+\.cpp:\d+: |^.*?Assertion failed: .*?: (?=[A-Z])"
)
_TRAILING = re.compile(r"\s*In \w+ at \S+?:\d+\)?$")
_AT_MOST = 10
_OLD_DRIVER = re.compile(
    r"CUDA driver version is insufficient|CUDA initialization failure with error: (?:35|803|804)\b"
)
_WORD = re.compile(r"[\w.]*\w")
_SHORT = re.compile(
    r"\bout of memory\b|\bOutOfMemory\b|\bbad_alloc\b|\bMemoryError\b|requested amount of GPU memory",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class ParserFinding:
    """One entry of the ONNX parser's error list."""

    code: str
    node: str
    operator: str
    number: int
    text: str


def first_error(lines: Iterable[str]) -> str | None:
    """The first line that says what went wrong, without the wrapping; None where every line is noise."""
    for line in lines:
        if not any(part in line for part in _NOISE):
            return clean(line)
    return None


def clean(text: str) -> str:
    """An error's own words: the first line, without source files and error numbers of TensorRT's own."""
    lines = [line for line in text.splitlines() if line.strip() and NO_DRIVER not in line]
    said = _PLACE.sub("", lines[0].strip() if lines else text.strip())
    if said.startswith("Invalid Node - ") and len(lines) > 1:
        said = lines[1].strip()
    wrapped = _WRAPPED.match(said)
    if wrapped is not None:
        said = wrapped["text"]
    return _TRAILING.sub("", _INTERNAL.sub("", said)).strip()


def parser_failure(
    title: str,
    found: Sequence[ParserFinding],
    log: Iterable[str],
    blocks: Mapping[str, str] | None = None,
) -> CompileError:
    """What the ONNX parser refused: RD627 for each node, RD626 where it could not read the file at all."""
    nodes = [item for item in found if item.operator]
    if not nodes:
        # The log knows more than the list here: which file of external data is missing, for one.
        why = first_error(log) or (clean(found[0].text) if found else None)
        return CompileError(
            Diagnostic(
                "RD626",
                f"{title} cannot read the ONNX file",
                why=why,
                hint="write it again with `resnet-dsl build SPEC --target onnx`; external data must lie beside it",
            )
        )
    findings = [_node_finding(title, item, blocks or {}) for item in nodes[:_AT_MOST]]
    if len(nodes) > _AT_MOST:
        rest = len(nodes) - _AT_MOST
        findings.append(Diagnostic("RD627", f"{title} refuses {rest} more nodes"))
    return CompileError(findings)


def _node_finding(title: str, item: ParserFinding, blocks: Mapping[str, str]) -> Diagnostic:
    where = f"`{item.node}`" if item.node else f"node number {item.number}"
    block = block_of(item.node, blocks)
    within = f" in the block `{block}`" if block else ""
    if item.code == "UNSUPPORTED_NODE" or "Plugin not found" in item.text:
        return Diagnostic(
            "RD627",
            f"{title} has no operation `{item.operator}`, which {where}{within} is",
            hint="use another operation there, or run the ONNX file with ONNX Runtime",
        )
    message = f"{title} refuses {where} ({item.operator}){within}"
    return Diagnostic("RD627", message, why=clean(item.text))


def block_of(node: str, blocks: Mapping[str, str]) -> str | None:
    """The block of the spec that a node belongs to; None where that is not known, or is the node's own name.

    A node that a pass has added is named after another one: `layer1.0.conv1.quantized`.
    """
    name = node
    while name:
        if name in blocks or name in blocks.values():
            found = blocks.get(name, name)
            return found if found and found != node else None
        name = name.rpartition(".")[0]
    return None


def build_failure(
    title: str,
    log: Iterable[str],
    blocks: Mapping[str, str] | None = None,
    workspace_mib: int | None = None,
) -> CompileError:
    """The builder returned nothing: RD628 with the first real error in the log, RD604 where memory did not suffice,
    RD621 where no driver was found."""
    lines = list(log)
    said = first_error(lines)
    short = next((line for line in lines if is_out_of_memory(line)), None)
    if short is not None:
        return out_of_memory(title, clean(short), workspace_mib)
    if said is None and lines:
        return CompileError(
            Diagnostic(
                "RD621",
                f"{title} finds no NVIDIA driver that it can use",
                why=clean(lines[0]),
                hint="build on the machine that has the GPU; `nvidia-smi` says whether its driver works",
            )
        )
    node = next((word for word in _WORD.findall(said or "") if block_of(word, blocks or {})), None)
    where = "" if node is None else f": the block `{block_of(node, blocks or {})}` (`{node}`)"
    return CompileError(
        Diagnostic(
            "RD628",
            f"{title} cannot build an engine from this graph{where}",
            why=said,
            hint="try another precision (`--precision fp16`), or run the ONNX file with ONNX Runtime",
        )
    )


def no_builder(title: str, version: str, lines: Sequence[str]) -> CompileError:
    """The builder did not start: RD639 where the driver is too old for this release, else RD628."""
    driver = next((line for line in lines if _OLD_DRIVER.search(line)), None)
    if driver is not None:
        return CompileError(
            Diagnostic(
                "RD639",
                f"the NVIDIA driver is too old for {title} {version}",
                why=clean(driver) or driver.strip(),
                hint="update the driver; `nvidia-smi` says which it is, and the newest CUDA that it runs",
            )
        )
    return CompileError(
        Diagnostic(
            "RD628",
            f"{title} cannot start its builder",
            why=first_error(lines),
            hint="`nvidia-smi` says whether the GPU and its driver work",
        )
    )


def is_out_of_memory(text: str) -> bool:
    """Whether a line says that memory did not suffice."""
    return _SHORT.search(text) is not None and NO_DRIVER not in text


def out_of_memory(title: str, why: str | None, workspace_mib: int | None = None) -> CompileError:
    """The finding (RD604) that memory did not suffice, or not the scratch memory that was granted."""
    hint = (
        "give a profile with a smaller batch, as in `--batch 1/4/16`, or a limit as in `--workspace 512`, or use a "
        "larger machine"
    )
    if workspace_mib is not None:
        hint = f"leave `--workspace {workspace_mib}` out, or give more; or a smaller batch, as in `--batch 1/4/16`"
    return CompileError(
        Diagnostic(
            "RD604",
            f"the memory does not suffice for {title} to build this engine",
            why=why,
            hint=hint,
        )
    )
