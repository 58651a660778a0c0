"""Train digits on scikit-learn's digits: 1x8x8, 10 classes.
60 epochs of SGD with Nesterov's momentum, a cosine after a warm-up.

    python train.py                     # trains, and writes to runs/digits
    python train.py --resume            # goes on where an interrupted run stopped
    python train.py --epochs 5 --seed 1 --out runs/digits-short --device cuda
    torchrun --nproc-per-node 8 train.py

Needs digits.py beside it, and torch and scikit-learn.
On one machine one seed gives one result, to the bit on a CPU. A run writes

    last.safetensors    the weights after the last epoch
    best.safetensors    the weights after the epoch with the lowest error
    state.pt            all that --resume needs; state.previous.pt is the one before
    metrics.jsonl       a line for each epoch
    manifest.json       what the run is made of, from its beginning on
    result.json         its outcome, at its end
    curves.svg, .png    errors against iterations, where matplotlib is installed
    tensorboard/        the same for TensorBoard, where that is installed

and ends with status 0, or 1 (the loss is no number, or too large, or a file cannot be written),
2 (the run cannot begin), 130 or 143 (interrupted with Ctrl-C or SIGTERM, and saved).

Written by resnet-dsl 0.1.0 from a spec with SHA-256
c403c0d507153fb74d1ff6436c7d6f02354a1a3ee2cd43d67737bea2fb7cff5b.
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import io
import json
import math
import os
import platform
import shlex
import shutil
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FrameType
from typing import Any, TypeAlias, TypeVar, cast

if __name__ == "__main__":  # Ctrl-C ends the script quietly, also while torch is imported
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for repeatable sums on a GPU

from digits import digits as network

# What is trained, and on what.
NETWORK = "digits"
SPEC = "digits"  # what the network was compiled from
SPEC_SHA256 = "c403c0d507153fb74d1ff6436c7d6f02354a1a3ee2cd43d67737bea2fb7cff5b"
DATA = "digits"
CLASSES = 10
SHAPE = (1, 8, 8)  # of an image: channels, height, width
NORMALISE = "channel"

# How training images are varied. Lengths in pixels.
PAD = 1  # on each side, before an image of the old size is cut from anywhere

# How the network learns.
BATCH_SIZE = 64  # of all processes together
EPOCHS = 60  # in which all times below are given
LR = 0.1  # the highest learning rate
MOMENTUM = 0.9
NESTEROV = True
WEIGHT_DECAY = 0.0005
LABEL_SMOOTHING = 0.1
WARMUP = 2
WARMUP_LR = 0.0  # the rate that it begins with
LOSS_LIMIT = 1000.0  # a loss above it ends the training

# Where it runs.
SEED = 0
THREADS = 1
SAVE_MINUTES = 10.0  # between two saves within an epoch
OUT = "runs/digits"

# All of them, as the manifest of a run says them.
SETTINGS = {
    name: value
    for name, value in list(globals().items())
    if name.isupper() and not isinstance(value, type)
}


def load_images(options: argparse.Namespace) -> tuple[Any, Any, dict[str, str]]:
    """The images for training, those for the test, and their hashes. Raises DataError."""
    train: Any = load_digits_images("train")
    test: Any = load_digits_images("test")
    return train, test, check_data(train, test)


def check_data(train: Any, test: Any) -> dict[str, str]:
    """A hash of the images for training, and of those for the test. Raises DataError where they are
    not what the network is for."""
    for data in (train, test):
        check_fits(data, shape=SHAPE, classes=CLASSES)
    return {"train": fingerprint(train), "test": fingerprint(test)}


def check_alike(found: list[dict[str, str]], state: dict[str, Any]) -> None:
    """Raises DataError where a process has other images than the first, StateError where they are
    others than those that a run began with."""
    for rank, digests in enumerate(found):
        if digests != found[0]:
            raise DataError(f"process {rank} has other images than the first process")
    if state and state["data"] != found[0]:
        raise StateError("--resume: the images are others than those that the run began with")


def testing_source(data: Any, device: torch.device) -> Any:
    """Images as batches, as they are tested: nothing in them is left to chance."""
    return Held(data, device)


def statistics(data: Any, processes: Processes) -> tuple[Tensor, Tensor]:
    """The mean and the deviation that images are standardised by, measured on those for training.
    Raises DataError."""
    chosen = evenly_spaced(len(data))
    places = torch.split(torch.arange(len(chosen)), 256)
    batches = testing_source(data, processes.device).batches(0, chosen, places)
    mean, std = channel_moments(images for images, _ in batches)
    return mean, std


def shares(count: int, first: int, processes: Processes) -> Iterator[tuple[int, Tensor]]:
    """From step `first` of an epoch of `count` images on, for each micro-batch: the step, and which
    places (B,) of the epoch's order fall to this process. Processes stand side by side in a
    micro-batch, and a rest of the epoch that fills no batch is left."""
    size = BATCH_SIZE // processes.world
    for step in range(first, count // BATCH_SIZE):
        start = step * BATCH_SIZE + processes.rank * size
        yield step, torch.arange(start, start + size)


def training_batches(
    source: Any,
    data: Any,
    standard: tuple[Tensor, Tensor],
    seed: int,
    epoch: int,
    first: int,
    processes: Processes,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The micro-batches of this process from step `first` of an epoch on: standardised images
    (B, C, H, W), what they are to be told as, and labels (B,). What is random follows from the seed
    and the epoch, for all processes alike."""
    count, device = len(data), processes.device
    draws = stream("epoch", seed, epoch)
    order = torch.randperm(count, generator=draws)
    places = list(shares(count, first, processes))
    batches = source.batches(epoch, order, [share for _, share in places])
    for (_step, _here), (images, labels) in zip(places, batches, strict=True):
        images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
        labels = labels.to(device, non_blocking=True)
        mean, std = (as_operand(part, images) for part in standard)
        images = standardised(images, mean, std)
        targets = labels
        yield images, targets, labels


def testing_batches(
    source: Any, data: Any, standard: tuple[Tensor, Tensor], processes: Processes
) -> Iterator[tuple[Tensor, Tensor]]:
    """What of the images falls to this process: standardised (B, C, H, W), and labels (B,)."""
    own = torch.arange(processes.rank, len(data), processes.world)
    places = torch.split(own, BATCH_SIZE)
    batches = source.batches(0, torch.arange(len(data)), places)
    for images, labels in batches:
        images = images.to(processes.device, memory_format=torch.channels_last)
        mean, std = (as_operand(part, images) for part in standard)
        yield standardised(images, mean, std), labels.to(processes.device)


def learning_rate(time: float, end: float) -> float:
    """The rate at a time of a training that ends at another."""
    if time < WARMUP:
        return climb(time, WARMUP, WARMUP_LR, LR)
    return LR * cosine(time - WARMUP, end - WARMUP)


def make_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of all parameters that learn."""
    weights = decay_groups(model, WEIGHT_DECAY)
    return torch.optim.SGD(
        weights,
        lr=LR,
        momentum=MOMENTUM,
        nesterov=NESTEROV,
        weight_decay=WEIGHT_DECAY,
        fused=True,
    )


def learn(forward: Any, images: Tensor, targets: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Adds the gradients of a micro-batch: standardised images (B, C, H, W), what they are to be
    told as, and labels (B,). The loss, and how many images are told right."""
    scores = forward(images)
    loss = functional.cross_entropy(scores, targets, label_smoothing=LABEL_SMOOTHING)
    torch.autograd.backward(loss)
    return loss.detach(), (scores.argmax(1) == labels).sum()


def best_of(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The epoch with the lowest error, the first of equal ones."""
    return min(history, key=lambda line: float(line["test_error"]))


def saved_state(options: argparse.Namespace, job: Job | None) -> dict[str, Any]:
    """What the run goes on from: nothing, unless it was interrupted, or torchrun has started the
    script before, and it has saved something then. Raises StateError."""
    if not options.resume and (job is None or not has_state(options.out)):
        return {}
    header, state, notes = load_state(options.out)
    if not options.resume and not (job and job.owns(header.get("job"))):
        return {}
    if header.get("spec") != SPEC_SHA256:
        raise StateError(f"the state in {options.out} is of another network or another recipe")
    if options.seed not in (None, state["seed"]):
        raise StateError(f"--resume: that run has the seed {state['seed']}")
    if not options.resume:
        notes.append(f"started anew by torchrun, and goes on after iteration {state['iteration']}")
    print("".join(f"{note}\n" for note in notes), end="", flush=True)
    return state


def steps_of(count: int, world: int) -> int:
    """How many batches an epoch of so many images has. Raises DataError if it has none, ProcessError
    if the processes cannot have equal parts of them."""
    if count < BATCH_SIZE:
        raise DataError(f"a batch of {BATCH_SIZE} is more than the {count} training images")
    parts = world
    if BATCH_SIZE % parts:
        raise ProcessError(
            f"a batch of {BATCH_SIZE} cannot be divided into {parts} equal parts, as {world} "
            "processes need it",
        )
    return count // BATCH_SIZE


def division(world: int, before: int) -> str:
    """How a batch is divided among processes, for the user; `before` is how many there were until
    the run was interrupted."""
    own = (
        f"{BATCH_SIZE // world} in each of {world} processes" if world > 1 else "all in one process"
    )
    text = f"batches of {BATCH_SIZE} images, {own}; learning rate {LR:g}"
    if before == world:
        return text
    return f"{text}\nuntil now the processes were {before}: the run goes on, but not to the bit"


def of_all(losses: Tensor, hits: Tensor, processes: Processes) -> Tensor:
    """What of some steps each process knows of its own images, (N,) each, for the images of all:
    the mean loss, and how many were told right; (2, N)."""
    sums = total(torch.stack([losses, hits]))
    sums[0] /= processes.world
    return sums


def diverged(out: Path, loss: float, iteration: int, leads: bool) -> int:
    """Says that a run stops since its numbers are gone. Its files stay as they were last saved."""
    if leads:
        end_line()
        print(f"stopped: the loss of iteration {iteration} is {loss:g}", file=sys.stderr)
        last = out / "last.safetensors"
        kept = f"{last} holds the weights saved last" if last.exists() else "nothing was saved yet"
        print(f"{kept}; what helps is a lower lr, or a longer warm-up", file=sys.stderr)
    return 1


def keep(out: Path, weights: dict[str, Tensor], state: dict[str, Any], job: Job | None) -> None:
    """Writes the files that are saved: the weights, and what a resumed run needs. Raises OSError."""
    tensors = to_safetensors(weights, {"spec_sha256": SPEC_SHA256})
    write(out / "last.safetensors", tensors)
    history, iteration = state["history"], state["iteration"]
    tested_now = bool(history) and history[-1]["iteration"] == iteration
    if tested_now and best_of(history) is history[-1]:
        write(out / "best.safetensors", tensors)
    header = {"spec": SPEC_SHA256, "iteration": iteration, "job": job and job.label()}
    save_state(out, header, state)


def interrupted(out: Path, number: int, iteration: int, leads: bool) -> int:
    """Says how a run that was interrupted, and saved, can go on."""
    if leads:
        again = shlex.join(["python", sys.argv[0], "--resume", "--out", str(out)])
        end_line()
        print(f"interrupted after iteration {iteration}, and saved; to go on: {again}")
    return 128 + (number or signal.SIGTERM)


def finish(out: Path, result: dict[str, Any], history: list[dict[str, Any]]) -> None:
    """Writes the outcome of a run beside its weights, and says it, and what can be done next."""
    write_json(out / "result.json", result)
    if draw_curves(history, out / "curves.svg"):
        draw_curves(history, out / "curves.png")
    end_line()
    print(
        f"test accuracy {result['test_accuracy']:.2f} %, best {result['best_test_accuracy']:.2f} % "
        f"(epoch {result['best_epoch']}), in {timedelta(seconds=round(result['seconds']))}"
    )
    spec = [SPEC]
    weights = ["--weights", result["weights"]]
    build = ["resnet-dsl", "build", *spec, "--target", "onnx", *weights]
    print(f"weights: {result['weights']}")
    print(f"next: {shlex.join(['resnet-dsl', 'eval', *spec, *weights])}")
    print(f"      {shlex.join(build)}")


def arguments() -> argparse.Namespace:
    """The command line. Ends with status 2 where it cannot be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", dest="end", type=int, help=f"how long to train [{EPOCHS}]")
    parser.add_argument("--seed", type=int, help=f"of the weights and the order [{SEED}]")
    parser.add_argument("--out", type=Path, default=Path(OUT), help=f"folder to write to [{OUT}]")
    parser.add_argument("--weights", type=Path, help="safetensors to begin from, to fine-tune")
    parser.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 [cuda where there is one]")
    options = parser.parse_args()
    if options.end is not None and options.end < 1:
        parser.error("nothing is trained in less than 1")
    if options.seed is not None and options.seed < 0:
        parser.error("--seed must be at least 0")
    if options.weights and options.resume:
        parser.error("--resume goes on with a run, and --weights begins one")
    return options


class Interrupts:
    """Ctrl-C and SIGTERM, which stop the run after the current step. What follows within a second
    is the same request (`timeout` sends two signals); a later one stops it at once."""

    def __init__(self) -> None:
        self.number, self.since = 0, math.inf
        signal.signal(signal.SIGINT, self.take)
        signal.signal(signal.SIGTERM, self.take)

    def take(self, number: int, _: FrameType | None) -> None:
        if time.monotonic() > self.since + 1:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.number, self.since = number, min(self.since, time.monotonic())


def main() -> int:
    options = arguments()
    out: Path = options.out
    processes = start_processes(options.device)
    interrupts = Interrupts()
    device, leads = processes.device, processes.rank == 0
    job = find_job(processes)
    state = from_first(in_all(lambda: saved_state(options, job) if leads else {}))
    seed: int = state.get("seed", SEED if options.seed is None else options.seed)
    end: int = options.end or state.get("end", EPOCHS)

    # The images.
    train, test, digests = in_all(lambda: load_images(options))
    found = from_each(digests)
    in_all(lambda: check_alike(found, state))
    steps = in_all(lambda: steps_of(len(train), processes.world))
    iterations = end * steps

    # The network, with the same weights in every process.
    torch.set_num_threads(THREADS)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    keep_memory()
    model = network(num_classes=CLASSES)
    if options.weights:
        note = in_all(lambda: begin_from(model, options.weights))
        if leads:
            print(note, flush=True)
    model.to(device)
    nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
    optimizer = make_optimizer(model)
    torch.manual_seed(seed + processes.rank)  # each process draws its own numbers for dropout

    # The images in batches, and what they are standardised by.
    source = HeldAndShifted(train, device, PAD, padded_black, seed)
    tests = testing_source(test, device)
    mean, std = state["standard"] if state else in_all(lambda: statistics(train, processes))
    standard = mean.to(device), std.to(device)

    # In each step of an epoch: the loss, and how many images were told right. In the last steps they
    # are those of this process.
    losses, hits = torch.zeros(steps, device=device), torch.zeros(steps, device=device)
    history: list[dict[str, Any]] = state.get("history", [])
    first: int = state.get("iteration", 0)
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        restore_random(state["random"], processes)
        losses.copy_(state["losses"])
        hits.copy_(state["hits"])
    learner = wrap_ddp(model, device)
    forward: Any = learner
    tested: nn.Module = model
    score = tested

    begun_from = digest(options.weights) if options.weights else state.get("begun_from")
    manifest: dict[str, Any] = {
        "network": NETWORK,
        "spec": SPEC,
        "spec_sha256": SPEC_SHA256,
        "overrides": [],
        "seed": seed,
        "end": end,
        "settings": SETTINGS,
        "data": digests,
        "begun_from": begun_from,
        "command": ["python", *sys.argv],
        "surroundings": surroundings(device, processes.world),
        "weights_sha256": None,
    }

    def save() -> None:
        """Writes the weights, and what a resumed run needs. All processes have to come here."""
        now: dict[str, Any] = {"seed": seed, "end": end, "iteration": iteration, "data": digests}
        now["processes"] = processes.world
        now |= {"history": history, "losses": losses, "hits": hits, "seconds": seconds()}
        now |= {"standard": (mean, std), "random": random_states(processes)}
        now["begun_from"] = begun_from
        now["model"] = model.state_dict()
        now["optimizer"] = optimizer.state_dict()
        weights = now["model"]
        in_all(lambda: keep(out, weights, now, job) if leads else None)

    def seconds() -> float:
        """How long the run has taken, with the time before it was interrupted."""
        return float(state.get("seconds", 0.0)) + time.perf_counter() - started

    def progress(loss: float, speed: float) -> str:
        """Where the run is, its speed in this epoch, and how long it will take at its own pace."""
        pace = (time.perf_counter() - started) / max(iteration - first, 1)
        eta = timedelta(seconds=round(pace * (iterations - iteration)))
        error = f"{history[-1]['test_error']:.2f} %" if history else "-"
        place = f"epoch {epoch + 1}/{math.ceil(iterations / steps)}"
        return f"{place}  {speed:,.0f} images/s  loss {loss:.4f}  test error {error}  eta {eta}"

    def begin() -> None:
        begin_folder(out, history, manifest, resumed=bool(state))

    in_all(begin if leads else tuple)
    if leads:
        scalars = open_scalars(out / "tensorboard", first)
        before = state.get("processes", processes.world)
        if max(before, processes.world) > 1:
            print(division(processes.world, before), flush=True)
    iteration = first
    started = saved = shown = time.perf_counter()
    for epoch in range(first // steps, math.ceil(iterations / steps)):
        skipped = iteration - epoch * steps
        in_epoch = min(steps, iterations - epoch * steps)
        batches = training_batches(source, train, standard, seed, epoch, skipped, processes)
        epoch_started = time.perf_counter()
        seen = look = skipped  # up to which step losses are of all processes; when these look next
        learner.train()
        for step in range(skipped, in_epoch):
            # To read a number is to wait for the device, and processes wait for one another: not
            # at every step, but twice a second.
            if processes.world > 1:
                looks = step == look
            else:
                looks = bool(interrupts.number) or time.perf_counter() - shown > 0.5
            if looks:
                losses[seen:step], hits[seen:step] = of_all(
                    losses[seen:step], hits[seen:step], processes
                )
                bad = first_bad(losses[:step], LOSS_LIMIT)
                if bad is not None:
                    return diverged(out, losses[bad].item(), epoch * steps + bad + 1, leads)
                if agreed(bool(interrupts.number)):
                    save()
                    return interrupted(out, interrupts.number, iteration, leads)
                now = time.perf_counter()
                ahead = max(1, int(0.5 * (step - seen) / (now - shown)))
                look, due = from_first((step + ahead, now - saved > 60 * SAVE_MINUTES))
                seen, shown = step, now
                if due:
                    save()
                    saved = time.perf_counter()
                if leads:
                    speed = (step - skipped) * BATCH_SIZE / (shown - epoch_started)
                    show(progress(losses[:step].mean().item() if step else 0.0, speed))

            middle = iteration + 0.5  # of the step
            rate = learning_rate(middle / steps, end)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            losses[step], hits[step] = learn(forward, *next(batches))
            optimizer.step()
            iteration += 1

        losses[seen:in_epoch], hits[seen:in_epoch] = of_all(
            losses[seen:in_epoch],
            hits[seen:in_epoch],
            processes,
        )
        bad = first_bad(losses[:in_epoch], LOSS_LIMIT)
        if bad is not None:
            return diverged(out, losses[bad].item(), epoch * steps + bad + 1, leads)
        speed = (in_epoch - skipped) * BATCH_SIZE / (time.perf_counter() - epoch_started)
        if processes.world > 1:
            copy_first(tested.buffers())
        told = hits[:in_epoch].sum(dtype=torch.float64).item()
        line: dict[str, Any] = {
            "epoch": epoch + 1,
            "iteration": iteration,
            "lr": rate,
            "loss": losses[:in_epoch].mean(dtype=torch.float64).item(),
            "train_error": 100 - 100 * told / in_epoch / BATCH_SIZE,
        }
        tested.eval()
        answers = testing_batches(tests, test, standard, processes)
        line |= measured("test", total(evaluate(score, answers, device)))
        line |= {"images_per_second": speed, "seconds": seconds()}
        history.append(line)
        save()
        saved = time.perf_counter()
        if leads:
            record(out, line, scalars)
            show(progress(line["loss"], speed), epoch_ends=True)

    if leads:
        best, took = best_of(history), seconds()
        last_file, best_file = out / "last.safetensors", out / "best.safetensors"
        digests_of_weights = {"last": digest(last_file), "best": digest(best_file)}
        write_json(out / "manifest.json", {**manifest, "weights_sha256": digests_of_weights})
        result = {
            "network": NETWORK,
            "spec": SPEC_SHA256,
            "data": DATA,
            "path": None,
            "data_fingerprint": digests,
            "classes": list(train.classes),
            "seed": seed,
            "epochs": len(history),
            "iterations": iteration,
            "test_accuracy": 100 - history[-1]["test_error"],
            "best_test_accuracy": 100 - best["test_error"],
            "best_epoch": best["epoch"],
            "selected_on": "test",
            "seconds": round(took, 3),
            "weights": str(last_file),
            "best_weights": str(best_file),
            "weights_sha256": digests_of_weights,
            "resize": None,
            "normalise": NORMALISE,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            **surroundings(device, processes.world),
        }
        result |= {"mean": mean.flatten().tolist(), "std": std.flatten().tolist()}
        finish(out, result, history)
    return 0


# -- augment
# Random changes of images, a batch at a time on the device that trains.


def padded_black(images: Tensor, pad: int) -> Tensor:
    """Images (N, C, H, W) with `pad` black pixels on each side."""
    wide = functional.pad(images, (pad, pad, pad, pad))
    return wide.contiguous(memory_format=torch.channels_last)


def draw_offsets(count: int, pad: int, generator: torch.Generator) -> Tensor:
    """Where to cut images with `pad` pixels on each side: (count, 2), row and column."""
    return torch.randint(2 * pad + 1, (count, 2), generator=generator)


def shifted(images: Tensor, chosen: Tensor, offsets: Tensor, height: int, width: int) -> Tensor:
    """Of padded images (N, C, H + 2 pad, W + 2 pad) the chosen ones (B,), cut at offsets (B, 2) to
    (B, C, H, W)."""
    # A view of every cut, of which whole rows are copied.
    cuts = images.unfold(2, height, 1).unfold(3, width, 1)
    return cuts[chosen, :, offsets[:, 0], offsets[:, 1]]


def as_operand(values: Tensor, images: Tensor) -> Tensor:
    """A mean or deviation of images in [0, 1], one number (), of channels (C, 1, 1) or of pixels
    (C, H, W), in the unit, size and place of `images`: (1, C, H, W), with which a CPU is five times
    faster than with fewer numbers."""
    unit = 255 if images.dtype == torch.uint8 else 1
    wide = (unit * values).to(images.device).expand(1, *images.shape[1:])
    return wide.contiguous(memory_format=torch.channels_last)


def standardised(images: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images (B, C, H, W) as float32 of mean 0 and deviation 1; `mean` and `std` are in their unit,
    as from `as_operand`."""
    return (images - mean).div_(std)


# -- chance
# Random numbers: streams by name, and those that a network draws in training (dropout, drop path),
# which are kept with the state of a run.


def stream(*key: str | int) -> torch.Generator:
    """A generator for what is drawn under a key, such as "epoch", seed, number: the same numbers
    everywhere, and none that another key has."""
    text = " ".join(map(str, key)).encode()
    seed = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest())
    return torch.Generator().manual_seed(seed)


def random_states(processes: Processes) -> list[Tensor]:
    """The state of torch's generator on the device of each process. All processes have to ask."""
    cuda = processes.device.type == "cuda"
    own = torch.cuda.get_rng_state(processes.device) if cuda else torch.get_rng_state()
    return from_each(own)


def restore_random(states: list[Tensor], processes: Processes) -> None:
    """Sets the generator of each process to what it was. With another number of processes, or on
    another kind of device, there is no such state, and none is set."""
    if len(states) != processes.world:
        return
    state = states[processes.rank]
    if processes.device.type == "cuda" and state.numel() == 16:
        torch.cuda.set_rng_state(state, processes.device)
    elif processes.device.type == "cpu" and state.numel() > 16:
        torch.set_rng_state(state)


# -- checkpoints
# Files that are whole or not there: weights as safetensors, and the state of a run with a hash over
# it.

STATE = "state.pt"
PREVIOUS_STATE = "state.previous.pt"
OLD_STATE = "state.old.pt"
STATE_FORMAT = 1
LONGEST_HEADER = 65_536  # bytes of a state file's first line

# The names of types in safetensors, in the order in which its own library lays tensors out: those
# with the strictest alignment first, so that every tensor is aligned.
SAFETENSORS_TYPES = {
    "U64": torch.uint64,
    "I64": torch.int64,
    "F64": torch.float64,
    "C64": torch.complex64,
    "F32": torch.float32,
    "U32": torch.uint32,
    "I32": torch.int32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "U16": torch.uint16,
    "I16": torch.int16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


class StateError(Exception):
    """There is no state to go on from. Its text says why, for the user."""


def write(path: Path, *parts: bytes | memoryview, old: Path | None = None) -> None:
    """Replaces a file as a whole, by all parts one after the other: whatever happens, its old
    content or the new one is there. With `old`, the old one is kept under that name.

    Raises OSError, and then the file is as it was.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            for data in parts:
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if old:
            path.replace(old)
        part.replace(path)
    except BaseException:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    settle(path.parent)


def settle(folder: Path) -> None:
    """Puts the names of a folder's files on the disk, where the system has a way to."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def to_safetensors(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """A safetensors file as bytes; the same ones for the same tensors, in whatever order.

    Raises ValueError for a type that the format does not have.
    """
    names = {dtype: name for name, dtype in SAFETENSORS_TYPES.items()}
    order = list(names)  # by falling alignment: then every tensor is aligned
    for name, tensor in tensors.items():
        if tensor.dtype not in names:
            raise ValueError(f"{name} is {tensor.dtype}, which safetensors cannot hold")
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    blocks, end = [], 0
    for name in sorted(tensors, key=lambda name: (order.index(tensors[name].dtype), name)):
        tensor = tensors[name].detach().cpu().contiguous()
        start, end = end, end + tensor.nbytes
        header[name] = {
            "dtype": names[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, end],
        }
        blocks.append(tensor.reshape(-1).view(torch.uint8).numpy().data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *blocks])


def from_safetensors(data: bytes) -> dict[str, Tensor]:
    """The tensors of a safetensors file, each with memory of its own.

    Raises ValueError where the bytes are no such file: whatever they are, nothing else happens.
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise ValueError("no safetensors: the header goes beyond the end")
    try:
        header = json.loads(data[8 : 8 + length].decode(), object_pairs_hook=without_repetition)
        header.pop("__metadata__", None)
        spans = sorted(header.items(), key=lambda item: tuple(item[1]["data_offsets"]))
        tensors, end, body = {}, 0, memoryview(data)[8 + length :]
        for name, entry in spans:
            dtype, shape = SAFETENSORS_TYPES[entry["dtype"]], entry["shape"]
            start, stop = entry["data_offsets"]
            if any(type(number) is not int or number < 0 for number in [*shape, start, stop]):
                raise ValueError(f"{name} has a shape or a place that is none")
            if start != end or stop - start != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"{name} does not lie where it should")
            tensors[name] = torch.empty(shape, dtype=dtype)
            if stop > start:
                block = torch.frombuffer(bytearray(body[start:stop]), dtype=dtype)
                tensors[name] = block.reshape(shape)
            end = stop
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, RecursionError) as error:
        raise ValueError(f"no safetensors: {error}") from error
    if end != len(body):
        raise ValueError("no safetensors: it is longer or shorter than its header says")
    return tensors


def without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of JSON that has these pairs. Raises ValueError where a name comes twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_state(folder: Path, header: dict[str, Any], state: dict[str, Any]) -> None:
    """Writes state.pt; the one that was there becomes state.previous.pt, if it is whole. At every
    moment one of the two is.

    Raises OSError where a file cannot be written, ValueError where the header is too long.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    seal = hashlib.sha256(json.dumps(header).encode())
    seal.update(payload)
    stamp = {"format": STATE_FORMAT, "sha256": seal.hexdigest()}
    line = json.dumps(stamp | header).encode() + b"\n"
    if len(line) > LONGEST_HEADER:
        raise ValueError(f"the header of a state has {len(line):,} bytes, more than fit")
    path = folder / STATE
    try:
        check_state(path)
        old = folder / PREVIOUS_STATE
    except StateError:
        old = None
    write(path, line, payload, old=old)


def has_state(folder: Path) -> bool:
    """Whether there is a state to go on from, or what is left of one."""
    return (folder / STATE).exists() or (folder / PREVIOUS_STATE).exists()


def load_state(folder: Path) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """The header and the state that were saved last, its tensors on the CPU, and notes: where
    state.pt is missing or damaged, the one before is taken, and a note says so.

    Raises StateError where neither is whole.
    """
    notes: list[str] = []
    for path in (folder / STATE, folder / PREVIOUS_STATE):
        try:
            header = check_state(path)
            with path.open("rb") as file:
                file.readline()
                payload = io.BytesIO(file.read())
            state = torch.load(payload, map_location="cpu", weights_only=True)
        except StateError as error:
            notes.append(str(error))
        except Exception as error:  # whatever unpickling meets
            notes.append(f"{path} is whole, and torch {torch.__version__} cannot read it: {error}")
        else:
            if notes:
                notes.append(f"going on from the state before it, {path}")
            return header, state, notes
    raise StateError("; ".join(notes))


def check_state(path: Path) -> dict[str, Any]:
    """The header of a state file. Raises StateError where the file is not whole."""
    header = read_header(path)
    rest = {name: value for name, value in header.items() if name not in ("format", "sha256")}
    said = json.dumps(rest).encode()
    try:
        with path.open("rb") as file:
            file.readline()
            seal = hashlib.file_digest(file, lambda: hashlib.sha256(said))
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from error
    if seal.hexdigest() != header["sha256"]:
        raise StateError(f"{path} is damaged: its hash is not that of what was written")
    return header


def read_header(path: Path) -> dict[str, Any]:
    """The first line of a state file: what the run says of itself.

    Raises StateError where there is none, or one of another format.
    """
    try:
        with path.open("rb") as file:
            header = json.loads(file.readline(LONGEST_HEADER))
        version, _ = header["format"], header["sha256"]
    except FileNotFoundError:
        raise StateError(f"there is no {path}") from None
    except OSError as error:
        raise StateError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise StateError(f"{path} is damaged, or no state of a run: {error}") from error
    if version != STATE_FORMAT:
        raise StateError(f"{path} has format {version}, and this reads format {STATE_FORMAT}")
    return dict(header)


def put_state_aside(folder: Path) -> Path | None:
    """Makes room for another run: the state saved last becomes state.old.pt, which is returned if
    there is one, and the state before it is removed. Raises OSError."""
    path, previous = folder / STATE, folder / PREVIOUS_STATE
    if path.exists():
        previous.unlink(missing_ok=True)
    elif previous.exists():
        path = previous
    else:
        return None
    old = path.replace(folder / OLD_STATE)
    settle(folder)
    return old


# -- data
# Images that memory holds, how they are divided and checked, and the two sets that need no files.


class DataError(Exception):
    """What is wrong with the data, and what to do about it: a line or two for the user."""


@dataclass(frozen=True, eq=False)
class ArrayData:
    """Images in memory: (N, C, H, W), uint8 or float32 in [0, 1]; their labels (N,) int64; and the
    names of the classes, in the order of the labels."""

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def load_digits_images(split: str) -> ArrayData:
    """scikit-learn's digits, 8×8 and grey: 1437 images to "train" on and 360 to "test", divided once
    and for all with the classes in equal shares."""
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError:
        raise DataError(
            "the data `digits` are part of scikit-learn, which is not installed\n"
            "install it: python -m pip install scikit-learn"
        ) from None
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target, dtype=torch.int64)
    train, test = train_test_split(
        range(len(labels)), test_size=360, stratify=digits.target, random_state=0
    )
    chosen = torch.tensor(train if split == "train" else test)
    return ArrayData(images[chosen], labels[chosen], tuple(map(str, range(10))))


def check_fits(data: ArrayData, *, shape: tuple[int, int, int], classes: int) -> None:
    """Raises DataError unless the images are of `shape` (C, H, W), of as many classes as the network
    tells apart."""
    check_classes(data.classes, classes)
    found = tuple(data.images.shape[1:])
    if found != shape:
        channels, height, width = found
        size = f"{height}" if height == width else f"[{height}, {width}]"
        raise DataError(
            f"the images are {times(found)} (channels × height × width) and the network takes "
            f"{times(shape)}\n"
            f"write `input: {{channels: {channels}, size: {size}}}` in the spec, or take other data"
        )


def check_classes(names: tuple[str, ...], classes: int) -> None:
    """Raises DataError unless there are as many names as the network tells classes apart."""
    if len(names) != classes:
        shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        raise DataError(
            f"the data have {counted(len(names), 'class', 'classes')} ({shown}) and the network "
            f"tells {classes} apart\nwrite `classes: {len(names)}` in the spec, or take other data"
        )


def times(numbers: tuple[int, ...]) -> str:
    """Lengths as they are read: 3×32×32."""
    return "×".join(map(str, numbers))


def counted(number: int, one: str, many: str) -> str:
    """A number with its noun: 1 class, 2 classes."""
    return f"{number:,} {one if number == 1 else many}"


def fingerprint(data: ArrayData) -> str:
    """SHA-256 of class names, labels and images: the same for equal data, wherever they were read from."""
    found = hashlib.sha256(repr((data.classes, data.images.shape, data.images.dtype)).encode())
    found.update(data.labels.numpy().data)
    for part in torch.split(data.images, 4096):
        found.update(part.contiguous().numpy().data)
    return found.hexdigest()


# -- data held
# Images that are held on the device, and given out in batches: for data that fit into its memory.


class Held:
    """Images (N, C, H, W) and labels (N,) on a device."""

    def __init__(self, data: ArrayData, device: torch.device) -> None:
        self.images = data.images.to(device, memory_format=torch.channels_last)
        self.labels = data.labels.to(device)

    def batches(
        self, epoch: int, order: Tensor, positions: Iterable[Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (B, C, H, W) and labels (B,) for each of `positions`, which are places (B,) in the
        `order` (N,) of the epoch."""
        order = order.to(self.labels.device)
        for here in positions:
            chosen = order[here.to(order.device)]
            yield self.images[chosen], self.labels[chosen]


class HeldAndShifted:
    """Images (N, C, H, W) and labels (N,) on a device, with `pad` pixels on each side, from which
    images of the old size are cut anywhere (He et al. 2015, section 4.2)."""

    def __init__(
        self,
        data: ArrayData,
        device: torch.device,
        pad: int,
        padded: Callable[[Tensor, int], Tensor],
        seed: int,
    ) -> None:
        self.size = data.images.shape[2:]
        self.pad, self.seed = pad, seed
        self.images = padded(data.images, pad).to(device)
        self.labels = data.labels.to(device)

    def batches(
        self, epoch: int, order: Tensor, positions: Iterable[Tensor]
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As in `Held`. Where images are cut follows from the seed and the epoch."""
        draws = stream("offsets", self.seed, epoch)
        order = order.to(self.labels.device)
        offsets = draw_offsets(len(order), self.pad, draws).to(order.device)
        height, width = self.size
        for here in positions:
            here = here.to(order.device)
            images = shifted(self.images, order[here], offsets[here], height, width)
            yield images, self.labels[order[here]]


# -- data statistics
# The mean and the standard deviation that images are standardised by. Pixels count from 0 to 1.


def channel_moments(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel over batches (B, C, H, W) of uint8, or of floats in
    [0, 1]: (C, 1, 1) float32 each, from sums in float64. Raises DataError if a channel never varies."""
    number, total, squares, scale = 0, torch.zeros(()), torch.zeros(()), 1
    for batch in batches:
        scale = 255 if batch.dtype == torch.uint8 else 1
        pixels = batch.transpose(0, 1).flatten(1).double()
        number += pixels.shape[1]
        total = total + pixels.sum(1)
        squares = squares + pixels.square().sum(1)
    mean = total / number
    std = (squares / number - mean.square()).clamp(min=0).sqrt()
    if not (std > 1e-6 * scale).all():
        raise DataError(
            "a channel of the training images is the same everywhere, and cannot be standardised\n"
            "look at the images, or write `normalise: none`"
        )
    return (mean / scale).float()[:, None, None], (std / scale).float()[:, None, None]


def evenly_spaced(count: int, most: int = 10_000) -> Tensor:
    """At most `most` of the numbers below `count`, evenly spaced: enough images to measure statistics."""
    number = min(count, most)
    return torch.arange(number) * count // number


# -- elastic
# What torchrun runs as one job, though it may start the processes several times: after a failure,
# or as machines come and go. A job goes on from what it has saved itself, and from nothing else
# that lies in its folder.


@dataclass(frozen=True)
class Job:
    """A job of torchrun, as one start of its processes sees it."""

    name: str  # the --rdzv-id, or what torchrun says in its place
    number: str  # drawn by the first start that got so far, and kept by torchrun
    drawn: bool  # by this start
    restarted: bool  # whether there were starts before, as far as torchrun counts them

    def label(self) -> list[str]:
        """What a state says of the job that has saved it."""
        return [self.name, self.number]

    def owns(self, label: Any) -> bool:
        """Whether this job has saved a state, by its label.

        torchrun keeps the number on the machine of the first process. With that machine it is lost:
        then the job is known by its name, if it has one and this is not its first start.
        """
        if label == self.label():
            return True
        named = self.name not in ("", "none") and isinstance(label, list) and label[0] == self.name
        return named and self.drawn and self.restarted


def find_job(processes: Processes) -> Job | None:
    """The job that this process belongs to; None where torchrun has not started it. All processes
    have to ask."""
    name = os.environ.get("TORCHELASTIC_RUN_ID")
    if name is None:
        return None
    # Machines count for themselves, and one that has just come has counted nothing.
    restarted = any(from_each(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0"))
    own = kept = uuid.uuid4().hex
    if processes.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = dist.TCPStore(host, port, is_master=False)  # type: ignore[attr-defined]
        kept = store.compare_set("resnet_dsl job", "", own).decode()
    number, drawn = from_first((kept, kept == own))
    return Job(name, number, drawn, restarted)


# -- evaluation
# How good scores are: sums over images, which processes can add up, and scores of several views of
# one image.

# Images (B, C, H, W) to scores (B, classes).
Score: TypeAlias = Callable[[Tensor], Tensor]


def evaluate(
    score: Score, batches: Iterable[tuple[Tensor, Tensor]], device: torch.device
) -> Tensor:
    """What `tally` says of all batches, images (B, C, H, W) with labels (B,), together: (4,)
    float64 on the device. Those of several processes add up to that of all their images.

    Nothing is read back on the way. The network is in evaluation mode already.
    """
    total = torch.zeros(4, dtype=torch.float64, device=device)
    with torch.no_grad():  # and not inference_mode: what FSDP gathers in it, training cannot use
        for images, labels in batches:
            total += tally(score(images), labels)
    return total


def tally(scores: Tensor, labels: Tensor, top: int = 5) -> Tensor:
    """Of scores (B, classes): the sum of the cross entropy, how often the label (B,) is the best
    class, how often one of the `top` best, and how many images there are: (4,) float64."""
    scores = scores.float()
    found = best_classes(scores, top) == labels[:, None]
    loss = functional.cross_entropy(scores, labels, reduction="none").double().sum()
    number = torch.full_like(loss, len(labels))
    return torch.stack([loss, found[:, 0].sum(), found.sum(), number])


def best_classes(scores: Tensor, number: int) -> Tensor:
    """The best classes of scores (B, classes), best first: (B, number), or all if there are fewer."""
    return scores.topk(min(number, scores.shape[1])).indices


# -- figures
# What is to be seen of a run: its curves as the paper draws them, and scalars for TensorBoard.


def draw_curves(history: list[dict[str, Any]], path: Path) -> bool:
    """Draws training error (thin, dashed) and test error (bold) in percent against iterations, as
    the paper does (He et al. 2015, figures 4 and 6). SVG or PNG, as the path ends; the same
    history, the lines of metrics.jsonl, gives the same bytes.

    False where matplotlib is not installed. Raises OSError where the file cannot be written.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        return False
    iterations = [line["iteration"] for line in history]
    training = [line["train_error"] for line in history]
    test = [line["test_error"] for line in history]
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot(xlabel="iterations", ylabel="error (%)")
    dot = "." if len(history) == 1 else ""
    axes.plot(iterations, training, "C0--", marker=dot, linewidth=0.8, label="training")
    axes.plot(iterations, test, "C0", marker=dot, linewidth=2.2, label="test")
    # What is far above the last three quarters is a beginning, which would press them to the ground.
    later = len(history) // 4
    top = 1.5 * max([*training[later:], *test[later:]], default=0)
    axes.set(xlim=(0, None), ylim=(0, min(top, 100) or 100))
    axes.ticklabel_format(axis="x", scilimits=(-3, 4))
    axes.grid(linewidth=0.4)
    axes.legend(frameon=False)
    buffer, kind = io.BytesIO(), path.suffix.removeprefix(".")
    with rc_context({"svg.hashsalt": "curves"}):
        unsaid = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(buffer, format=kind, dpi=150, metadata=unsaid)
    write(path, buffer.getbuffer())
    return True


def open_scalars(folder: Path, iteration: int = 0) -> Any:
    """A TensorBoard SummaryWriter for a folder, or None where tensorboard is not installed. What an
    interrupted run wrote there after `iteration` is no longer shown."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder, purge_step=iteration + 1)


# -- optimisers
# What torch has not of its own for optimisers: which parameters decay, and LAMB.


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters in two groups for an optimiser: weights, which decay, and normalisations and
    biases, which do not."""
    weights = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    return [
        {"params": weights, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


# -- parallel
# Training in several processes, started by torchrun: who is who, sums over all, and gradients that
# are averaged.

Result = TypeVar("Result")


class ProcessError(Exception):
    """The processes cannot be started so, or not on this device. Its text says why, for the user."""


@dataclass(frozen=True)
class Processes:
    """This process among those that train together."""

    rank: int  # of this process among all, the first is 0
    local_rank: int  # of this process among those on its machine
    world: int  # how many there are
    device: torch.device  # of this process alone, unless it is the CPU


def start_processes(wanted: str | None = None) -> Processes:
    """Joins the processes that torchrun started, or stands alone, where it is started without.

    The device is the one wanted, or a GPU where there is one; of several processes, each has the
    GPU of its number on its machine. Raises ProcessError.
    """
    rank, local_rank, world = torchrun_numbers()
    device = find_device(wanted, local_rank, world)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1 and not dist.is_initialized():
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
        if missing:
            raise ProcessError(f"WORLD_SIZE is {world}, and {missing[0]} is not set: use torchrun")
        # What is on the CPU goes over gloo: to ask the others something does not wait for a GPU.
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    return Processes(rank, local_rank, world, device)


def torchrun_numbers() -> tuple[int, int, int]:
    """Rank, rank on this machine, and number of processes, as torchrun says them; (0, 0, 1) where
    nothing says them. Raises ProcessError."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
    said = [os.environ.get(name) for name in names]
    if said[0] is None and said[2] is None:
        return 0, 0, 1
    try:
        rank, local_rank, world = (int(value or "") for value in said)
    except ValueError:
        values = ", ".join(f"{name}={value}" for name, value in zip(names, said, strict=True))
        raise ProcessError(
            f"the environment says {values}: start with torchrun, which sets all three, or unset "
            "them to train in one process"
        ) from None
    if not 0 <= local_rank <= rank < world:
        raise ProcessError(
            f"the environment says RANK={rank}, LOCAL_RANK={local_rank}, WORLD_SIZE={world}, and "
            "no process can be that: start with torchrun"
        )
    return rank, local_rank, world


def find_device(wanted: str | None, local_rank: int, world: int) -> torch.device:
    """The device of this process. Raises ProcessError where there is none of that name."""
    try:
        device = torch.device(wanted or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        raise ProcessError(f"--device {wanted}: torch knows no such device") from None
    if device.type not in ("cpu", "cuda"):
        raise ProcessError(f"--device {wanted}: this script runs on cpu and cuda")
    if device.type == "cpu":
        return device
    count = torch.cuda.device_count()
    if world > 1 and device.index is not None:
        raise ProcessError(f"--device {wanted}: each process has its own GPU; write --device cuda")
    if world > 1 and 0 < count <= local_rank:
        raise ProcessError(
            f"more processes than GPUs on this machine: torchrun --nproc-per-node {count}"
        )
    index = local_rank if world > 1 else device.index or 0
    if index >= count:
        raise ProcessError(f"--device {wanted}: torch sees no such GPU here")
    return torch.device("cuda", index)


def stop_processes() -> None:
    """Leaves the others, at the end."""
    if dist.is_initialized():
        dist.destroy_process_group()


def is_left(error: RuntimeError) -> bool:
    """Whether an error is that others have gone. On a CPU torch has no type of its own for it."""
    return isinstance(error, dist.DistError) or "/gloo/" in str(error)


def leave_at_once(words: str) -> None:
    """Ends this process with status 1. What ends by itself would wait for those that have gone."""
    print(words, file=sys.stderr, flush=True)
    sys.stdout.flush()
    os._exit(1)


def total(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all processes, in float64: counts are exact."""
    result = tensor.detach().to(torch.float64, copy=True)
    if dist.is_initialized() and result.numel():
        dist.all_reduce(result)
    return result


def agreed(flag: bool) -> bool:
    """Whether the flag is set in any process; all have to ask."""
    return bool(total(torch.tensor(float(flag))))


def from_first(value: Any) -> Any:
    """What the first process gives here, in every one: anything that can be pickled."""
    box = [value]
    if dist.is_initialized():
        dist.broadcast_object_list(box, device=torch.device("cpu"))
    return box[0]


def in_all(action: Callable[[], Result]) -> Result:
    """What an action gives in this process. Where it raises in any, it does in all, so that none
    waits for one that is gone: in the first process with the words of the first that failed, and
    elsewhere without words."""
    result, own = None, None
    try:
        result = action()
    except Exception as error:
        if not dist.is_initialized():
            raise
        own = error
    errors = from_each(None if own is None else (type(own), str(own)))
    for rank, found in enumerate(errors):
        if found is not None:
            kind, words = found
            said = f"process {rank}: {words}" if rank else words
            raise kind(said if dist.get_rank() == 0 else "") from own
    return cast(Result, result)


def from_each(value: Any) -> list[Any]:
    """What each process gives here, by rank: anything that can be pickled."""
    if not dist.is_initialized():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def copy_first(tensors: Iterable[Tensor]) -> None:
    """Gives tensors (of `state_dict().values()`, `buffers()`) the values of the first process."""
    if dist.is_initialized():
        for tensor in tensors:
            dist.broadcast(tensor.detach(), 0)


def wrap_ddp(network: nn.Module, device: torch.device) -> nn.Module:
    """The network with its gradients averaged over all processes while they are computed; alone, as
    it is. It begins with the weights of the first process.

    Running statistics stay those of each process: before a test, `copy_first(network.buffers())`,
    unless batch norm is synchronised.
    """
    if not dist.is_initialized():
        return network
    return DistributedDataParallel(
        network,
        device_ids=[device] if device.type == "cuda" else None,
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
    )


# -- records
# What a run shows, and writes beside its weights: its progress, metrics, outcome, and how it can be
# repeated.


def show(line: str, *, epoch_ends: bool = False) -> None:
    """A line that is written over on a terminal; elsewhere, a line for each epoch."""
    if sys.stdout.isatty():
        print(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
    elif epoch_ends:
        print(line, flush=True)


def end_line() -> None:
    """Leaves the line that is written over as it is, and goes below it."""
    if sys.stdout.isatty():
        print(flush=True)


def write_json(path: Path, value: Any) -> None:
    """Replaces a file by a value as JSON. Raises OSError."""
    write(path, (json.dumps(value, indent=2) + "\n").encode())


def begin_folder(
    out: Path, history: list[dict[str, Any]], manifest: dict[str, Any], *, resumed: bool
) -> None:
    """Makes the folder of a run, which has no outcome yet. What a run before it would have gone on
    from is put aside, unless this is that run. Raises OSError."""
    out.mkdir(parents=True, exist_ok=True)
    old = None if resumed else put_state_aside(out)
    if old is not None:
        print(f"the state of the run before this one is kept as {old}", flush=True)
    (out / "result.json").unlink(missing_ok=True)
    write(out / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in history).encode())
    write_json(out / "manifest.json", manifest)


def record(out: Path, line: dict[str, Any], scalars: Any) -> None:
    """Adds an epoch to metrics.jsonl, and to TensorBoard's scalars if there are any."""
    with (out / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    if scalars is not None:
        for name, value in line.items():
            if name not in ("epoch", "iteration"):
                scalars.add_scalar(name, value, line["iteration"])
        scalars.flush()


def first_bad(losses: Tensor, limit: float) -> int | None:
    """The first step whose loss is not a number, or above the limit; None where all are good."""
    bad = (losses <= limit).logical_not().nonzero()
    return int(bad[0]) if len(bad) else None


def measured(name: str, sums: Tensor) -> dict[str, float]:
    """The mean loss and the errors in percent, of what `tally` has summed up (4,)."""
    loss, best, five, count = sums.tolist()
    return {
        f"{name}_loss": loss / count,
        f"{name}_error": 100 - 100 * best / count,
        f"{name}_top5_error": 100 - 100 * five / count,
    }


def surroundings(device: torch.device, world: int) -> dict[str, Any]:
    """The machine and the versions that a run depends on."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "packages": installed("numpy", "pillow", "scikit-learn", "torchvision"),
        "cuda": torch.version.cuda if gpu else None,
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "gpu": gpu,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "processes": world,
    }


def installed(*names: str) -> dict[str, str]:
    """The versions of those packages that are installed."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def processor() -> str:
    """What the processor calls itself, and the instructions that torch uses of it."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        name = models[0] if models else name
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


# -- schedules
# Learning rates over time. A time and an end are in one unit, epochs or iterations, and need not be
# whole numbers; a factor is of the highest rate.


def climb(time: float, end: float, first: float, last: float) -> float:
    """A straight line from `first` at time 0 to `last` at the end: the rate in a warm-up."""
    return first + (last - first) * time / end


def cosine(time: float, end: float) -> float:
    """The factor on half a cosine, from 1 at time 0 to 0 at the end."""
    return 0.5 * (1 + math.cos(math.pi * time / end))


# -- tuning
# What is done to a network before it is trained: weights to begin from, parts that stay as they
# are.


class WeightsError(Exception):
    """The weights are not of this network. Its text says why, for the user."""


def begin_from(model: nn.Module, path: Path) -> str:
    """Gives a network the weights of a safetensors file, and says what was left out: a last layer
    for another number of classes keeps its random weights. Raises WeightsError."""
    try:
        weights = from_safetensors(path.read_bytes())
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from error
    own = model.state_dict()
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or extra:
        what = f"has no {missing[0]}" if missing else f"has {extra[0]}, which the network has not"
        raise WeightsError(f"{path} is of another network: it {what}")
    other = [name for name, value in weights.items() if value.shape != own[name].shape]
    last = list(own)[-1].rpartition(".")[0]
    for name in other:
        if name.rpartition(".")[0] != last:
            shapes = f"{tuple(weights[name].shape)} in it and {tuple(own[name].shape)} here"
            raise WeightsError(f"{path} is of another network: {name} is {shapes}")
    model.load_state_dict({**weights, **{name: own[name] for name in other}})
    if not other:
        return f"begins from {path}"
    shape = tuple(weights[other[0]].shape)
    return f"begins from {path}; `{last}` is new, since that of the file is for {shape[0]} classes"


def keep_memory() -> None:
    """Has Linux's allocator keep what a step of training has freed for the next one, rather than give
    it back and fetch it anew, page by page."""
    if sys.platform != "linux":
        return
    try:
        allocator = ctypes.CDLL(None)
        allocator.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD, in bytes
        allocator.mallopt(-3, 2**25)  # M_MMAP_THRESHOLD: the largest that there is
    except (OSError, AttributeError):  # another library than glibc
        return


if __name__ == "__main__":
    try:
        status = main()
    except (DataError, ProcessError, StateError, WeightsError, OSError) as error:
        if str(error):  # without words it is said by the first process
            print(f"train.py: {error}", file=sys.stderr)
        raise SystemExit(1 if isinstance(error, OSError) else 2) from None
    except RuntimeError as error:
        if not is_left(error):
            raise
        leave_at_once(f"train.py: another process has ended, or cannot be reached: {error}")
    stop_processes()  # with DDP gone: were it the last to know them, it could wait for ever
    raise SystemExit(status)
