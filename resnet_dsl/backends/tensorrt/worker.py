"""The child process that builds one engine: `python -m resnet_dsl.backends.tensorrt.worker`.

A request (`messages.Request`, one line of JSON) comes on standard input, which ends when the parent does; JSON lines go
back on standard output, one event each:

    {"event": "stage", "name": "build"}                        {"event": "progress", "fraction": 0.4}
    {"event": "log", "severity": "INFO", "text": "…"}          {"event": "error", "diagnostics": […]}
    {"event": "unwritten", "errno": 28, "text": "…"}           {"event": "done", "result": {…}}

Nothing is imported here but the standard library and TensorRT, so that the child starts at once. The module is only
run: the parent (`builder`) imports none of it.
"""

from __future__ import annotations

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from resnet_dsl.backends.tensorrt import failures, network, products, profiles
from resnet_dsl.backends.tensorrt.configuration import choose_gpu, configure
from resnet_dsl.backends.tensorrt.messages import Request, Result, error_to_json
from resnet_dsl.backends.tensorrt.options import not_installed, too_old
from resnet_dsl.backends.tensorrt.precisions import check_precisions
from resnet_dsl.backends.tensorrt.products import Product
from resnet_dsl.backends.tensorrt.telling import Channel, Stages, logger, monitor
from resnet_dsl.backends.tensorrt.timing_cache import TimingCache
from resnet_dsl.errors import CompileError


def main() -> None:
    """Build what standard input asks for. Anything but a CompileError, or a file that cannot be written, ends the
    process with a traceback, which the parent reports as a builder that crashed."""
    request = Request.from_json(sys.stdin.readline())
    channel = Channel(request.output)
    channel.end_with_parent()
    product = products.product(request.product)
    try:
        result = _build(product, request, channel)
    except CompileError as error:
        channel.send("error", diagnostics=error_to_json(error))
    except MemoryError:
        finding = failures.out_of_memory(product.title, None)
        channel.send("error", diagnostics=error_to_json(finding))
    else:
        if result is not None:
            channel.send("done", result=asdict(result))


def _build(product: Product, request: Request, channel: Channel) -> Result | None:
    """The engine, in its file; None where that cannot be written, which the parent has been told."""
    stages = Stages(channel)
    with stages.stage("load"):
        trt = _load(product)
        targets, gpu = choose_gpu(product, request)
        log = logger(trt, channel)
        builder = _builder(trt, product, log)
    with stages.stage("parse"):
        definition = _parsed(trt, product, builder, request, log)
        precision, rest = network.precision_of(definition, request.precision, request.rest)
        check_precisions([precision, *(rest.split(", ") if rest else ())], targets)
        network.check_turing(trt, product, definition, targets)
        ranges = profiles.profiles_for(definition, request.profiles)
    with stages.stage("build"):
        config = builder.create_builder_config()
        config.progress_monitor = monitor(trt, channel)
        configure(trt, product, config, request, precision, targets)
        cache = TimingCache(config, Path(request.timing_cache)) if request.timing_cache else None
        for profile in ranges:
            profiles.add_profile(builder, config, definition, profile)
        plan = builder.build_serialized_network(definition, config)
        if plan is None:
            raise failures.build_failure(
                product.title, log.errors, request.blocks, request.workspace_mib
            )
    if cache is not None:
        cache.save()
        for note in cache.notes:
            channel.send("log", severity="WARNING", text=note)
    with stages.stage("write"):
        engine = memoryview(plan)
        digest = _write(Path(request.output), engine, channel)
    if digest is None:
        return None
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
        rest=rest,
        gpu=None if gpu is None else gpu.name,
    )


def _load(product: Product) -> Any:
    """The product's module. Raises CompileError: RD620 where the loader or a placeholder package refuses, RD639 where
    the release is too old."""
    try:
        trt = import_module(product.module)
    except Exception as error:  # a placeholder package may raise anything
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CompileError(not_installed(product, why)) from error
    if finding := too_old(product, str(getattr(trt, "__version__", ""))):
        raise CompileError(finding)
    return trt


def _builder(trt: Any, product: Product, log: Any) -> Any:
    try:
        return trt.Builder(log)
    except TypeError as error:  # the binding's word for a null pointer
        said = [*log.errors, str(error)]
        raise failures.no_builder(product.title, str(trt.__version__), said) from error


def _parsed(trt: Any, product: Product, builder: Any, request: Request, log: Any) -> Any:
    """The network of the ONNX file. Raises CompileError: RD626 for the file, RD627 for nodes in it."""
    definition = builder.create_network(_strongly_typed(trt))
    parser = trt.OnnxParser(definition, log)
    if not parser.parse_from_file(request.onnx):
        errors = [_parser_finding(parser.get_error(i)) for i in range(parser.num_errors)]
        raise failures.parser_failure(product.title, errors, log.errors, request.blocks)
    network.check_not_empty(definition, request.onnx)
    return definition


def _strongly_typed(trt: Any) -> int:
    """The flag of a network whose types stand in the graph. Every network is one from release 11 on, where the flag is
    accepted as long as it is there; its value differs from release to release."""
    flag = trt.NetworkDefinitionCreationFlag.__members__.get("STRONGLY_TYPED")
    return 0 if flag is None else 1 << int(flag)


def _parser_finding(error: Any) -> failures.ParserFinding:
    return failures.ParserFinding(
        code=error.code().name,
        node=error.node_name(),
        operator=error.node_operator(),
        number=error.node(),
        text=error.desc(),
    )


def _write(path: Path, engine: memoryview, channel: Channel) -> str | None:
    """Write the engine, and hash it meanwhile; None where it cannot be written, which the parent is told."""
    with ThreadPoolExecutor(1) as other:
        digest = other.submit(lambda: hashlib.sha256(engine).hexdigest())
        try:
            path.write_bytes(engine)
        except OSError as error:
            channel.send("unwritten", errno=error.errno or 0, text=error.strerror or str(error))
            return None
        return digest.result()


def _peak_memory() -> int | None:
    """The most memory that this process held, in bytes; None where the system does not say."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
