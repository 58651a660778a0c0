"""Build an engine in a child process, and put it in place only when it is whole.

A wrong call can end the interpreter that makes it, so TensorRT is never loaded here. The child writes to a path that
nobody reads; the parent checks what is there and renames it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from resnet_dsl.artifacts import part_of, sweep
from resnet_dsl.backends.tensorrt.child import WORKER, Answer, Progress, run_worker
from resnet_dsl.backends.tensorrt.failures import NO_DRIVER
from resnet_dsl.backends.tensorrt.header import read_header, unreadable
from resnet_dsl.backends.tensorrt.kernels import read_bytes, read_kernels
from resnet_dsl.backends.tensorrt.messages import Request, Result
from resnet_dsl.backends.tensorrt.options import EngineOptions, Resolved, resolve
from resnet_dsl.backends.tensorrt.report import NOT_EXECUTED, EngineReport
from resnet_dsl.errors import CompileError, Diagnostic


def build_engine(
    onnx_path: Path,
    engine_path: Path,
    options: EngineOptions | None = None,
    *,
    on_progress: Callable[[Progress], None] | None = None,
    worker: Sequence[str] = WORKER,
) -> EngineReport:
    """An engine at `engine_path` from an ONNX file that is in its precision already; folders are made.

    `worker` is the command of the child process. Whatever happens, `engine_path` holds what it held before, or the
    whole new engine.

    Raises CompileError: RD001 for an ONNX file that cannot be read, RD620 to RD625 for options that cannot be met
    (see `options.resolve`), RD626 and RD627 for an ONNX file or a node in it that TensorRT refuses, RD628 for a build
    that fails, RD629 for a builder that crashes, RD630 for one that takes too long, RD632 where nothing can be written.
    """
    resolved = resolve(options if options is not None else EngineOptions())
    _check_readable(onnx_path)
    try:
        engine_path.parent.mkdir(parents=True, exist_ok=True)
        if engine_path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        sweep(engine_path)
    except OSError as error:
        raise _unwritable(engine_path, error) from error
    output = part_of(engine_path)
    try:
        try:
            output.touch()
        except OSError as error:
            raise _unwritable(engine_path, error) from error
        start = time.perf_counter()
        answer = run_worker(
            _request(onnx_path, output, resolved),
            title=resolved.product.title,
            timeout_s=resolved.timeout_s,
            on_progress=on_progress,
            worker=worker,
        )
        seconds = time.perf_counter() - start
        _check_written(output, answer.result, resolved)
        try:
            output.replace(engine_path)
        except OSError as error:
            raise _unwritable(engine_path, error) from error
    finally:
        output.unlink(missing_ok=True)
    return _report(engine_path, resolved, answer, seconds)


def _request(onnx_path: Path, output: Path, resolved: Resolved) -> Request:
    return Request(
        product=resolved.product.key,
        onnx=str(onnx_path.absolute()),
        output=str(output.absolute()),
        targets=resolved.targets,
        precision=resolved.precision,
        profiles=resolved.profiles,
        workspace_mib=resolved.workspace_mib,
    )


def _check_readable(path: Path) -> None:
    try:
        with path.open("rb") as file:
            start = file.read(1)
    except OSError as error:
        raise unreadable(path, error) from error
    if not start:
        raise CompileError(
            Diagnostic(
                "RD626",
                f"{path} is empty",
                hint="write it again with `resnet-dsl build SPEC --target onnx`",
            )
        )


def _check_written(output: Path, result: Result, resolved: Resolved) -> None:
    """Raises CompileError: RD631 where the child's file is no whole engine, RD628 where it is another product's."""
    found = read_header(output)
    if found.product is not resolved.product or found.size != result.size:
        raise CompileError(
            Diagnostic(
                "RD628",
                "the builder wrote another file than it says",
                why=f"{result.size:,} bytes of {resolved.product.title} were announced, and there are "
                f"{found.size:,} of {found.product.title}",
            )
        )


def _unwritable(path: Path, error: OSError) -> CompileError:
    return CompileError(Diagnostic("RD632", f"{path} cannot be written: {error.strerror or error}"))


def _report(engine_path: Path, resolved: Resolved, answer: Answer, seconds: float) -> EngineReport:
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
    )


def _notes(resolved: Resolved, answer: Answer) -> Iterator[str]:
    if answer.result.precision == "int8" and resolved.product.ahead_of_time:
        yield (
            f"{resolved.product.title} leaves separate kernels that only requantise, so int8 may be slower than fp16: "
            "measure both"
        )
    for line in answer.log:
        if line.severity == "WARNING" and NO_DRIVER not in line.text:
            yield line.text.splitlines()[0]
    yield NOT_EXECUTED
