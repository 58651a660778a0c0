"""Batch normalisation over the batches of all processes together (Ioffe and Szegedy 2015, algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from resnet_dsl.runtime.parallel import total


def synchronise(network: nn.Module, device: torch.device) -> None:
    """Makes every batch norm of a network one over all processes, in place: names, parameters and
    running statistics stay."""
    if device.type == "cuda":
        convert: Callable[..., nn.Module] = nn.SyncBatchNorm.convert_sync_batchnorm
        convert(network)
        return
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = JointBatchNorm


class JointBatchNorm(nn.BatchNorm2d):
    """Batch norm as if the batches (N, C, H, W) of all processes, of whatever lengths, were one:
    torch's SyncBatchNorm, which runs on GPUs only, for the CPU."""

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and dist.is_initialized()):
            return super().forward(x)
        mean, variance, count = joint_statistics(x.detach())
        if self.track_running_stats:
            self.remember(mean, variance * (count / (count - 1)))
        normalise: Callable[..., Tensor] = JointNormalise.apply
        return normalise(x, self.weight, self.bias, mean, variance, count, self.eps)

    def remember(self, mean: Tensor, variance: Tensor) -> None:
        """Moves the running statistics (C,) towards those of a batch."""
        assert self.num_batches_tracked is not None
        assert self.running_mean is not None
        assert self.running_var is not None
        self.num_batches_tracked += 1
        rate = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.mul_(1 - rate).add_(mean, alpha=rate)
        self.running_var.mul_(1 - rate).add_(variance, alpha=rate)


class JointNormalise(torch.autograd.Function):
    """x (N, C, H, W) normalised by the mean (C,) and the variance (C,) of all processes, scaled and
    shifted. The gradient knows that they depend on x, here and in the other processes."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, variance, count)
        ctx.eps = eps
        return functional.batch_norm(x, mean, variance, weight, bias, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance, count = ctx.saved_tensors
        scaled, grad_weight, grad_bias = torch.ops.aten.native_batch_norm_backward(
            grad, x, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        # With g the gradient of y, s = weight / σ and x̂ = (x - mean) / σ, that of x is
        # s·g - s·x̂·mean(g·x̂) - s·mean(g), where the means are over all processes.
        inverse = torch.rsqrt(variance.double() + ctx.eps)
        scale = inverse if weight is None else inverse * weight
        along, level = scale * total(torch.stack([grad_weight, grad_bias])) / count
        slope = along * inverse
        shift = level - slope * mean
        scaled = scaled - (x * spread(slope, mean.dtype) + spread(shift, mean.dtype))
        if weight is None:
            return scaled.to(x.dtype), None, None, None, None, None, None
        return scaled.to(x.dtype), grad_weight, grad_bias, None, None, None, None


def joint_statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and variance (C,) of x (N, C, H, W) over all processes, in float32 or finer, and the
    count () of values that each is of. What cancels does so in float64."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    count = x.numel() // x.shape[1]
    mean = x.mean((0, 2, 3))
    squares = (x - spread(mean, x.dtype)).square_().sum((0, 2, 3))  # about its own mean
    wide = mean.double()
    counts = torch.full_like(wide, count)
    counts, sums, squares = total(torch.stack([counts, counts * wide, squares + counts * wide**2]))
    wide = sums / counts
    variance = (squares / counts - wide**2).clamp_(min=0)
    return wide.to(x.dtype), variance.to(x.dtype), counts[0]


def spread(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Numbers of channels (C,) as (C, 1, 1)."""
    return values.to(dtype)[:, None, None]
