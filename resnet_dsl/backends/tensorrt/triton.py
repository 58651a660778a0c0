"""A model repository for Triton: `NAME/config.pbtxt`, `NAME/labels.txt`, and the model in `NAME/1/`.

An engine of full TensorRT is served by Triton's TensorRT backend, as `model.plan`. That backend loads no plans of
TensorRT for RTX, so that of such an engine the graph that it was built from is served, by the ONNX Runtime backend.

Field names are those of Triton's model_config.proto
(https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto), parameters those of the two
backends' own pages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from resnet_dsl.backends.onnx.reader import Damaged, read_onnx
from resnet_dsl.backends.tensorrt.header import unreadable
from resnet_dsl.backends.tensorrt.manifest import Manifest
from resnet_dsl.backends.tensorrt.messages import Tensor
from resnet_dsl.backends.tensorrt.options import Profile
from resnet_dsl.backends.tensorrt.textproto import Field, Message, Word, entry
from resnet_dsl.errors import CompileError, Diagnostic

QUEUE_DELAY = 100
"""Microseconds that a request may wait for others to fill a batch: less than a network of this kind computes."""

_TYPES: Mapping[str, str] = {
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "bfloat16": "TYPE_BF16",
    "int8": "TYPE_INT8",
    "uint8": "TYPE_UINT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
    "bool": "TYPE_BOOL",
}
_TENSORRT_TWIN = """\
# Triton can build an engine of full TensorRT from this graph when it loads it, which takes minutes the first time:
# optimization { execution_accelerators { gpu_execution_accelerator: [ {
#   name: "tensorrt"
#   parameters { key: "precision_mode" value: "FP16" }
#   parameters { key: "trt_engine_cache_enable" value: "1" }
#   parameters { key: "trt_engine_cache_path" value: "/tmp" }
# } ] } }
"""


@dataclass(frozen=True, slots=True)
class TritonFiles:
    """One model of a repository: texts and files by their path below `name`."""

    name: str
    texts: Mapping[str, str]
    models: Mapping[str, Path]
    notes: tuple[str, ...]


def triton_files(
    manifest: Manifest, engine: Path, onnx: Path | None = None, name: str | None = None
) -> TritonFiles:
    """What a repository needs to serve an engine, or for one of TensorRT for RTX, its graph, `onnx`. `name` is the
    model's; None: the spec's.

    Raises CompileError: RD635 for an RTX plan without its graph, RD001 and RD633 for a graph that cannot be read.
    """
    name = name or manifest.spec.name
    served = manifest.engine.product == "tensorrt"
    texts = {"config.pbtxt": config(manifest, name)}
    labels = _labels(manifest)
    if any(_scores(item, labels) for item in manifest.engine.outputs):
        texts["labels.txt"] = "".join(f"{label}\n" for label in labels)
    if served:
        models = {"1/model.plan": engine}
    elif onnx is not None:
        models = {"1/model.onnx": onnx} | {
            f"1/{beside}": onnx.parent / beside for beside in _external(onnx)
        }
    else:
        raise CompileError(
            Diagnostic(
                "RD635",
                f"{engine} cannot be served by Triton",
                why="its TensorRT backend loads no plans of TensorRT for RTX, and the graph that this one was built "
                "from is not beside it",
                hint="`resnet-dsl compile SPEC --target tensorrt` writes both",
            )
        )
    return TritonFiles(name, texts, models, tuple(_notes(manifest)))


def config(manifest: Manifest, name: str) -> str:
    """The text of `config.pbtxt`."""
    engine = manifest.engine
    served = engine.product == "tensorrt"
    batch = manifest.batch
    fields: list[Field] = [
        ("name", name),
        ("backend", "tensorrt" if served else "onnxruntime"),
        ("max_batch_size", 0 if batch is None else batch.max),
        ("default_model_filename", "model.plan" if served else "model.onnx"),
        *(("input", _tensor(item, manifest, image=True)) for item in engine.inputs),
        *(("output", _tensor(item, manifest, image=False)) for item in engine.outputs),
        ("instance_group", _instances(manifest)),
    ]
    if batch is not None and batch.max > 1:
        fields.append(("dynamic_batching", _batching(engine.profiles)))
    if (optimization := _optimization(manifest)) is not None:
        fields.append(("optimization", optimization))
    fields.append(("model_warmup", _warmup(manifest)))
    for key, text in _said(manifest):
        fields.append(("parameters", entry(key, Message(("string_value", text)))))
    head = f"# {name}, written by resnet-dsl {manifest.resnet_dsl}.\n"
    twin = "" if served or engine.precision not in ("fp32", "tf32", "fp16") else _TENSORRT_TWIN
    return head + "".join(f"{line}\n" for line in Message(*fields).lines()) + twin


def _tensor(tensor: Tensor, manifest: Manifest, *, image: bool) -> Message:
    """ModelInput or ModelOutput: where Triton batches, `dims` are without the batch."""
    batched = manifest.batch is not None
    fields: list[Field] = [("name", tensor.name), ("data_type", _type(tensor))]
    if image and batched and len(tensor.shape) == 4:
        fields.append(("format", Word("FORMAT_NCHW")))
    fields.append(("dims", tensor.shape[1:] if batched else tensor.shape))
    if not image and _scores(tensor, _labels(manifest)):
        fields.append(("label_filename", "labels.txt"))
    return Message(*fields)


def _scores(tensor: Tensor, labels: Sequence[str]) -> bool:
    """Whether an output holds a score for each class whose name is known."""
    return bool(labels) and tensor.shape[1:] == (len(labels),)


def _type(tensor: Tensor) -> Word:
    return Word(_TYPES.get(tensor.data_type, "TYPE_FP32"))


def _instances(manifest: Manifest) -> Message:
    """One instance on each GPU; with several profiles, Triton chooses among them by the shapes of the inputs."""
    fields: list[Field] = [("count", 1), ("kind", Word("KIND_GPU"))]
    profiles = manifest.engine.profiles
    if manifest.engine.product == "tensorrt" and len(profiles) > 1:
        fields.append(("profile", tuple(str(index) for index in range(len(profiles)))))
    return Message(*fields)


def _batching(profiles: Sequence[Profile]) -> Message:
    """Batches of the sizes that the profiles were tuned for are best."""
    preferred = tuple(sorted({profile.batch.opt for profile in profiles} - {1}))
    sizes: list[Field] = [("preferred_batch_size", preferred)] if preferred else []
    return Message(*sizes, ("max_queue_delay_microseconds", QUEUE_DELAY))


def _optimization(manifest: Manifest) -> Message | None:
    """CUDA graphs for an engine. A graph in int8 needs TensorRT inside ONNX Runtime, whose own CUDA kernels would
    compute it in floats."""
    if manifest.engine.product == "tensorrt":
        graphs = [("graph_spec", item) for item in _graphs(manifest)]
        return Message(("cuda", Message(("graphs", True), ("output_copy_stream", True), *graphs)))
    if manifest.engine.precision != "int8":
        return None
    parameters = {
        "precision_mode": "INT8",
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": "/tmp",
    }
    entries = [("parameters", entry(key, value)) for key, value in parameters.items()]
    accelerator = Message(("name", "tensorrt"), *entries)
    return Message(("execution_accelerators", Message(("gpu_execution_accelerator", accelerator))))


def _graphs(manifest: Manifest) -> Iterator[Message]:
    """Which CUDA graphs are captured, where the size of images is open and Triton cannot know it: each profile's usual
    one. Elsewhere Triton captures one for each of a series of batch sizes by itself."""
    for profile in manifest.engine.profiles:
        for tensor in manifest.engine.inputs:
            if min(tensor.shape[1:], default=0) >= 0:
                continue
            shape = _usual(tensor, profile)
            batched = manifest.batch is not None
            dims = Message(("dim", shape[1:] if batched else shape))
            size = shape[0] if batched else 0
            yield Message(("batch_size", size), ("input", entry(tensor.name, dims)))


def _warmup(manifest: Manifest) -> Message:
    """A request of zeros, of the usual size, before the first real one: kernels are loaded and memory is taken."""
    profile = next(iter(manifest.engine.profiles), None)
    batch = manifest.batch
    fields: list[Field] = [("name", "zeros"), ("batch_size", 1 if batch is None else batch.opt)]
    for tensor in manifest.engine.inputs:
        shape = _usual(tensor, profile)
        dims = shape if batch is None else shape[1:]
        zeros = Message(("data_type", _type(tensor)), ("dims", dims), ("zero_data", True))
        fields.append(("inputs", entry(tensor.name, zeros)))
    return Message(*fields)


def _usual(tensor: Tensor, profile: Profile | None) -> tuple[int, ...]:
    """The shape that a profile was tuned for, where one is open."""
    if profile is None:
        return tensor.shape
    ranges = {0: profile.batch, 2: profile.height, 3: profile.width}
    found = []
    for axis, extent in enumerate(tensor.shape):
        chosen = ranges.get(axis)
        found.append(chosen.opt if extent < 0 and chosen is not None else max(extent, 1))
    return tuple(found)


def _said(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """What a server can tell its clients of a model: how images are prepared, and what it was made of."""
    yield "precision", manifest.engine.precision
    if manifest.preprocessing is not None:
        yield "preprocessing", json.dumps(manifest.preprocessing)
    yield "spec_sha256", manifest.spec.sha256
    yield "weights_sha256", manifest.weights.sha256
    if manifest.engine.product == "tensorrt":
        yield "engine_sha256", manifest.engine.sha256
        yield "tensorrt_version", manifest.engine.version


def _labels(manifest: Manifest) -> tuple[str, ...]:
    """The classes' names, one a line, so that none may have lines of its own."""
    return tuple(" ".join(name.split()) for name in manifest.class_names or ())


def _notes(manifest: Manifest) -> Iterator[str]:
    engine = manifest.engine
    if engine.product != "tensorrt":
        yield (
            "Triton's TensorRT backend loads no plans of TensorRT for RTX, so the repository has the ONNX graph, for "
            "its ONNX Runtime backend"
        )
    elif engine.compatibility.version:
        yield "start the server with --backend-config=tensorrt,version-compatible=true for another version"
    if engine.product != "tensorrt" and engine.precision in ("bf16", "fp8"):
        yield f"ONNX Runtime has few kernels for {engine.precision}: serve an fp16 graph if it refuses this one"
    if manifest.batch is not None and manifest.batch.min > 1:
        yield f"requests of fewer than {manifest.batch.min} images are refused: no profile takes them"


def _external(onnx: Path) -> list[str]:
    """The files that a graph has its weights in. They keep their names, by which the graph refers to them."""
    try:
        found = list(read_onnx(onnx).external)
    except OSError as error:
        raise unreadable(onnx, error) from error
    except Damaged as error:
        hint = "write it again: `resnet-dsl build SPEC --target onnx`"
        raise CompileError(
            Diagnostic("RD633", f"{onnx} is no whole ONNX file", why=str(error), hint=hint)
        ) from error
    for name in found:
        if (
            Path(name).name != name
            or name in ("model.onnx", "..")
            or not (onnx.parent / name).is_file()
        ):
            raise CompileError(
                Diagnostic(
                    "RD633",
                    f"{onnx} has weights in `{name[:80]}`, which is not beside it",
                    hint="copy both files together, or write them again: `resnet-dsl build SPEC --target onnx`",
                )
            )
    return found
