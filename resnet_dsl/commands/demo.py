"""`resnet-dsl demo`: the main job end to end, on real data, and a summary of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from resnet_dsl.backends.tensorrt.products import available
from resnet_dsl.commands.build import BuildOptions, build
from resnet_dsl.commands.engine import EngineRequest, compile_engine
from resnet_dsl.commands.output import Outcome, facts, shell_path, size
from resnet_dsl.commands.train_options import TrainRequest
from resnet_dsl.commands.training import DEFAULT_SPEC, train
from resnet_dsl.needs import require
from resnet_dsl.verify.emitted import import_emitted
from resnet_dsl.verify.side_by_side import run_targets

T = TypeVar("T")
SHOWPIECE = "resnet152"


def demo(out: Path, *, quiet: bool = False) -> Outcome:
    """Build, train on digits, ONNX, engine. Raises CompileError where a step cannot be done.

    TensorRT is not made for every system: where there is none, the rest is done and the summary says so.
    """
    require("onnxruntime", "safetensors", "sklearn", "torch")
    digits, showpiece = out / DEFAULT_SPEC, out / SHOWPIECE
    tensorrt = available()
    steps = _Steps(5 if tensorrt else 4, quiet=quiet)
    built = steps.run(
        f"build {SHOWPIECE} as PyTorch source",
        lambda: build(SHOWPIECE, BuildOptions(("torch",), showpiece)),
    )
    trained = steps.run(
        "train a small residual net on scikit-learn's digits",
        lambda: train(TrainRequest(out=digits, quiet=quiet)),
    )
    result = trained.data["result"]
    weights = Path(result["weights"])
    graph = steps.run(
        "build its ONNX graph with the trained weights",
        lambda: build(DEFAULT_SPEC, BuildOptions(("onnx",), digits, weights=weights)),
    )
    accuracy, difference = steps.run(
        "run the graph in ONNX Runtime on the test images, beside PyTorch",
        lambda: _compare(digits, weights, result),
    )
    done, described, told = [built, trained, graph], None, "none: no TensorRT is installed"
    if tensorrt:
        request = EngineRequest(DEFAULT_SPEC, digits, weights=weights)
        engine = steps.run(
            "compile it to a TensorRT engine", lambda: compile_engine(request, quiet=True)
        )
        done.append(engine)
        described = engine.data["engine"]
        told = (
            f"{described['precision']}, {', '.join(described['targets'])}, "
            f"{described['kernel_count']} kernels, {size(described['bytes'])}; not executed here"
        )
    summary = {
        SHOWPIECE: shell_path(built.written[0].path),
        "trained": f"{result['test_accuracy']:.2f} % of the test images right, "
        f"{result['epochs']} epochs in {result['seconds']:.0f} s",
        "ONNX Runtime": f"{accuracy:.2f} % right; differs from PyTorch by at most {difference:.1e} "
        "of the largest output",
        "engine": told,
        "time": f"{steps.seconds:.0f} s",
    }
    outcome = Outcome(["", *facts(summary)], notes=trained.notes)
    for part in done:
        outcome.written += part.written
    outcome.next = [
        f"resnet-dsl describe {SHOWPIECE}",
        "resnet-dsl list",
    ]
    outcome.data = {
        "summary": summary,
        "trained": result,
        "test_accuracy": result["test_accuracy"],
        "onnxruntime_accuracy": accuracy,
        "largest_difference": difference,
        "engine": described,
        "seconds": round(steps.seconds, 1),
    }
    return outcome


class _Steps:
    """Numbered steps, each announced before it runs and timed."""

    def __init__(self, total: int, *, quiet: bool) -> None:
        self.total = total
        self.done = 0
        self.quiet = quiet
        self._begun = time.perf_counter()

    @property
    def seconds(self) -> float:
        """How long all of it has taken."""
        return time.perf_counter() - self._begun

    def run(self, title: str, action: Callable[[], T]) -> T:
        """Do a step."""
        self.done += 1
        self._say(f"[{self.done}/{self.total}] {title}")
        begun = time.perf_counter()
        result = action()
        self._say(f"      done in {time.perf_counter() - begun:.1f} s")
        return result

    def _say(self, text: str) -> None:
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)


def _compare(folder: Path, weights: Path, result: dict[str, Any]) -> tuple[float, float]:
    """The accuracy in percent of the graph on the test images, and its largest difference from the
    torch module, as a part of the largest output."""
    test = import_emitted(folder / "train.py").load_digits_images("test")
    mean, std = (np.reshape(result[key], (1, -1, 1, 1)) for key in ("mean", "std"))
    pixels = test.images.numpy()
    images = pixels / 255 if pixels.dtype == np.uint8 else pixels
    standardised = ((images - mean) / std).astype(np.float32)
    outputs = run_targets(
        folder / f"{DEFAULT_SPEC}.py", weights, folder / f"{DEFAULT_SPEC}.onnx", standardised
    )
    right = (outputs.onnxruntime.argmax(1) == test.labels.numpy()).mean()
    return 100 * float(right), outputs.largest_difference
