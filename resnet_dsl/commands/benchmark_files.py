"""What backends read of a network that is measured: source, weights, graphs and engines, in a passing folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_dsl.artifacts import Artifacts
from resnet_dsl.bench.candidates import TORCHVISION, Candidate, Precision
from resnet_dsl.bench.messages import Device, Load
from resnet_dsl.compiler import Compilation, torch_source
from resnet_dsl.passes.numbers import Numbers

if TYPE_CHECKING:
    from resnet_dsl.weights.store import Weights

_CALIBRATION_IMAGES = 4
_IN_GRAPH: dict[Precision, Precision] = {"tf32": "fp32"}


class Files:
    """Each file is made when the first backend asks for it."""

    def __init__(
        self,
        folder: Path,
        compilation: Compilation,
        weights: Weights,
        device: Device,
        threads: int,
        batches: Sequence[int],
    ) -> None:
        self.notes: list[tuple[str, str]] = []
        self._folder, self._name = folder, compilation.spec.name
        self._compilation, self._weights = compilation, weights
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
                file = self._engine(candidate.precision)
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
        precision = candidate.precision
        if candidate.backend.name == "openvino" and precision == "bf16":
            precision = "fp32"
        return self._onnx(Numbers(_IN_GRAPH.get(precision, precision)))

    def _onnx(self, numbers: Numbers) -> Path:
        from resnet_dsl.backends.onnx.options import OnnxOptions, needs_external_data
        from resnet_dsl.backends.onnx.writer import write_model

        def make(files: Artifacts, name: str) -> None:
            ready = self._calibrated(numbers)
            graph, options = self._compilation.inference_graph(numbers=ready), OnnxOptions()
            with files.binary(name) as stream:
                if not needs_external_data(graph, options):
                    write_model(graph, self._weights, stream, options)
                    return
                with files.binary(f"{name}.data") as data:
                    write_model(
                        graph, self._weights, stream, options, data=data, location=f"{name}.data"
                    )

        return self._made(f"{self._name}.{numbers.precision}.{numbers.placement}.onnx", make)

    def _calibrated(self, numbers: Numbers) -> Numbers:
        """The numbers with ranges, where they need any: those that noise gives, which serves to measure speed."""
        from dataclasses import replace

        plan = numbers.plan(self._compilation.inference_graph())
        if plan is None:
            return numbers
        import numpy as np

        from resnet_dsl.bench.runners.runner import images
        from resnet_dsl.calibrate.taps import TappedSession

        session = TappedSession(self._onnx(Numbers()), plan.ranges, self._threads, optimise=True)
        values = session.run(images(_CALIBRATION_IMAGES, list(self._compilation.program.input)))
        ranges = {name: float(np.abs(value).max()) for name, value in values.items()}
        note = ("scales", "from noise: the int8 network is good for measuring its speed only")
        if note not in self.notes:
            self.notes.append(note)
        return replace(numbers, ranges=ranges)

    def _engine(self, precision: Precision) -> Path:
        """An engine for the GPU at hand, with a profile for each batch size."""
        from resnet_dsl.backends.tensorrt.builder import build_engine
        from resnet_dsl.backends.tensorrt.options import EngineOptions, Profile, Range

        numbers = Numbers(
            _IN_GRAPH.get(precision, precision),
            rest="fp16" if precision in ("int8", "fp8") else "fp32",
            placement="tensorrt",
        )
        model, engine = self._onnx(numbers), self._folder / f"{self._name}.{precision}.engine"
        profiles = tuple(Profile(Range(batch, batch, batch)) for batch in self._batches)
        build_engine(model, engine, EngineOptions(precision=precision, profiles=profiles))
        return engine
