"""Products of matrices by torch: its own, and on the CPU oneDNN's, by which it convolves."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils import mkldnn

from resnet_dsl.bench.messages import Load
from resnet_dsl.bench.runners.networks import DTYPES


def products(load: Load, side: int) -> dict[str, Callable[[], object]]:
    """What multiplies two matrices of side × side in the precision; none where torch has none."""
    precision, device, size = load.precision, load.device, (side, side)
    if precision == "int8":
        a, b = (torch.randint(-127, 128, size, dtype=torch.int8, device=device) for _ in range(2))
        return {"torch": lambda: torch._int_mm(a, b)}
    if precision == "fp8":
        return {"torch": _fp8(size, device)}
    if precision not in DTYPES:
        return {}
    x, y = (torch.randn(size, device=device).to(DTYPES[precision]) for _ in range(2))
    found: dict[str, Callable[[], object]] = {"torch": lambda: x @ y}
    if device == "cpu" and torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        layer = nn.Linear(side, side, bias=False, dtype=x.dtype).requires_grad_(False)
        blocked = mkldnn.to_mkldnn(layer, x.dtype)  # type: ignore[no-untyped-call]
        given = x.to_mkldnn()
        found["oneDNN"] = lambda: blocked(given)
    return found


def _fp8(size: tuple[int, int], device: str) -> Callable[[], Tensor]:
    """The second operand is stored by columns, as the hardware wants it."""
    x = torch.randn(size, device=device).to(torch.float8_e4m3fn)
    y = torch.randn(size, device=device).to(torch.float8_e4m3fn).t()
    one = torch.ones((), device=device)
    return lambda: torch._scaled_mm(x, y, scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
