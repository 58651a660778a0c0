"""Learning rates over time. A time and an end are in one unit, epochs or iterations, and need not be whole numbers; a
factor is of the highest rate."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def climb(time: float, end: float, first: float, last: float) -> float:
    """A straight line from `first` at time 0 to `last` at the end: the rate in a warm-up."""
    return first + (last - first) * time / end


def cosine(time: float, end: float) -> float:
    """The factor on half a cosine, from 1 at time 0 to 0 at the end."""
    return 0.5 * (1 + math.cos(math.pi * time / end))


def linear(time: float, end: float) -> float:
    """The factor on a straight line, from 1 at time 0 to 0 at the end."""
    return 1 - time / end


def stepped(time: float, milestones: tuple[int, ...], gamma: float) -> float:
    """The factor that is multiplied with gamma at each milestone."""
    return gamma ** sum(time >= milestone for milestone in milestones)


class Plateau:
    """A factor that is multiplied with gamma after more than `patience` epochs in a row without an
    error below the best one, as in torch's ReduceLROnPlateau."""

    def __init__(self, gamma: float, patience: int) -> None:
        self.gamma, self.patience = gamma, patience
        self.factor, self.best, self.waited = 1.0, math.inf, 0

    def look(self, error: float) -> None:
        """Takes the error after an epoch, in any unit."""
        if error < self.best:
            self.best, self.waited = error, 0
        else:
            self.waited += 1
        if self.waited > self.patience:
            self.factor, self.waited = self.factor * self.gamma, 0

    def state_dict(self) -> dict[str, float]:
        return {"factor": self.factor, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, float]) -> None:
        self.factor, self.best, self.waited = state["factor"], state["best"], int(state["waited"])


class ErrorWarmUp:
    """Whether the training error has fallen below a limit, in percent; ResNet-110 trains with a low
    rate until it is below 80 (section 4.2). The error is that of 50 steps together, read after the
    last of them: to read a number is to wait for the device."""

    def __init__(self, limit: float, device: torch.device) -> None:
        self.limit, self.over = limit, False
        self.hits = torch.zeros((), dtype=torch.float64, device=device)
        self.images = self.steps = 0

    def look(self, hits: Tensor, images: int) -> None:
        """Takes how many images of a step were classified rightly, (), and how many there were, in
        all processes together."""
        self.hits += hits
        self.images += images
        self.steps += 1
        if self.steps == 50:
            self.over = self.over or 100 * (1 - self.hits.item() / self.images) < self.limit
            self.hits.zero_()
            self.images = self.steps = 0

    def state_dict(self) -> dict[str, int]:
        state = {"over": self.over, "images": self.images, "steps": self.steps}
        return {**state, "hits": int(self.hits)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.over, self.images, self.steps = bool(state["over"]), state["images"], state["steps"]
        self.hits.fill_(state["hits"])
