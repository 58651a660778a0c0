"""The numbers of a graph's constants, made by threads a little ahead of whoever writes them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resnet_dsl.backends.onnx.options import byte_size
from resnet_dsl.ir.graph import Constant
from resnet_dsl.weights.store import Weights, materialise

# Small tensors are made in batches of about this size: handing one over costs more than making it.
_BATCH_BYTES = 1 << 20
_THREADS = min(4, os.cpu_count() or 1)
# Batches under way or waiting to be read, which bounds the memory.
_WINDOW = _THREADS + 2


@contextmanager
def made_ahead(constants: Sequence[Constant], weights: Weights) -> Iterator[Iterator[NDArray[Any]]]:
    """The constants' numbers in order, contiguous and little-endian. Work begins at once and stops with the block.
    NumPy and hashlib let go of the interpreter while they work, so that threads are enough.
    """
    pool = ThreadPoolExecutor(_THREADS, "weights")
    try:
        batches = _batches(constants)
        waiting = deque(pool.submit(_make, batch, weights) for batch in islice(batches, _WINDOW))
        yield _in_order(waiting, (pool.submit(_make, batch, weights) for batch in batches))
    finally:
        pool.shutdown(cancel_futures=True)


def _in_order(
    waiting: deque[Future[list[NDArray[Any]]]], more: Iterator[Future[list[NDArray[Any]]]]
) -> Iterator[NDArray[Any]]:
    while waiting:
        tensors = waiting.popleft().result()
        waiting.extend(islice(more, 1))
        yield from tensors


def _make(batch: Iterable[Constant], weights: Weights) -> list[NDArray[Any]]:
    made = []
    for constant in batch:
        tensor = materialise(constant, weights)
        made.append(np.ascontiguousarray(tensor, tensor.dtype.newbyteorder("<")))
    return made


def _batches(constants: Sequence[Constant]) -> Iterator[list[Constant]]:
    batch: list[Constant] = []
    size = 0
    for constant in constants:
        batch.append(constant)
        size += byte_size(constant)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
