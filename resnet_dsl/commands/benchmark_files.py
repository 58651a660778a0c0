"""What backends read of a network that is measured: source, weights, graphs and engines, in a passing folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_dsl.artifacts import Artifacts
from resnet_dsl.backends.tensorrt.device import local_gpus
from resnet_dsl.bench.candidates import TORCHVISION, Candidate, Precision
from resnet_dsl.bench.messages import Device, Load
from resnet_dsl.calibrate.wish import Wish
from resnet_dsl.compiler import Compilation, torch_source
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.passes.numbers import Numbers

if TYPE_CHECKING:
    from resnet_dsl.weights.store import Weights

CALIBRATION_IMAGES = 64
NOISE_IMAGES = 8


class Files:
    """Each file is made when the first backend asks for it. `file` is what the weights were loaded from; None: they are
    drawn from a seed."""

    def __init__(
        self,
        folder: Path,
        compilation: Compilation,
        weights: Weights,
        file: Path | None,
        device: Device,
        threads: int,
        batches: Sequence[int],
    ) -> None:
        self.notes: list[tuple[str, str]] = []
        self._folder, self._name = folder, compilation.spec.name
        self._compilation, self._weights, self._file = compilation, weights, file
        self._device, self._threads, self._batches = device, threads, batches

    def load(self, candidate: Candidate) -> Load:
        """The request that loads a candidate, whose files are there. Raises CompileError where they cannot be."""
        backend, file, weights = candidate.backend, None, None
        match backend.needs:
            case "source":
                file, weights = self._source(), self._state()
            case "weights":
                weights = self._state()
            case "onnx":
                file = self._graph(candidate)
            case "engine":
                file = self._engine(candidate.backend.packages[0], candidate.precision)
        return Load(
            runner=backend.runner,
            precision=candidate.precision,
            device=self._device,
            threads=self._threads,
            name=TORCHVISION.get(self._name, self._name) if backend.theirs else self._name,
            shape=list(self._compilation.program.input),
            file=None if file is None else str(file),
            weights=None if weights is None else str(weights),
        )

    def _made(self, name: str, make: Callable[[Artifacts, str], object]) -> Path:
        path = self._folder / name
        if not path.exists():
            make(Artifacts(self._folder), name)
        return path

    def _source(self) -> Path:
        return self._made(
            f"{self._name}.py",
            lambda files, name: files.text(name, torch_source(self._compilation)),
        )

    def _state(self) -> Path:
        from resnet_dsl.weights.save import save_safetensors
        from resnet_dsl.weights.state import entries

        def make(files: Artifacts, name: str) -> None:
            with files.binary(name) as stream:
                save_safetensors(
                    stream, entries(self._compilation.graph, self._weights), {"format": "pt"}
                )

        return self._made(f"{self._name}.safetensors", make)

    def _graph(self, candidate: Candidate) -> Path:
        """OpenVINO takes the fp32 graph for bf16, and computes it in that."""
        if candidate.backend.name == "openvino" and candidate.precision == "bf16":
            return self._onnx(Wish())
        return self._onnx(Wish(candidate.precision, "onnxruntime"))

    def _onnx(self, wish: Wish) -> Path:
        from resnet_dsl.backends.onnx.options import OnnxOptions, needs_external_data
        from resnet_dsl.backends.onnx.writer import write_model

        def make(files: Artifacts, name: str) -> None:
            numbers = self._decided(wish)
            graph, options = self._compilation.inference_graph(numbers=numbers), OnnxOptions()
            with ExitStack() as stack:
                stream = stack.enter_context(files.binary(name))
                if not needs_external_data(graph, options):
                    write_model(graph, self._weights, stream, options)
                    return
                place = f"{name}.data"
                data = stack.enter_context(files.binary(place))
                write_model(graph, self._weights, stream, options, data=data, location=place)

        return self._made(f"{self._name}.{wish.precision}.{wish.runtime}.onnx", make)

    def _decided(self, wish: Wish) -> Numbers:
        """What the graph computes with. Scales come from the images that the network was trained on, or else from
        noise, which serves to measure speed. What fp16 cannot hold is not looked for: that is for what is built."""
        if not wish.quantised:
            return Numbers(wish.precision if wish.precision != "auto" else "fp32")
        from resnet_dsl.calibrate.decide import decide

        few = replace(wish, images=CALIBRATION_IMAGES)
        try:
            if self._file is None:
                raise CompileError(Diagnostic("RD686", "the weights are drawn from a seed"))
            found = decide(self._compilation, self._weights, few, self._folder, file=self._file)
        except CompileError:
            noise = replace(few, place=str(self._noise()))
            found = decide(self._compilation, self._weights, noise, self._folder)
            note = ("scales", f"from noise: the {wish.precision} network is for its speed only")
            if note not in self.notes:
                self.notes.append(note)
        return found.numbers

    def _noise(self) -> Path:
        """Images that are none, ready for the network: what backends are measured with."""
        import numpy as np

        from resnet_dsl.bench.runners.runner import images

        def make(files: Artifacts, name: str) -> None:
            with files.binary(name) as stream:
                np.save(stream, images(NOISE_IMAGES, list(self._compilation.program.input)))

        return self._made("noise.npy", make)

    def _engine(self, product: str, precision: Precision) -> Path:
        """An engine for the GPU at hand, with a profile for each batch size."""
        from resnet_dsl.backends.tensorrt import products
        from resnet_dsl.backends.tensorrt.builder import build_engine
        from resnet_dsl.backends.tensorrt.options import EngineOptions, Profile, Range

        wish = Wish(precision, "tensorrt", engine=True)
        model, engine = (
            self._onnx(wish),
            self._folder / f"{self._name}.{product}.{precision}.engine",
        )
        ahead = products.product(product).ahead_of_time
        options = EngineOptions(
            product=product,
            targets=(local_gpus()[0].capability,) if ahead else None,
            precision=precision,
            rest=wish.others if wish.quantised else None,
            profiles=tuple(Profile(Range(batch, batch, batch)) for batch in self._batches),
        )
        build_engine(model, engine, options)
        return engine
