"""CUDA graphs: the launches of a pass recorded once, and replayed as one."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_WARM_UP = 3


def captured(call: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """What replays the work of `call`, and where its output stands after each replay."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARM_UP):  # what is chosen or allocated on first use must not be captured
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        scores = call()
    return graph.replay, scores
