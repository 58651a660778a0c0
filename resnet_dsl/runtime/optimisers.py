"""What torch has not of its own for optimisers: which parameters decay, and LAMB."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters in two groups for an optimiser: weights, which decay, and normalisations and
    biases, which do not."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [
        {"params": weights, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


class Lamb(torch.optim.Optimizer):
    """Adam whose step is, in each tensor that decays, as long as the tensor times the rate (You et
    al., 2020). With w a weight, g its gradient and t the number of the step:

        m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g²,
        u = (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + eps) + decay w,
        w = w - lr (|w| / |u|) u

    The factor |w| / |u| is 1 without decay, and where a norm is 0. So do timm and NVIDIA, after
    all gradients were clipped to a norm of 1 together, as `nn.utils.clip_grad_norm_` does.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "step": 0}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step by the gradients; a parameter without one stays as it is."""
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["mean"] = torch.zeros_like(weight)
                    self.state[weight]["square"] = torch.zeros_like(weight)
            group["step"] += 1
            updates = self._updates(group, weights)
            if group["weight_decay"]:
                torch._foreach_add_(updates, weights, alpha=group["weight_decay"])
                torch._foreach_mul_(updates, trust(weights, updates))
            torch._foreach_add_(weights, updates, alpha=-group["lr"])

    def _updates(self, group: dict[str, Any], weights: list[Tensor]) -> list[Tensor]:
        """Adam's, after the averages have taken the gradients in."""
        beta1, beta2 = group["betas"]
        grads = [weight.grad for weight in weights if weight.grad is not None]
        means = [self.state[weight]["mean"] for weight in weights]
        squares = [self.state[weight]["square"] for weight in weights]
        torch._foreach_lerp_(means, grads, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, grads, grads, 1 - beta2)
        updates = torch._foreach_div(means, 1 - beta1 ** group["step"])
        spreads = torch._foreach_sqrt(squares)
        torch._foreach_div_(spreads, math.sqrt(1 - beta2 ** group["step"]))
        torch._foreach_add_(spreads, group["eps"])
        torch._foreach_div_(updates, spreads)
        return list(updates)


def trust(weights: list[Tensor], updates: list[Tensor]) -> list[Tensor]:
    """The norm of each weight over that of its update, and 1 where either is 0."""
    norms = zip(torch._foreach_norm(weights), torch._foreach_norm(updates), strict=True)
    return [
        torch.where((weight > 0) & (update > 0), weight / update, 1.0) for weight, update in norms
    ]
