"""Batches of images that are read, decoded and transformed as they are needed, by processes that work ahead.

What a batch holds is a function of the seed, the epoch and the places of its images in the epoch's order, however many
processes there are and wherever a run is resumed.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from types import FrameType
from typing import Any, NamedTuple, TypeAlias

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from resnet_dsl.runtime.data import DataError

# The number of an image to the image and its label.
Sample: TypeAlias = Callable[[int], tuple[Image.Image, int]]
# An image to pixels (C, H, W), by what torch's own generator draws.
Transform: TypeAlias = Callable[[Image.Image], Tensor]


class BatchPlan(NamedTuple):
    """A batch to be made: the epoch, the positions of its images in the epoch's order, and which they are."""

    epoch: int
    positions: list[int]
    images: list[int]


class BatchMaker(Dataset[tuple[Tensor, Tensor] | DataError]):
    """Makes batches of what `sample` reads, in a worker process or, without workers, in this one."""

    def __init__(self, sample: Sample, transform: Transform, seed: int) -> None:
        self.sample, self.transform, self.seed = sample, transform, seed

    def __getitem__(self, plan: BatchPlan) -> tuple[Tensor, Tensor] | DataError:
        """Images (B, C, H, W) and labels (B,), or what is wrong with the data: as a value, since an error
        that crosses processes takes a traceback along."""
        before = torch.get_rng_state()
        images, labels = [], []
        try:
            for position, index in zip(plan.positions, plan.images, strict=True):
                image, label = self.sample(index)
                torch.default_generator.manual_seed(sample_seed(self.seed, plan.epoch, position))
                images.append(self.transform(image))
                labels.append(label)
        except DataError as error:
            return error
        finally:
            torch.set_rng_state(before)
        return torch.stack(images), torch.tensor(labels)


class Streamed:
    """Streams batches, epoch after epoch, with the same processes: `sample` reads an image, such as
    `FileData.sample`, and `transform` makes pixels of it. Without `workers` this process does it.
    With a GPU, batches are in memory that it can fetch from while it computes."""

    def __init__(self, sample: Sample, transform: Transform, seed: int, workers: int) -> None:
        self.plans: list[BatchPlan] = []
        self.loader = DataLoader(
            BatchMaker(sample, transform, seed),
            batch_size=None,  # an item is a whole batch
            sampler=self.plans,
            num_workers=workers,
            collate_fn=unchanged,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=leave_signals,
            generator=torch.Generator(),  # torch's own is not drawn from
            prefetch_factor=2 if workers else None,
            persistent_workers=workers > 0,
        )

    def batches(
        self, epoch: int, order: Tensor, positions: Iterable[Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (B, C, H, W) and labels (B,) for each of `positions`, which are places (B,) in the `order`
        (N,) of the epoch. Raises DataError. One epoch at a time: the next begins when this is left."""
        self.plans[:] = [
            BatchPlan(epoch, each.tolist(), order[each].tolist()) for each in positions
        ]
        try:
            batches = iter(self.loader)
            with suppress(
                AttributeError, ValueError
            ):  # Windows has no such signal, other threads none
                # A worker that ends is an error where its batch is asked for, not amid a step.
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for batch in batches:
                if isinstance(batch, DataError):
                    raise DataError(str(batch))  # of this frame, so that no cycle keeps the workers
                images, labels = batch
                yield images, labels
        except (ConnectionError, EOFError, FileNotFoundError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not str(error).startswith("DataLoader worker"):
                raise
            raise DataError(
                "a process that decodes images has been ended from outside; often memory ran out\n"
                "write fewer `workers` in the train section"
            ) from None


def sample_seed(seed: int, epoch: int, position: int) -> int:
    """A seed of 64 bits for what is drawn for one image."""
    text = f"{seed} {epoch} {position}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())


def unchanged(batch: Any) -> Any:
    """A batch as it was made."""
    return batch


def leave_signals(worker: int) -> None:
    """In a worker process: Ctrl-C and SIGTERM, which may go to all processes of a job, are for the
    training, which saves its state and then ends its workers. If it has not done so 5 seconds after
    SIGTERM, they end by themselves, as they do when it dies."""

    def wait(number: int, _: FrameType | None) -> None:
        end = threading.Timer(5, os._exit, (0,))
        end.daemon = True
        end.start()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, wait)
