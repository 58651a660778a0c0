"""What the child's answer, its log included, says of the engine that it has built."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from resnet_dsl.backends.tensorrt.child import Answer
from resnet_dsl.backends.tensorrt.failures import NO_DRIVER
from resnet_dsl.backends.tensorrt.kernels import read_bytes, read_kernels
from resnet_dsl.backends.tensorrt.options import Resolved
from resnet_dsl.backends.tensorrt.report import NOT_EXECUTED, EngineReport


def report_of(
    engine_path: Path, resolved: Resolved, answer: Answer, seconds: float, onnx_sha256: str
) -> EngineReport:
    """The report on an engine that a child has built; `seconds` is what that took, the child's start included."""
    result = answer.result
    texts = [line.text for line in answer.log]
    return EngineReport(
        engine=engine_path,
        product=resolved.product.key,
        version=result.version,
        precision=result.precision,
        targets=result.targets,
        profiles=result.profiles,
        inputs=result.inputs,
        outputs=result.outputs,
        size=result.size,
        sha256=result.sha256,
        seconds=seconds,
        stages=result.seconds,
        peak_memory=result.peak_memory,
        kernels=read_kernels(texts),
        weight_memory=read_bytes(texts, "Total Weights Memory"),
        scratch_memory=read_bytes(texts, "Total Activation Memory"),
        notes=tuple(_notes(resolved, answer)),
        log=answer.log,
        rest=result.rest,
        gpu=result.gpu,
        hardware=resolved.hardware,
        version_compatible=resolved.version_compatible,
        refit=resolved.refit,
        stripped=resolved.strip,
        onnx_sha256=onnx_sha256,
    )


def _notes(resolved: Resolved, answer: Answer) -> Iterator[str]:
    if answer.result.precision == "int8" and resolved.product.ahead_of_time:
        yield (
            f"{resolved.product.title} leaves separate kernels that only requantise, so int8 may be slower than fp16: "
            "measure both"
        )
    if resolved.hardware is not None or resolved.version_compatible:
        yield "an engine that runs elsewhere too may be slower than one for this GPU and release alone: measure both"
    if resolved.strip:
        yield "the engine holds no weights: they must be put into it, from the same ONNX file, before it can run"
    warnings = Counter(
        line.text.splitlines()[0].strip()
        for line in answer.log
        if line.severity == "WARNING" and NO_DRIVER not in line.text and line.text.strip()
    )
    for text, times in warnings.items():
        said = f"{resolved.product.title} warns: {text}"
        yield f"{said} ({times} times)" if times > 1 else said
    yield NOT_EXECUTED
