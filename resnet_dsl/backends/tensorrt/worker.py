"""The child process that builds one engine: `python -m resnet_dsl.backends.tensorrt.worker`.

A request (`messages.Request`, JSON) comes on standard input; JSON lines go back on standard output, one event each:

    {"event": "stage", "name": "build"}                        {"event": "progress", "fraction": 0.4}
    {"event": "log", "severity": "INFO", "text": "…"}          {"event": "error", "diagnostics": […]}
    {"event": "done", "result": {…}}

Nothing is imported here but the standard library and TensorRT, so that the child starts at once. The module is only
run: the parent (`builder`) imports none of it.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from resnet_dsl.backends.tensorrt import failures, network, products, profiles
from resnet_dsl.backends.tensorrt.messages import Request, Result, error_to_json
from resnet_dsl.backends.tensorrt.options import not_installed
from resnet_dsl.backends.tensorrt.products import Product
from resnet_dsl.errors import CompileError, Diagnostic


class Channel:
    """Standard output, kept for events: what libraries print goes to standard error from here on."""

    def __init__(self, output: str) -> None:
        self._descriptor = os.dup(1)
        os.dup2(2, 1)
        self._output = Path(output)

    def send(self, event: str, **fields: Any) -> None:
        """One event, unbuffered: of a crash, the last lines are what matters."""
        line = json.dumps({"event": event, **fields}) + "\n"
        try:
            view = memoryview(line.encode("ascii"))
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:  # the parent is gone, and nobody wants the engine
            self._output.unlink(missing_ok=True)
            os._exit(1)


class Stages:
    """Which stage the build is in, told to the parent, and how long each took."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        self._channel.send("stage", name=name)
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


def main() -> None:
    """Build what standard input asks for. Anything but a CompileError ends the process with a traceback, which the
    parent reports as a builder that crashed."""
    request = Request.from_json(sys.stdin.read())
    channel = Channel(request.output)
    try:
        result = _build(request, channel)
    except CompileError as error:
        channel.send("error", diagnostics=error_to_json(error))
    else:
        channel.send("done", result=asdict(result))


def _build(request: Request, channel: Channel) -> Result:
    product = products.product(request.product)
    stages = Stages(channel)
    with stages.stage("load"):
        trt = _load(product)
        targets = network.targets_for(product, request.targets)
        log = _logger(trt, channel)
        builder = _builder(trt, product, log)
    with stages.stage("parse"):
        flag = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        definition = builder.create_network(flag)
        parser = trt.OnnxParser(definition, log)
        if not parser.parse_from_file(request.onnx):
            errors = [_parser_finding(parser.get_error(i)) for i in range(parser.num_errors)]
            raise failures.parser_failure(product.title, errors, log.errors)
        network.check_not_empty(definition, request.onnx)
        precision = network.precision_of(definition, request.precision)
        products.check_precision(precision, targets)
        network.check_turing(trt, product, definition, targets)
        ranges = profiles.profiles_for(definition, request.profiles)
    with stages.stage("build"):
        config = builder.create_builder_config()
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        config.progress_monitor = _monitor(trt, channel)
        # TF32 is on unless it is switched off, and fp32 must mean fp32.
        (config.set_flag if precision == "tf32" else config.clear_flag)(trt.BuilderFlag.TF32)
        if request.workspace_mib is not None:
            pool = trt.MemoryPoolType.WORKSPACE
            config.set_memory_pool_limit(pool, request.workspace_mib << 20)
        if product.ahead_of_time:
            network.set_targets(trt, product, config, targets)
        for profile in ranges:
            profiles.add_profile(builder, config, definition, profile)
        plan = builder.build_serialized_network(definition, config)
        if plan is None:
            raise failures.build_failure(product.title, log.errors)
    with stages.stage("write"):
        engine = memoryview(plan)
        _write(Path(request.output), engine)
        digest = hashlib.sha256(engine).hexdigest()
    return Result(
        version=str(trt.__version__),
        precision=precision,
        targets=targets,
        profiles=ranges,
        inputs=network.tensors(definition.get_input, definition.num_inputs),
        outputs=network.tensors(definition.get_output, definition.num_outputs),
        seconds=stages.seconds,
        size=engine.nbytes,
        sha256=digest,
        peak_memory=_peak_memory(),
    )


def _load(product: Product) -> Any:
    """The product's module. Raises CompileError (RD620) where the loader or a placeholder package refuses."""
    try:
        return import_module(product.module)
    except Exception as error:  # a placeholder package may raise anything
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CompileError(not_installed(product, why)) from error


def _builder(trt: Any, product: Product, log: Any) -> Any:
    try:
        return trt.Builder(log)
    except TypeError as error:  # the binding's word for a null pointer
        why = failures.first_error(log.errors) or (log.errors[0] if log.errors else str(error))
        raise CompileError(
            Diagnostic("RD628", f"{product.title} cannot start its builder", why=why)
        ) from error


def _logger(trt: Any, channel: Channel) -> Any:
    """A logger that passes every line on, and keeps the errors."""

    class Log(trt.ILogger):  # type: ignore[misc]  # TensorRT has no stubs
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, text: str) -> None:
            if severity.name in ("ERROR", "INTERNAL_ERROR"):
                self.errors.append(text)
            channel.send("log", severity=severity.name, text=text)

    return Log()


def _monitor(trt: Any, channel: Channel) -> Any:
    """Progress as one fraction. Phases nest: a phase's step is as far as the phases inside it are."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # TensorRT has no stubs
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases: dict[str, tuple[int, int]] = {}
            self.sent = 0.0

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:
            self.phases[name] = (0, steps)

        def phase_finish(self, name: str) -> None:
            self.phases.pop(name, None)

        def step_complete(self, name: str, step: int) -> bool:
            if name in self.phases:
                self.phases[name] = (step + 1, self.phases[name][1])
            fraction = 0.0
            for done, steps in reversed(self.phases.values()):
                fraction = min(1.0, (done + fraction) / max(1, steps))
            if fraction >= self.sent + 0.01:
                self.sent = fraction
                channel.send("progress", fraction=round(fraction, 3))
            return True  # go on

    return Monitor()


def _parser_finding(error: Any) -> failures.ParserFinding:
    return failures.ParserFinding(
        code=error.code().name,
        node=error.node_name(),
        operator=error.node_operator(),
        number=error.node(),
        text=error.desc(),
    )


def _write(path: Path, engine: memoryview) -> None:
    try:
        path.write_bytes(engine)
    except OSError as error:
        raise CompileError(
            Diagnostic(
                "RD632",
                f"the engine ({engine.nbytes:,} bytes) cannot be written to {path.parent}",
                why=error.strerror or str(error),
            )
        ) from error


def _peak_memory() -> int | None:
    """The most memory that this process held, in bytes; None where the system does not say."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
