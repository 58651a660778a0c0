"""The training script before a recipe is chosen. The emitter writes the settings, folds what they decide, and links
what the rest refers to; this module itself is linted, typed and never run."""

from __future__ import annotations

import argparse
import functools
import math
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

if __name__ == "__main__":  # Ctrl-C ends the script quietly, also while torch is imported
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.transforms import v2

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for repeatable sums on a GPU

from resnet_dsl.runtime.augment import (
    alternate_flips,
    as_operand,
    cut_out,
    draw_boxes,
    draw_centres,
    draw_flips,
    draw_lights,
    erased,
    imagenet_colours,
    lit,
    mirrored,
    padded_black,
    padded_reflect,
    standardised,
)
from resnet_dsl.runtime.chance import random_states, restore_random, stream
from resnet_dsl.runtime.checkpoints import (
    StateError,
    digest,
    has_state,
    load_state,
    save_state,
    to_safetensors,
    write,
)
from resnet_dsl.runtime.data import (
    DataError,
    check_classes,
    check_fits,
    fake_images,
    fingerprint,
    hold_out,
    load_digits_images,
)
from resnet_dsl.runtime.data_cifar import load_cifar
from resnet_dsl.runtime.data_files import (
    check_file_sizes,
    fingerprint_files,
    hold_out_files,
    open_folder,
)
from resnet_dsl.runtime.data_folder import load_folders
from resnet_dsl.runtime.data_held import Held, HeldAndShifted, resized, sample_held
from resnet_dsl.runtime.data_images import OfSize, centre_crop
from resnet_dsl.runtime.data_shards import fingerprint_shards, open_shards, shard_order
from resnet_dsl.runtime.data_statistics import (
    channel_moments,
    check_statistics,
    evenly_spaced,
    mean_of_images,
)
from resnet_dsl.runtime.data_streams import Streamed
from resnet_dsl.runtime.elastic import Job, find_job
from resnet_dsl.runtime.evaluation import evaluate, mirrored_scores
from resnet_dsl.runtime.figures import draw_curves, open_scalars
from resnet_dsl.runtime.mixing import (
    binary_loss,
    cutmix,
    mixup,
    mixup_or_cutmix,
    one_hot,
    present,
    smoothed,
    step_dice,
)
from resnet_dsl.runtime.network import network
from resnet_dsl.runtime.optimisers import Lamb, decay_groups
from resnet_dsl.runtime.parallel import (
    ProcessError,
    Processes,
    agreed,
    average_ddp,
    by_machine,
    copy_first,
    from_each,
    from_first,
    in_all,
    is_left,
    leave_at_once,
    start_processes,
    stop_processes,
    total,
    wrap_ddp,
)
from resnet_dsl.runtime.recompute import recompute
from resnet_dsl.runtime.records import (
    MEAN_IMAGE,
    begin_folder,
    end_line,
    first_bad,
    measured,
    record,
    show,
    surroundings,
    write_json,
)
from resnet_dsl.runtime.schedules import ErrorWarmUp, Plateau, climb, cosine, linear, stepped
from resnet_dsl.runtime.sharding import (
    average_fsdp,
    blend_sharded,
    load_whole_optimiser_state,
    load_whole_state,
    recompute_sharded,
    whole_optimiser_state,
    whole_state,
    wrap_fsdp,
)
from resnet_dsl.runtime.synchronised_norm import synchronise
from resnet_dsl.runtime.transforms import (
    RandAugment,
    ScaleCrop,
    area_crop,
    trivial_augment,
)
from resnet_dsl.runtime.tuning import (
    WeightsError,
    begin_from,
    fast_bfloat16,
    freeze,
    in_bfloat16,
    keep_memory,
)

# -- settings
# What is trained, and on what.
NETWORK: str = "network"
SPEC: str = "network"  # what the network was compiled from
OVERRIDES: tuple[str, ...] = ()  # with these words of `--set`
SPEC_SHA256: str = ""
DATA: Any = "digits"
DATA_PATH: str = ""  # where the images lie; --data names another place
DOWNLOAD: bool = False  # fetches them if they are not there
VALIDATION: int = 0  # training images held out to choose the best epoch
MEMORY: bool = True  # all images are held on the device
CLASSES: int = 10
SHAPE: tuple[int, int, int] = (3, 32, 32)  # of an image: channels, height, width
TRAIN_SIZE: tuple[int, int] = (32, 32)  # height and width of training images
RESIZE: int | None = None  # pixels of the shorter side before the centre crop
WORKERS: int | None = None  # processes that decode images
NORMALISE: str = "channel"
MEAN: tuple[float, ...] | None = None  # of each channel, black being 0 and white 1
STD: tuple[float, ...] | None = None

# How training images are varied. Lengths in pixels.
PAD: int = 0  # on each side, before an image of the old size is cut from anywhere
PAD_MODE: str = "black"
FLIP: str = "none"
CUTOUT: int = 0  # side of a square that is blotted out
CROP: str = "none"
SCALE_RANGE: tuple[int, int] = (256, 480)  # of the shorter side
AREA_RANGE: tuple[float, float] = (0.08, 1.0)  # a crop's share of the image
RATIO_RANGE: tuple[float, float] = (0.75, 1.3333)  # of its width to its height
COLOUR_PCA: float = 0.0  # deviation along the principal colours
AUTO_AUGMENT: str = "none"
RAND_OPS: int = 2
RAND_MAGNITUDE: float = 3.0  # of 10
RAND_STD: float = 0.0  # deviation of the magnitude
ERASING: float = 0.0  # probability that a box is blotted out
MIXUP: float = 0.0  # both shares are drawn from Beta(MIXUP, MIXUP)
CUTMIX: float = 0.0  # likewise
REPEATS: int = 1  # copies of an image in an epoch

# How the network learns.
BATCH_SIZE: int = 128  # of all processes together
ACCUMULATE: int = 1  # micro-batches in a batch
EPOCHS: int = 0  # in which all times below are given
ITERATIONS: int = 0  # in which all times below are given
OPTIMISER: str = "sgd"
LR: float = 0.1  # the highest learning rate
MOMENTUM: float = 0.9
BETA2: float = 0.999
NESTEROV: bool = False
WEIGHT_DECAY: float = 0.0
DECAY_NORMS: bool = False
CLIP: float = 0.0  # the largest norm of all gradients together
LOSS: str = "cross_entropy"
LABEL_SMOOTHING: float = 0.0
SCHEDULE: str = "cosine"
MILESTONES: tuple[int, ...] = ()
GAMMA: float = 0.1  # what the rate is multiplied by
PATIENCE: int = 10  # epochs without a lower error, after which it is
WARMUP: int = 0
WARMUP_LR: float = 0.0  # the rate that it begins with
WARMUP_ERROR: float | None = None  # percent; above it the rate stays WARMUP_LR
EMA: float = 0.0  # of the weights; the average is what is tested and kept
EMA_EVERY: int = 1  # iterations between two updates of the average
FREEZE: tuple[str, ...] = ()  # parts that stay as they are
LOSS_LIMIT: float = 100.0  # a loss above it ends the training

# Where it runs.
SEED: int = 0
THREADS: int | None = None
PRECISION: str = "fp32"
COMPILE: str = "never"
PARALLEL: str = "ddp"
SYNC_BATCHNORM: bool = False
RECOMPUTE: tuple[str, ...] = ()  # stages whose activations are computed again for the gradient
SAVE_MINUTES: float = 10.0  # between two saves within an epoch
TEST_FLIP: bool = False
OUT: str = "runs/network"
FOLDER: str = ""  # where the commands at the end are to write

# All of them, as the manifest of a run says them.
SETTINGS = {
    name: value
    for name, value in list(globals().items())
    if name.isupper() and not isinstance(value, type)
}
# -- end of the settings


def load_data(path: Path) -> tuple[Any, Any]:
    """The images for training, and those for the test. Raises DataError."""
    if DATA == "folder" and MEMORY:
        train, test = load_folders(
            path,
            ("train", "test"),
            channels=SHAPE[0],
            size=SHAPE[1:],
            resize=RESIZE,
        )
        return train, test
    if DATA == "shards":
        open_split: Any = functools.partial(open_shards, path, channels=SHAPE[0], classes=CLASSES)
    elif DATA == "folder":
        open_split = functools.partial(open_folder, path, channels=SHAPE[0])
    else:
        open_split = functools.partial(load_cifar, path, DATA, download=DOWNLOAD)
    return open_split("train"), open_split("test")


def load_images(options: argparse.Namespace) -> tuple[Any, Any, dict[str, str]]:
    """The images for training, those for the test, and their hashes. Raises DataError."""
    if DATA == "digits":
        train: Any = load_digits_images("train")
        test: Any = load_digits_images("test")
    elif DATA == "fake":
        train = fake_images(4 * BATCH_SIZE, SHAPE, CLASSES, seed=0)
        test = fake_images(BATCH_SIZE, SHAPE, CLASSES, seed=1)
    else:
        train, test = load_data(options.data)
    if RESIZE is not None and MEMORY and DATA in ("digits", "cifar10", "cifar100"):
        train, test = (resized(data, SHAPE[1:], RESIZE) for data in (train, test))
    return train, test, check_data(train, test)


def check_data(train: Any, test: Any) -> dict[str, str]:
    """A hash of the images for training, and of those for the test. Raises DataError where they are
    not what the network is for."""
    if DATA == "shards":
        return {"train": fingerprint_shards(train), "test": fingerprint_shards(test)}
    if DATA == "folder" and not MEMORY:
        for data in (train, test):
            check_classes(data.classes, CLASSES)
        if CROP == "none":
            check_file_sizes(train, SHAPE[1:])
        if RESIZE is None:
            check_file_sizes(test, SHAPE[1:])
        return {"train": fingerprint_files(train), "test": fingerprint_files(test)}
    for data in (train, test):
        if CROP == "none":
            check_fits(data, shape=SHAPE, classes=CLASSES)
        else:
            check_classes(data.classes, CLASSES)
    return {"train": fingerprint(train), "test": fingerprint(test)}


def check_alike(found: list[dict[str, str]], state: dict[str, Any]) -> None:
    """Raises DataError where a process has other images than the first, StateError where they are
    others than those that a run began with."""
    for rank, digests in enumerate(found):
        if digests != found[0]:
            raise DataError(f"process {rank} has other images than the first process")
    if state and state["data"] != found[0]:
        raise StateError("--resume: the images are others than those that the run began with")


def workers() -> int:
    """How many processes decode images for this one."""
    if WORKERS is not None:
        return WORKERS
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, (os.cpu_count() or 1) // here)


def streamed(data: Any, transform: Any, seed: int) -> Streamed:
    """Images as batches, of which each is read, and changed by `transform`, when it is needed."""
    if DATA in ("shards", "folder"):
        return Streamed(data.sample, transform, seed=seed, workers=workers())
    return Streamed(functools.partial(sample_held, data), transform, seed=seed, workers=workers())


def training_transform() -> Any:
    """What is done to an image before it is trained on, as far as it is done one by one."""
    parts: list[Any] = []
    if CROP == "none":
        parts.append(OfSize(SHAPE[1:]))
    if CROP == "scale":
        parts.append(ScaleCrop(TRAIN_SIZE, SCALE_RANGE))
    if CROP == "area":
        parts.append(area_crop(TRAIN_SIZE, AREA_RANGE, RATIO_RANGE))
    if PAD and PAD_MODE == "reflect":
        parts.append(v2.RandomCrop(TRAIN_SIZE, padding=PAD, padding_mode="reflect"))
    elif PAD:
        parts.append(v2.RandomCrop(TRAIN_SIZE, padding=PAD))
    if AUTO_AUGMENT == "trivial":
        parts.append(trivial_augment())
    if AUTO_AUGMENT == "rand":
        parts.append(RandAugment(RAND_OPS, RAND_MAGNITUDE, RAND_STD))
    return v2.Compose([*parts, v2.PILToTensor()])


def testing_source(data: Any, device: torch.device) -> Any:
    """Images as batches, as they are tested: nothing in them is left to chance."""
    if MEMORY:
        return Held(data, device)
    if RESIZE is not None:
        return streamed(data, centre_crop(SHAPE[1:], RESIZE), seed=0)
    return streamed(data, v2.Compose([OfSize(SHAPE[1:]), v2.PILToTensor()]), seed=0)


def statistics(data: Any, processes: Processes) -> tuple[Tensor, Tensor]:
    """The mean and the deviation that images are standardised by, measured on those for training.
    Raises DataError."""
    chosen = evenly_spaced(len(data))
    places = torch.split(torch.arange(len(chosen)), 256)
    batches = testing_source(data, processes.device).batches(0, chosen, places)
    if NORMALISE == "pixel":
        return mean_of_images(images for images, _ in batches), torch.ones(())
    mean, std = channel_moments(images for images, _ in batches)
    if MEAN is not None and STD is not None:
        note = check_statistics(mean, std, MEAN, STD)
        if note and processes.rank == 0:
            print(note, file=sys.stderr)
        return torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return mean, std


def shares(count: int, first: int, processes: Processes) -> Iterator[tuple[int, Tensor]]:
    """From step `first` of an epoch of `count` images on, for each micro-batch: the step, and which
    places (B,) of the epoch's order fall to this process. Processes stand side by side in a
    micro-batch, and a rest of the epoch that fills no batch is left."""
    if ACCUMULATE == 1:
        size = BATCH_SIZE // processes.world
        for step in range(first, count // BATCH_SIZE):
            start = step * BATCH_SIZE + processes.rank * size
            yield step, torch.arange(start, start + size)
    else:
        size = BATCH_SIZE // ACCUMULATE // processes.world
        for step in range(first, count // BATCH_SIZE):
            for number in range(ACCUMULATE):
                start = step * BATCH_SIZE + (number * processes.world + processes.rank) * size
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
    if DATA != "shards" or FLIP == "random" or COLOUR_PCA or CUTOUT or ERASING:
        draws = stream("epoch", seed, epoch)
    if DATA == "shards":
        order = shard_order(
            data,
            seed=seed,
            epoch=epoch,
            batch=BATCH_SIZE,
            streams=processes.world * ACCUMULATE,
            window=4096,
        )
    elif REPEATS > 1:
        # The copies of an image stand in a batch, and apart: neighbours would be mixed.
        parts = torch.split(torch.randperm(count, generator=draws), BATCH_SIZE // REPEATS)
        order = torch.cat([part.repeat(REPEATS) for part in parts])[:count]
    else:
        order = torch.randperm(count, generator=draws)
    if FLIP == "random":
        flips = draw_flips(count, draws).to(device)
    if FLIP == "alternate":
        flips = alternate_flips(count, seed, epoch)[order].to(device)
    if COLOUR_PCA:
        lights = draw_lights(count, imagenet_colours(), COLOUR_PCA, draws).to(device)
    if CUTOUT:
        centres = draw_centres(count, *TRAIN_SIZE, draws).to(device)
    if ERASING:
        boxes = draw_boxes(count, *TRAIN_SIZE, ERASING, draws).to(device)
    places = list(shares(count, first, processes))
    batches = source.batches(epoch, order, [share for _, share in places])
    for (step, here), (images, labels) in zip(places, batches, strict=True):
        images = images.to(device, memory_format=torch.channels_last, non_blocking=True)
        labels = labels.to(device, non_blocking=True)
        mean, std = (as_operand(part, images) for part in standard)
        if FLIP != "none":
            images = mirrored(images, flips[here])
        if COLOUR_PCA:
            images = lit(images, lights[here])
        images = standardised(images, mean, std)
        if CUTOUT:
            images = cut_out(images, centres[here], CUTOUT)
        if ERASING:
            images = erased(images, boxes[here])
        if LOSS == "bce" or MIXUP or CUTMIX:
            targets = one_hot(labels, CLASSES)
        else:
            targets = labels
        if LOSS != "bce" and LABEL_SMOOTHING and (MIXUP or CUTMIX):
            targets = smoothed(targets, LABEL_SMOOTHING)
        if MIXUP and CUTMIX:
            dice = step_dice(seed, epoch, step)
            images, targets = mixup_or_cutmix(images, targets, (MIXUP, CUTMIX), dice)
        elif MIXUP:
            images, targets = mixup(images, targets, MIXUP, step_dice(seed, epoch, step))
        elif CUTMIX:
            images, targets = cutmix(images, targets, CUTMIX, step_dice(seed, epoch, step))
        if LOSS == "bce" and (MIXUP or CUTMIX):
            targets = present(targets, 0.2)
        if LOSS == "bce" and LABEL_SMOOTHING:
            targets = smoothed(targets, LABEL_SMOOTHING)
        yield images, targets, labels


def testing_batches(
    source: Any, data: Any, standard: tuple[Tensor, Tensor], processes: Processes
) -> Iterator[tuple[Tensor, Tensor]]:
    """What of the images falls to this process: standardised (B, C, H, W), and labels (B,)."""
    own = torch.arange(processes.rank, len(data), processes.world)
    if PARALLEL == "fsdp":
        # All processes have as many batches: they gather the weights for each together.
        most = math.ceil(len(data) / processes.world)
        places = own.tensor_split(math.ceil(most / BATCH_SIZE))
    else:
        places = torch.split(own, BATCH_SIZE)
    batches = source.batches(0, torch.arange(len(data)), places)
    for images, labels in batches:
        images = images.to(processes.device, memory_format=torch.channels_last)
        mean, std = (as_operand(part, images) for part in standard)
        yield standardised(images, mean, std), labels.to(processes.device)


def learning_rate(time: float, end: float) -> float:
    """The rate at a time of a training that ends at another."""
    if WARMUP and time < WARMUP:
        return climb(time, WARMUP, WARMUP_LR, LR)
    if SCHEDULE == "cosine":
        return LR * cosine(time - WARMUP, end - WARMUP) if WARMUP else LR * cosine(time, end)
    if SCHEDULE == "linear":
        return LR * linear(time - WARMUP, end - WARMUP) if WARMUP else LR * linear(time, end)
    if SCHEDULE == "milestones":
        return LR * stepped(time, MILESTONES, GAMMA)
    return LR


def make_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of all parameters that learn."""
    if DECAY_NORMS or not WEIGHT_DECAY:
        weights: Any = model.parameters()
    else:
        weights = decay_groups(model, WEIGHT_DECAY)
    if OPTIMISER == "sgd":
        return torch.optim.SGD(
            weights,
            lr=LR,
            momentum=MOMENTUM,
            nesterov=NESTEROV,
            weight_decay=WEIGHT_DECAY,
            fused=PARALLEL == "ddp",
        )
    if OPTIMISER == "adamw":
        return torch.optim.AdamW(
            weights,
            lr=LR,
            betas=(MOMENTUM, BETA2),
            weight_decay=WEIGHT_DECAY,
            fused=PARALLEL == "ddp",
        )
    return Lamb(weights, lr=LR, betas=(MOMENTUM, BETA2), weight_decay=WEIGHT_DECAY)


def learn(forward: Any, images: Tensor, targets: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Adds the gradients of a micro-batch: standardised images (B, C, H, W), what they are to be
    told as, and labels (B,). The loss, and how many images are told right."""
    scores = forward(images)
    if LOSS == "bce":
        loss = binary_loss(scores, targets)
    elif MIXUP or CUTMIX or not LABEL_SMOOTHING:
        loss = functional.cross_entropy(scores, targets)
    else:
        loss = functional.cross_entropy(scores, targets, label_smoothing=LABEL_SMOOTHING)
    if ACCUMULATE > 1:
        loss = loss / ACCUMULATE
    torch.autograd.backward(loss)
    return loss.detach(), (scores.argmax(1) == labels).sum()


def best_of(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The epoch with the lowest error, the first of equal ones."""
    if VALIDATION:
        return min(history, key=lambda line: float(line["validation_error"]))
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
    if ACCUMULATE > 1:
        parts *= ACCUMULATE
    if MIXUP or CUTMIX:
        parts *= 2  # images are mixed in pairs
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
    if ACCUMULATE > 1:
        own += f", in {ACCUMULATE} micro-batches"
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
    if OVERRIDES:
        spec += [word for override in OVERRIDES for word in ("--set", override)]
    weights = ["--weights", result["weights"]]
    build = ["resnet-dsl", "build", *spec, "--target", "onnx", *weights]
    if FOLDER:
        build += ["--out", FOLDER]
    print(f"weights: {result['weights']}")
    print(f"next: {shlex.join(['resnet-dsl', 'eval', *spec, *weights])}")
    print(f"      {shlex.join(build)}")


def arguments() -> argparse.Namespace:
    """The command line. Ends with status 2 where it cannot be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if EPOCHS:
        parser.add_argument("--epochs", dest="end", type=int, help=f"how long to train [{EPOCHS}]")
    else:
        parser.add_argument(
            "--iterations", dest="end", type=int, help=f"how long to train [{ITERATIONS}]"
        )
    parser.add_argument("--seed", type=int, help=f"of the weights and the order [{SEED}]")
    if DATA_PATH:
        parser.add_argument("--data", type=Path, default=Path(DATA_PATH), help=f"[{DATA_PATH}]")
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
    end: int = options.end or state.get("end", EPOCHS if EPOCHS else ITERATIONS)

    # The images.
    if DOWNLOAD and DATA in ("cifar10", "cifar100") and processes.world > 1:
        by_machine(lambda: load_data(options.data), processes)
    train, test, digests = in_all(lambda: load_images(options))
    found = from_each(digests)
    in_all(lambda: check_alike(found, state))
    if VALIDATION:
        divide: Any = hold_out_files if DATA == "folder" and not MEMORY else hold_out
        train, held = divide(train, VALIDATION, seed=0)
    steps = in_all(lambda: steps_of(len(train), processes.world))
    iterations = end * steps if EPOCHS else end

    # The network, with the same weights in every process.
    if THREADS is not None:
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
    if PARALLEL == "ddp":  # FSDP spreads weights that lie in their own order only
        nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
    if SYNC_BATCHNORM:
        synchronise(model, device)
    if FREEZE:
        freeze(model, FREEZE)
    if RECOMPUTE:
        for name in RECOMPUTE:
            stage: Any = model.get_submodule(name)
            if PARALLEL == "fsdp":
                recompute_sharded(stage)
            else:
                recompute(stage)
    if EMA:
        blend: Any = get_ema_multi_avg_fn(EMA)  # type: ignore[no-untyped-call]
        if PARALLEL == "fsdp":
            blend = blend_sharded(blend)
        average = AveragedModel(model, multi_avg_fn=blend, use_buffers=True)
    if PARALLEL == "fsdp":
        if EMA:
            wrap_fsdp(average.module, processes)
        wrap_fsdp(model, processes)
    optimizer = make_optimizer(model)
    if SCHEDULE == "plateau":
        plateau = Plateau(GAMMA, PATIENCE)
    if WARMUP_ERROR is not None:
        warm_up = ErrorWarmUp(WARMUP_ERROR, device)
    torch.manual_seed(seed + processes.rank)  # each process draws its own numbers for dropout

    # The images in batches, and what they are standardised by.
    if MEMORY and PAD and PAD_MODE == "reflect":
        source: Any = HeldAndShifted(train, device, PAD, padded_reflect, seed)
    elif MEMORY and PAD:
        source = HeldAndShifted(train, device, PAD, padded_black, seed)
    elif MEMORY:
        source = Held(train, device)
    else:
        source = streamed(train, training_transform(), seed)
    tests = testing_source(test, device)
    if VALIDATION:
        holds = testing_source(held, device)
    if NORMALISE == "none":
        mean, std = torch.zeros(()), torch.ones(())
    else:
        mean, std = state["standard"] if state else in_all(lambda: statistics(train, processes))
    standard = mean.to(device), std.to(device)

    # In each step of an epoch: the loss, and how many images were told right. In the last steps they
    # are those of this process.
    losses, hits = torch.zeros(steps, device=device), torch.zeros(steps, device=device)
    history: list[dict[str, Any]] = state.get("history", [])
    first: int = state.get("iteration", 0)
    if state:
        if PARALLEL == "fsdp":
            load_whole_state(model, state["model"])
            load_whole_optimiser_state(model, optimizer, state["optimizer"])
        else:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
        if EMA and PARALLEL == "fsdp":
            load_whole_state(average.module, state["average"])
        elif EMA:
            average.module.load_state_dict(state["average"])
        if EMA:
            average.n_averaged.fill_(state["averaged"])
        if SCHEDULE == "plateau":
            plateau.load_state_dict(state["plateau"])
        if WARMUP_ERROR is not None:
            warm_up.load_state_dict(state["warm_up"])
        restore_random(state["random"], processes)
        losses.copy_(state["losses"])
        hits.copy_(state["hits"])
    if PARALLEL == "fsdp":
        learner: Any = model
    else:
        learner = wrap_ddp(model, device)
    forward: Any = learner
    if COMPILE == "always" or (COMPILE == "cuda" and device.type == "cuda"):
        forward = torch.compile(learner)
    if PRECISION == "bf16" or (PRECISION == "auto" and fast_bfloat16(device)):
        forward = in_bfloat16(forward, device)
    tested: nn.Module = average.module if EMA else model
    score = mirrored_scores(tested) if TEST_FLIP else tested

    begun_from = digest(options.weights) if options.weights else state.get("begun_from")
    manifest: dict[str, Any] = {
        "network": NETWORK,
        "spec": SPEC,
        "spec_sha256": SPEC_SHA256,
        "overrides": OVERRIDES if OVERRIDES else [],
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
        if PARALLEL == "fsdp":
            now["model"] = whole_state(model)
            now["optimizer"] = whole_optimiser_state(model, optimizer)
        else:
            now["model"] = model.state_dict()
            now["optimizer"] = optimizer.state_dict()
        if EMA and PARALLEL == "fsdp":
            now["average"] = whole_state(average.module)
        elif EMA:
            now["average"] = average.module.state_dict()
        if EMA:
            now["averaged"] = int(average.n_averaged)
        if SCHEDULE == "plateau":
            now["plateau"] = plateau.state_dict()
        if WARMUP_ERROR is not None:
            now["warm_up"] = warm_up.state_dict()
        weights = now["average" if EMA else "model"]
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
        if NORMALISE == "pixel":
            write(out / MEAN_IMAGE, to_safetensors({"mean": mean}, {}))

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
        if FREEZE:
            freeze(model, FREEZE)
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
            rate = learning_rate(middle / steps if EPOCHS else middle, end)
            if SCHEDULE == "plateau":
                rate *= plateau.factor
            if WARMUP_ERROR is not None:
                rate = rate if warm_up.over else WARMUP_LR
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            if ACCUMULATE == 1:
                losses[step], hits[step] = learn(forward, *next(batches))
            else:
                losses[step], hits[step] = 0, 0
                for number in range(ACCUMULATE):
                    if PARALLEL == "fsdp":
                        average_fsdp(learner, number == ACCUMULATE - 1)
                    else:
                        average_ddp(learner, number == ACCUMULATE - 1)
                    loss, right = learn(forward, *next(batches))
                    losses[step] += loss
                    hits[step] += right
            if WARMUP_ERROR is not None and not warm_up.over:
                warm_up.look(total(hits[step]), BATCH_SIZE)
            if CLIP:
                nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            if EMA and iteration % EMA_EVERY == 0:
                average.update_parameters(model)
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
        if VALIDATION:
            answers = testing_batches(holds, held, standard, processes)
            line |= measured("validation", total(evaluate(score, answers, device)))
        line |= {"images_per_second": speed, "seconds": seconds()}
        history.append(line)
        if SCHEDULE == "plateau":
            plateau.look(line["validation_error" if VALIDATION else "test_error"])
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
            "path": str(options.data) if DATA_PATH else None,
            "data_fingerprint": digests,
            "classes": list(train.classes),
            "seed": seed,
            "epochs": len(history),
            "iterations": iteration,
            "test_accuracy": 100 - history[-1]["test_error"],
            "best_test_accuracy": 100 - best["test_error"],
            "best_epoch": best["epoch"],
            "selected_on": "validation" if VALIDATION else "test",
            "seconds": round(took, 3),
            "weights": str(last_file),
            "best_weights": str(best_file),
            "weights_sha256": digests_of_weights,
            "resize": RESIZE if RESIZE is not None else None,
            "normalise": NORMALISE,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            **surroundings(device, processes.world),
        }
        if NORMALISE == "pixel":
            result["mean_image"] = MEAN_IMAGE
        else:
            result |= {"mean": mean.flatten().tolist(), "std": std.flatten().tolist()}
        finish(out, result, history)
    return 0


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
