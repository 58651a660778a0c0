"""Build engines in child processes, and put them in place only when they are whole.

A wrong call can end the interpreter that makes it, so TensorRT is never loaded here. A child writes to a path that
nobody reads; the parent checks what is there, and `artifacts` moves it into place, with the others or not at all.
"""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter

from resnet_dsl.artifacts import Artifacts
from resnet_dsl.backends.tensorrt.answers import report_of
from resnet_dsl.backends.tensorrt.child import WORKER, Progress, run_worker
from resnet_dsl.backends.tensorrt.header import read_header, unreadable
from resnet_dsl.backends.tensorrt.messages import Request, Result
from resnet_dsl.backends.tensorrt.options import EngineOptions, Resolved, resolve
from resnet_dsl.backends.tensorrt.report import EngineReport
from resnet_dsl.errors import CompileError, Diagnostic

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def build_engine(
    onnx_path: Path,
    engine_path: Path,
    options: EngineOptions | None = None,
    *,
    blocks: Mapping[str, str] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    worker: Sequence[str] = WORKER,
) -> EngineReport:
    """One engine at `engine_path` for all targets; the rest is as in `build_engines`."""
    resolved = resolve(options if options is not None else EngineOptions())
    part = _Part(engine_path.name, resolved.targets, 1, 1)
    (report,) = _built(
        onnx_path, engine_path.parent, [part], resolved, blocks or {}, on_progress, worker
    )
    return report


def build_engines(
    onnx_path: Path,
    stem: Path,
    options: EngineOptions | None = None,
    *,
    blocks: Mapping[str, str] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    worker: Sequence[str] = WORKER,
    artifacts: Artifacts | None = None,
) -> list[EngineReport]:
    """Engines for all targets, from an ONNX file that is in its precision already; the newest targets' first.

    Targets share an engine where they can (`products.engine_groups`). That of the newest is `<stem>.engine`, the others
    name theirs, as `<stem>.sm75.engine` does. `blocks` names the spec's block of each ONNX node, for errors; `worker`
    is the command of the child process. Whatever happens, there is what there was before, or every engine, whole; with
    `artifacts`, of the same folder, they appear together with its other files.

    Raises CompileError: RD001 for an ONNX file that cannot be read, RD620 to RD625, RD638 and RD639 for options that
    cannot be met (see `options.resolve`), RD626 and RD627 for an ONNX file or a node in it that TensorRT refuses,
    RD604 and RD628 for a build that fails, RD629 for a builder that crashes, RD630 for one that takes too long,
    RD601 to RD603 where nothing can be written.
    """
    resolved = resolve(options if options is not None else EngineOptions())
    groups = resolved.groups
    parts = [
        _Part(engine_name(stem.name, group, groups), group, index, len(groups))
        for index, group in enumerate(groups, 1)
    ]
    # The oldest first, for which most can be refused.
    reports = _built(
        onnx_path, stem.parent, parts, resolved, blocks or {}, on_progress, worker, artifacts
    )
    return reports[::-1]


def engine_name(stem: str, group: Sequence[int], groups: Sequence[Sequence[int]]) -> str:
    """The file of one group's engine: that of the newest has the plain name."""
    if group == groups[-1]:
        return f"{stem}.engine"
    return f"{stem}.{'-'.join(f'sm{target}' for target in group)}.engine"


@dataclass(frozen=True, slots=True)
class _Part:
    """One engine of several: its file, its targets, and its number."""

    name: str
    targets: tuple[int, ...]
    number: int
    count: int


def _built(
    onnx_path: Path,
    folder: Path,
    parts: Sequence[_Part],
    resolved: Resolved,
    blocks: Mapping[str, str],
    on_progress: Callable[[Progress], None] | None,
    worker: Sequence[str],
    given: Artifacts | None = None,
) -> list[EngineReport]:
    _check_readable(onnx_path)
    title = resolved.product.title
    reports: list[EngineReport] = []
    with (
        Artifacts(folder) if given is None else nullcontext(given) as artifacts,
        ThreadPoolExecutor(1) as meanwhile,
    ):
        digest = meanwhile.submit(_sha256, onnx_path)
        for part in parts:
            with artifacts.binary(part.name) as file:
                output = Path(file.name)
                start = perf_counter()
                try:
                    answer = run_worker(
                        _request(onnx_path, output, part, resolved, blocks),
                        title=title,
                        timeout_s=resolved.timeout_s,
                        on_progress=_numbered(part, on_progress),
                        worker=worker,
                    )
                except OSError as error:
                    raise _unwritable(folder / part.name, error) from error
                _check_written(output, answer.result, resolved)
            seconds = perf_counter() - start
            path = folder / part.name
            reports.append(report_of(path, resolved, answer, seconds, digest.result()))
    return reports


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _numbered(
    part: _Part, on_progress: Callable[[Progress], None] | None
) -> Callable[[Progress], None] | None:
    """Progress of one engine of several."""
    if on_progress is None or part.count == 1:
        return on_progress
    return lambda progress: on_progress(replace(progress, engine=part.number, engines=part.count))


def _request(
    onnx_path: Path,
    output: Path,
    part: _Part,
    resolved: Resolved,
    blocks: Mapping[str, str],
) -> Request:
    cache = resolved.timing_cache
    return Request(
        product=resolved.product.key,
        onnx=str(onnx_path.absolute()),
        output=str(output.absolute()),
        targets=part.targets,
        precision=resolved.precision,
        profiles=resolved.profiles,
        workspace_mib=resolved.workspace_mib,
        rest=resolved.rest,
        hardware=resolved.hardware,
        version_compatible=resolved.version_compatible,
        exclude_lean_runtime=resolved.exclude_lean_runtime,
        timing_cache=None if cache is None else str(cache.absolute()),
        refit=resolved.refit,
        strip=resolved.strip,
        blocks=dict(blocks),
    )


def _check_readable(path: Path) -> None:
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise OSError(errno.EINVAL, "it is a device or a pipe, and no file")
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


def _unwritable(path: Path, error: OSError) -> OSError | CompileError:
    """A full disk is told by `artifacts`, everything else here."""
    if error.errno in _FULL:
        return error
    return CompileError(
        Diagnostic(
            "RD602",
            f"`{path}` cannot be written",
            why=(error.strerror or str(error)).lower(),
            hint="choose another folder with --out DIR",
        )
    )
