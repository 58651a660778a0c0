"""Time two ONNX models in ONNX Runtime, in turn, on the same image, and print medians in milliseconds as JSON.

Usage: latency.py OURS.onnx PEER.onnx PAIRS. Both run on two threads at batch 1. Running them in turn lets a machine
whose speed drifts treat both alike; the ratio is the median over pairs. Threads wait without spinning: those of the
graph whose turn it is not would take the cores from the other, and more from the first graph than from the second.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import onnxruntime

THREADS = 2
WARM_UP = 10


def runner(path: str) -> Callable[[], float]:
    """A function that runs the model once on a fixed random image and gives the seconds taken."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (argument,) = session.get_inputs()
    shape = [size if isinstance(size, int) else 1 for size in argument.shape]
    image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)

    def once() -> float:
        started = time.perf_counter()
        session.run(None, {argument.name: image})
        return time.perf_counter() - started

    return once


def main(ours: str, peer: str, pairs: str) -> None:
    run_ours, run_peer = runner(ours), runner(peer)
    for _ in range(WARM_UP):
        run_ours(), run_peer()
    times: list[tuple[float, float]] = []
    for index in range(int(pairs)):
        if index % 2:
            second, first = run_peer(), run_ours()
        else:
            first, second = run_ours(), run_peer()
        times.append((first, second))
    found = {
        "ours": 1e3 * statistics.median(first for first, _ in times),
        "peer": 1e3 * statistics.median(second for _, second in times),
        "ratio": statistics.median(second / first for first, second in times),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
