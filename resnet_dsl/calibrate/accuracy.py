"""How good a graph is on labelled images, in ONNX Runtime: its right answers, and how far its logits have moved."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from math import prod, sqrt

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from resnet_dsl.backends.onnx.options import OnnxOptions, needs_external_data
from resnet_dsl.backends.onnx.writer import write_model
from resnet_dsl.calibrate.search import Measured
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.evaluate.feed import Feed
from resnet_dsl.ir.graph import Graph
from resnet_dsl.weights.store import Weights

MEMORY = 512 << 20
"""Bytes of standardised images that are held, since every mix is measured on the same ones."""
IMAGES = 2000
"""On how many images mixes are measured: a twentieth of a point of accuracy is one image."""
_BATCH = 64


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images (N, C, H, W) that memory holds, and their labels (N,)."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def batches(self) -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(self.images), _BATCH):
            yield self.images[start : start + _BATCH]


def most_images(shape: tuple[int, ...]) -> int:
    """How many images of a shape (C, H, W) are held at most."""
    return max(1, min(IMAGES, MEMORY // (4 * prod(shape))))


def held(feed: Feed) -> Labelled:
    """The images of a feed in memory. Raises CompileError RD686 where they have no labels."""
    if not feed.labelled:
        raise CompileError(
            Diagnostic(
                "RD686",
                f"there are no labels to measure accuracies with: {feed.about}",
                why="--precision auto weighs speed against accuracy",
                hint="give images in a folder for each class, or name what may stay wide with --keep",
            )
        )
    parts = [(images, labels) for images, labels in feed.batches(_BATCH) if labels is not None]
    return Labelled(
        np.concatenate([images for images, _ in parts]),
        np.concatenate([labels for _, labels in parts]),
    )


def logits_of(graph: Graph, weights: Weights, images: Labelled) -> NDArray[np.float32]:
    """The logits (N, classes) of a graph. Raises CompileError RD687 where ONNX Runtime cannot run it."""
    if needs_external_data(graph, OnnxOptions()):
        raise _not_run(graph, "its weights do not fit into one file")
    stream = BytesIO()
    write_model(graph, weights, stream)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0  # fmt: skip
    if any(node.dtype == "float8_e4m3fn" for node in graph.nodes):
        # ONNX Runtime takes float8 for int8 where it fuses, and then computes other numbers.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(stream.getvalue(), options, ["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        found = [session.run(None, {name: batch})[0] for batch in images.batches()]
    except Exception as error:  # ONNX Runtime's have no common class
        raise _not_run(graph, str(error).splitlines()[0][:300]) from error
    return np.concatenate(found).astype(np.float32, copy=False)


def compared(
    logits: NDArray[np.float32], reference: NDArray[np.float32], images: Labelled
) -> Measured:
    """What logits are worth beside those of the wide network, (N, classes) both."""
    right = int((logits.argmax(1) == images.labels).sum())
    error = float(np.square(logits - reference, dtype=np.float64).mean())
    scale = float(np.square(reference, dtype=np.float64).mean())
    distance = sqrt(error / scale) if scale else sqrt(error)
    return Measured(right, len(logits), distance if np.isfinite(distance) else float("inf"))


def _not_run(graph: Graph, why: str) -> CompileError:
    return CompileError(
        Diagnostic(
            "RD687",
            f"ONNX Runtime cannot run {graph.name} to measure it",
            why=why,
            hint="give the precision yourself, as in --precision fp16",
        )
    )
