"""What TensorRT says when it refuses, turned into findings that name the spec's block.

An ONNX node carries the path of the operation in the spec, so the node's name is where to look.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from resnet_dsl.errors import CompileError, Diagnostic

NO_DRIVER = "cudaError 35"
"""Stands in the line about CUDA that every failing call adds where there is no driver."""
_NOISE = (NO_DRIVER, "ModelImporter.cpp:1")
"""Lines that stand beside the real error: the missing driver, and the node that the ONNX parser was at."""
_WRAPPED = re.compile(
    r"^(?:\w+::\w+: )?Error Code \d+: [\w ]+ \((?P<text>.*?)(?: In \w+ at \S+)?\)$", re.DOTALL
)
_INTERNAL = re.compile(
    r"^\[\w+\.cpp:\d+: \w+\] |^\w+\.cpp:\d+: |^.*?Assertion failed: .*?: (?=[A-Z])"
)
_TRAILING = re.compile(r"\s*In \w+ at \S+?:\d+\)?$")
_AT_MOST = 10


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
    said = lines[0].strip() if lines else text.strip()
    if said.startswith("Invalid Node - ") and len(lines) > 1:
        said = lines[1].strip()
    wrapped = _WRAPPED.match(said)
    if wrapped is not None:
        said = wrapped["text"]
    return _TRAILING.sub("", _INTERNAL.sub("", said)).strip()


def parser_failure(title: str, found: Sequence[ParserFinding], log: Iterable[str]) -> CompileError:
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
    findings = [_node_finding(title, item) for item in nodes[:_AT_MOST]]
    if len(nodes) > _AT_MOST:
        rest = len(nodes) - _AT_MOST
        findings.append(Diagnostic("RD627", f"{title} refuses {rest} more nodes"))
    return CompileError(findings)


def _node_finding(title: str, item: ParserFinding) -> Diagnostic:
    where = f"`{item.node}`" if item.node else f"node number {item.number}"
    if item.code == "UNSUPPORTED_NODE" or "Plugin not found" in item.text:
        return Diagnostic(
            "RD627",
            f"{title} has no operation `{item.operator}`, which {where} is",
            hint="use another operation there, or run the ONNX file with ONNX Runtime",
        )
    return Diagnostic("RD627", f"{title} refuses {where} ({item.operator})", why=clean(item.text))


def build_failure(title: str, log: Iterable[str]) -> CompileError:
    """The builder returned nothing: RD628 with the first real error in the log."""
    lines = list(log)
    said = first_error(lines)
    if said is None and lines:
        return CompileError(
            Diagnostic(
                "RD621",
                f"{title} finds no NVIDIA driver that it can use",
                why=clean(lines[0]),
                hint="build on the machine that has the GPU",
            )
        )
    return CompileError(
        Diagnostic("RD628", f"{title} cannot build an engine from this graph", why=said)
    )
