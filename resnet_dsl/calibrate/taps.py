"""An ONNX file whose inner values can be seen: ONNX Runtime gives them as outputs beside its own.

The files are those of users too: of any producer, in float16 or with quantised values, with their weights in files
beside them. What a file says of its external data is ONNX Runtime's to check: it opens nothing outside the folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from resnet_dsl.errors import CompileError, Diagnostic, suggest

Values: TypeAlias = dict[str, NDArray[Any]]

_FLOATS: dict[str, type[np.floating[Any]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}
_NO_ARRAYS = ("bfloat16", "float8", "float4", "int4", "int2")  # of which NumPy has no type
_EXTERNAL = "session.model_external_initializers_file_folder_path"


class TappedSession:
    """An ONNX file in ONNX Runtime on the CPU, whose `names` (its input, its inner values, its outputs) can be had.

    `names`: None is every floating-point value. `threads`: None is as many as there are cores. With `optimise`, ONNX
    Runtime fuses what no tap keeps apart, which is faster, and may differ in the last digits.
    Raises CompileError RD681 where the file cannot be read, takes other than images, or has no such values.
    """

    def __init__(
        self,
        model: Path,
        names: Sequence[str] | None = None,
        threads: int | None = None,
        *,
        optimise: bool = False,
    ) -> None:
        self.path = model
        content, inner = _tapped(model, names)
        self._session = _session(model, content, threads, optimise)
        del content
        images = _image_input(model, self._session.get_inputs())
        self.input: str = images.name
        self.dtype = _FLOATS[images.type]
        self.batch: int | None = images.shape[0] if isinstance(images.shape[0], int) else None
        self._types = {item.name: item.type for item in self._session.get_outputs()}
        self._shapes = {item.name: item.shape for item in (images, *self._session.get_outputs())}
        if names is None:
            floats = [name for name in inner if self._types[name] in _FLOATS]
            self.names: tuple[str, ...] = (self.input, *floats)
        else:
            self.names = tuple(dict.fromkeys(names))
            self._check_known(inner)

    def run(self, images: NDArray[Any]) -> Values:
        """The values that images (N, C, H, W) give, each in the type that the file computes it in. A fixed batch is
        filled up, and run as often as it takes. Raises CompileError RD681 where ONNX Runtime fails."""
        images = np.ascontiguousarray(images, self.dtype)
        step = self.batch or len(images)
        parts = [self._run(images[start : start + step]) for start in range(0, len(images), step)]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.names}

    def bytes_of_an_image(self) -> dict[str, int | None]:
        """How much memory each value takes for one image; None where the file does not say its shape."""
        found: dict[str, int | None] = {}
        for name in self.names:
            shape = self._shapes[name][1:]
            known = all(isinstance(size, int) for size in shape)
            found[name] = int(np.prod(shape, dtype=np.int64)) * 4 if known else None
        return found

    def _run(self, images: NDArray[Any]) -> Values:
        count, fetched = len(images), [name for name in self.names if name != self.input]
        fed = images
        if self.batch is not None and count < self.batch:
            fed = np.concatenate(
                [images, np.zeros((self.batch - count, *images.shape[1:]), self.dtype)]
            )
        try:
            found = self._session.run(fetched, {self.input: fed}) if fetched else []
        except Exception as error:  # ONNX Runtime's have no common class
            raise _failed(self.path, "cannot be run", error) from error
        values: Values = dict(zip(fetched, found, strict=True))
        if len(fed) > count:
            for name, value in values.items():
                if value.ndim and len(value) == len(fed):
                    values[name] = value[:count]
        if self.input in self.names:
            values[self.input] = images
        return {name: values[name] for name in self.names}

    def _check_known(self, inner: Iterable[str]) -> None:
        """Raises CompileError RD681 for names that are no values, or of a type that NumPy has not got."""
        for name in self.names:
            kind = self._types.get(name, "")
            if name != self.input and not kind:
                raise _refused(
                    f"`{self.path}` has no value `{name[:200]}`",
                    "values are the results of its nodes",
                    suggest(name, inner) or "name one of them, as its nodes do",
                )
            if any(word in kind for word in _NO_ARRAYS):
                raise _refused(
                    f"`{name}` of `{self.path}` is a {kind}",
                    "NumPy has no such type, in which it could be seen",
                    "name the value before or after it",
                )


def digest_of(path: Path) -> str:
    """SHA-256 of an ONNX file and of the files beside it that hold its weights. Raises CompileError RD681."""
    found = sha256()
    beside = {
        entry.value
        for tensor in _read(path).graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    for file in (path, *(path.parent / name for name in sorted(beside))):
        if not file.resolve().is_relative_to(path.parent.resolve()) and file != path:
            raise _refused(
                f"`{path}` has weights outside of its folder",
                f"it names `{file}`",
                "put the files into one folder",
            )
        try:
            with file.open("rb") as stream:
                found.update(file_digest(stream, "sha256").digest())
        except OSError as error:
            raise _unreadable(file, error) from error
    return found.hexdigest()


def _read(path: Path) -> onnx.ModelProto:
    """The model without the weights that are in files beside it."""
    try:
        return onnx.load(path, load_external_data=False)
    except OSError as error:
        raise _unreadable(path, error) from error
    except Exception as error:  # what damaged files raise has no common class
        raise _failed(path, "is no ONNX file", error) from error


def _tapped(path: Path, names: Sequence[str] | None) -> tuple[bytes, tuple[str, ...]]:
    """The model with `names` (None: every result of a node) as outputs, and the names of all results."""
    model = _read(path)
    graph = model.graph
    inner = tuple(dict.fromkeys(name for node in graph.node for name in node.output if name))
    if not inner:
        raise _refused(f"`{path}` holds no graph", "it has no nodes", "give a whole ONNX file")
    wanted = (
        inner if names is None else [name for name in dict.fromkeys(names) if name in set(inner)]
    )
    given = {item.name for item in graph.output}
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in wanted if name not in given)
    try:
        return model.SerializeToString(), inner
    except Exception as error:  # above 2 GiB; protobuf's errors have no common class
        raise _failed(path, "is too large to be changed", error) from error


def _session(path: Path, content: bytes, threads: int | None, optimise: bool) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what else it has to say is for its own developers
    options.intra_op_num_threads = threads or 0
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    options.add_session_config_entry(_EXTERNAL, str(path.resolve().parent))
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's have no common class
        raise _failed(path, "cannot be run", error) from error


def _image_input(path: Path, inputs: Sequence[Any]) -> Any:
    """The input, if it takes images."""
    if len(inputs) == 1 and len(inputs[0].shape) == 4 and inputs[0].type in _FLOATS:
        return inputs[0]
    told = ", ".join(f"`{item.name}`, a {item.type} of {item.shape}" for item in inputs)
    raise _refused(
        f"`{path}` takes other than images",
        f"its inputs are {told or 'none'}, and images are one tensor (N, C, H, W) of floats",
        "give the graph of an image network, as `resnet-dsl build --target onnx` writes it",
    )


def _unreadable(path: Path, error: OSError) -> CompileError:
    why = error.strerror or str(error)
    return _refused(f"`{path}` cannot be read", why, "give the path of an ONNX file")


def _failed(path: Path, what: str, error: Exception) -> CompileError:
    lines = str(error).strip().split("\n")
    return _refused(
        f"`{path}` {what}",
        lines[0][:300] or type(error).__name__,
        "check the file, or build it anew",
    )


def _refused(message: str, why: str, hint: str) -> CompileError:
    return CompileError(Diagnostic("RD681", message, why=why, hint=hint))
