"""The training script before a recipe is chosen. The emitter writes the settings, folds what they decide, and links
what the rest refers to; this module itself is linted, typed and never run."""

from __future__ import annotations

import argparse
import functools
import json
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
from resnet_dsl.runtime.chance import random_states, restore_random
from resnet_dsl.runtime.checkpoints import (
    StateError,
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
from resnet_dsl.runtime.data_folder import load_folder
from resnet_dsl.runtime.data_held import Held, HeldAndShifted
from resnet_dsl.runtime.data_images import centre_crop
from resnet_dsl.runtime.data_shards import fingerprint_shards, open_shards, shard_order
from resnet_dsl.runtime.data_statistics import (
    channel_moments,
    check_statistics,
    evenly_spaced,
    mean_of_images,
)
from resnet_dsl.runtime.data_streams import Streamed
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
    copy_first,
    from_first,
    start_processes,
    stop_processes,
    total,
    wrap_ddp,
)
from resnet_dsl.runtime.recompute import recompute
from resnet_dsl.runtime.records import (
    begin_folder,
    end_line,
    first_bad,
    measured,
    record,
    show,
    surroundings,
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
from resnet_dsl.runtime.tuning import WeightsError, begin_from, fast_bfloat16, freeze, keep_memory

# -- settings
# What is trained, and on what.
NETWORK: str = "network"
SPEC: str = "network"
SPEC_HASH: str = ""
OVERRIDES: tuple[str, ...] = ()
FOLDER: str = ""
DATA: Any = "digits"  # digits, cifar10, cifar100, folder, shards or fake
DATA_PATH: str = ""  # where the images lie; --data says another place
DOWNLOAD: bool = False
VALIDATION: int = 0  # training images held out to choose the best epoch
MEMORY: bool = True
CLASSES: int = 10
SHAPE: tuple[int, int, int] = (3, 32, 32)  # channels, height, width
TRAIN_SIZE: int | None = None  # height and width of the images for training
RESIZE: int | None = None  # shorter side before the centre crop
WORKERS: int | None = None
NORMALISE: str = "channel"  # channel, pixel or none
MEAN: tuple[float, ...] | None = None
STD: tuple[float, ...] | None = None

# How its images are drawn. Lengths in pixels.
PAD: int = 0
PAD_MODE: str = "black"
FLIP: str = "none"
CUTOUT: int = 0
CROP: str = "none"
SCALE_RANGE: tuple[int, int] = (256, 480)
AREA_RANGE: tuple[float, float] = (0.08, 1.0)
RATIO_RANGE: tuple[float, float] = (0.75, 1.3333)
COLOUR_PCA: float = 0.0
AUTO_AUGMENT: str = "none"
RAND_OPS: int = 2
RAND_MAGNITUDE: float = 3.0
RAND_STD: float = 0.0
ERASING: float = 0.0  # the probability
MIXUP: float = 0.0
CUTMIX: float = 0.0
REPEATS: int = 1
BATCH_SIZE: int = 128  # of all processes and micro-batches together
ACCUMULATE: int = 1

# How it learns. Times in epochs.
EPOCHS: int = 0
ITERATIONS: int = 0
OPTIMISER: str = "sgd"
LR: float = 0.1
MOMENTUM: float = 0.9
BETA2: float = 0.999
NESTEROV: bool = False
WEIGHT_DECAY: float = 0.0
DECAY_NORMS: bool = False
CLIP: float = 0.0
LOSS: str = "cross_entropy"
LABEL_SMOOTHING: float = 0.0
SCHEDULE: str = "cosine"
MILESTONES: tuple[int, ...] = ()
GAMMA: float = 0.1
PATIENCE: int = 10
WARMUP: int = 0
WARMUP_LR: float = 0.0
WARMUP_ERROR: float | None = None  # percent
EMA: float = 0.0
EMA_EVERY: int = 1
FREEZE: tuple[str, ...] = ()
LOSS_LIMIT: float = 100.0
TEST_FLIP: bool = False

# Where it runs.
SEED: int = 0
THREADS: int | None = None
PRECISION: str = "fp32"  # fp32, bf16, or auto: bf16 where the processor has it
COMPILE: str = "never"
PARALLEL: str = "ddp"
SYNC_BATCHNORM: bool = False
RECOMPUTE: tuple[str, ...] = ()
SAVE_MINUTES: float = 10.0
OUT: str = "runs/network"
# -- end of the settings


def load_data(path: Path) -> tuple[Any, Any]:
    """The images for training, and those for the test."""
    if DATA == "digits":
        return load_digits_images("train"), load_digits_images("test")
    if DATA == "fake":
        train = fake_images(4 * BATCH_SIZE, SHAPE, CLASSES, seed=0)
        return train, fake_images(BATCH_SIZE, SHAPE, CLASSES, seed=1)
    open_split: Any
    if DATA == "shards":
        open_split = functools.partial(open_shards, path, channels=SHAPE[0], classes=CLASSES)
    elif DATA == "folder" and MEMORY:
        open_split = functools.partial(
            load_folder,
            path,
            channels=SHAPE[0],
            size=SHAPE[1:],
            resize=RESIZE,
        )
    elif DATA == "folder":
        open_split = functools.partial(open_folder, path, channels=SHAPE[0])
    else:
        open_split = functools.partial(load_cifar, path, DATA, download=DOWNLOAD)
    return open_split(split="train"), open_split(split="test")


def check_data(data: Any) -> str:
    """A hash of the data. Raises DataError where they are not what the network is for."""
    if DATA == "shards":
        return fingerprint_shards(data)
    if MEMORY:
        check_fits(data, shape=SHAPE, classes=CLASSES)
        return fingerprint(data)
    check_classes(data.classes, CLASSES)
    if CROP == "none" and RESIZE is None:
        check_file_sizes(data, SHAPE[1:])
    return fingerprint_files(data)


def workers() -> int:
    """How many processes decode images for this one."""
    if WORKERS is not None:
        return WORKERS
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, (os.cpu_count() or 1) // here)


def training_source(data: Any, seed: int, processes: Processes) -> Any:
    """The training images as batches: cut and changed where that is done image by image."""
    if MEMORY and PAD and PAD_MODE == "reflect":
        return HeldAndShifted(data, processes.device, PAD, padded_reflect, seed)
    if MEMORY and PAD:
        return HeldAndShifted(data, processes.device, PAD, padded_black, seed)
    if MEMORY:
        return Held(data, processes.device)
    size = (TRAIN_SIZE, TRAIN_SIZE) if TRAIN_SIZE is not None else SHAPE[1:]
    parts: list[Any] = []
    if CROP == "scale":
        parts.append(ScaleCrop(size, SCALE_RANGE))
    elif CROP == "area":
        parts.append(area_crop(size, AREA_RANGE, RATIO_RANGE))
    elif PAD and PAD_MODE == "reflect":
        parts.append(v2.RandomCrop(size, padding=PAD, padding_mode="reflect"))
    elif PAD:
        parts.append(v2.RandomCrop(size, padding=PAD))
    if AUTO_AUGMENT == "trivial":
        parts.append(trivial_augment())
    elif AUTO_AUGMENT == "rand":
        parts.append(RandAugment(RAND_OPS, RAND_MAGNITUDE, RAND_STD))
    transform = v2.Compose([*parts, v2.PILToTensor()])
    return Streamed(data.sample, transform, seed=seed, workers=workers())


def testing_source(data: Any, processes: Processes) -> Any:
    """Images as batches, as they are tested: nothing in them is left to chance."""
    if MEMORY:
        return Held(data, processes.device)
    transform = centre_crop(SHAPE[1:], RESIZE) if RESIZE is not None else v2.PILToTensor()
    return Streamed(data.sample, transform, seed=0, workers=workers())


def statistics(data: Any, processes: Processes) -> tuple[Tensor, Tensor]:
    """The mean and the deviation that images are standardised by, measured on those for training."""
    if NORMALISE == "none":
        return torch.zeros(()), torch.ones(())
    chosen = evenly_spaced(len(data))
    batches = testing_source(data, processes).batches(
        0, chosen, torch.split(torch.arange(len(chosen)), 256)
    )
    if NORMALISE == "pixel":
        return mean_of_images(images for images, _ in batches), torch.ones(())
    mean, std = channel_moments(images for images, _ in batches)
    if MEAN is not None and STD is not None:
        if note := check_statistics(mean, std, MEAN, STD):
            print(note, file=sys.stderr)
        return torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return mean, std


def shares(count: int, first: int, processes: Processes) -> Iterator[tuple[int, Tensor]]:
    """From step `first` of an epoch of `count` images on, for each micro-batch: the step, and which
    places (B,) of the epoch's order fall to this process. Processes stand side by side in a
    micro-batch, and a rest of the epoch that fills no batch is left."""
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
    draws = torch.Generator().manual_seed(100_003 * seed + epoch)
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
        # The copies of an image are in one batch, and are no neighbours in it.
        parts = torch.split(torch.randperm(count, generator=draws), BATCH_SIZE // REPEATS)
        order = torch.cat([part.repeat(REPEATS) for part in parts])[:count]
    else:
        order = torch.randperm(count, generator=draws)
    if FLIP == "random":
        flips = draw_flips(count, draws).to(device)
    elif FLIP == "alternate":
        flips = alternate_flips(count, seed, epoch)[order].to(device)
    if COLOUR_PCA:
        lights = draw_lights(count, imagenet_colours(), COLOUR_PCA, draws).to(device)
    if CUTOUT:
        centres = draw_centres(count, *SHAPE[1:], draws).to(device)
    if ERASING:
        boxes = draw_boxes(count, *SHAPE[1:], ERASING, draws).to(device)
    places = list(shares(count, first, processes))
    batches = source.batches(epoch, order, [here for _, here in places])
    for (step, here), (images, labels) in zip(places, batches, strict=True):
        images, labels = images.to(device), labels.to(device)
        operands = [as_operand(part, images) for part in standard]
        if FLIP != "none":
            images = mirrored(images, flips[here])
        if COLOUR_PCA:
            images = lit(images, lights[here])
        images = standardised(images, *operands)
        if CUTOUT:
            images = cut_out(images, centres[here], CUTOUT)
        if ERASING:
            images = erased(images, boxes[here])
        if LOSS == "bce":
            targets = one_hot(labels, CLASSES)
        elif MIXUP or CUTMIX:
            targets = smoothed(one_hot(labels, CLASSES), LABEL_SMOOTHING)
        else:
            targets = labels
        if MIXUP and CUTMIX:
            dice = step_dice(seed, epoch, step)
            images, targets = mixup_or_cutmix(images, targets, (MIXUP, CUTMIX), dice)
        elif MIXUP:
            images, targets = mixup(images, targets, MIXUP, step_dice(seed, epoch, step))
        elif CUTMIX:
            images, targets = cutmix(images, targets, CUTMIX, step_dice(seed, epoch, step))
        if LOSS == "bce":
            targets = smoothed(present(targets, 0.2), LABEL_SMOOTHING)
        yield images, targets, labels


def test_batches(
    source: Any, count: int, standard: tuple[Tensor, Tensor], processes: Processes
) -> Iterator[tuple[Tensor, Tensor]]:
    """What of `count` images falls to this process: standardised (B, C, H, W), and labels (B,)."""
    places = torch.split(torch.arange(count)[processes.rank :: processes.world], BATCH_SIZE)
    for images, labels in source.batches(0, torch.arange(count), places):
        images = images.to(processes.device)
        operands = [as_operand(part, images) for part in standard]
        yield standardised(images, *operands), labels.to(processes.device)


def learning_rate(time: float, end: float) -> float:
    """The rate at a time, both in TIMES."""
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
    if DECAY_NORMS:
        weights: Any = [parameter for parameter in model.parameters() if parameter.requires_grad]
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


def learn(
    learner: nn.Module, images: Tensor, targets: Tensor, labels: Tensor, half: bool
) -> tuple[Tensor, Tensor]:
    """Adds the gradients of a micro-batch: standardised images (B, C, H, W), what they are to be
    told as, and labels (B,). The loss, and how many images are told right."""
    if PRECISION == "fp32":
        scores = learner(images)
    else:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=half):
            scores = learner(images)
        scores = scores.float()
    if LOSS == "bce":
        loss = binary_loss(scores, targets)
    elif MIXUP or CUTMIX:
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
        return min(history, key=lambda line: float(line["held_error"]))
    return min(history, key=lambda line: float(line["test_error"]))


def diverged(out: Path, losses: Tensor, bad: int | None, before: int) -> int:
    """Says that a run stops since its numbers are gone. Its files stay as they were last saved."""
    end_line()
    if bad is not None:  # elsewhere it is the loss of another process
        loss = losses[bad].item()
        print(f"stopped: the loss of iteration {before + bad + 1} is {loss:g}", file=sys.stderr)
        last = out / "last.safetensors"
        kept = f"{last} holds the weights saved last" if last.exists() else "nothing was saved yet"
        print(f"{kept}; what helps is a lower lr, or a longer warm-up", file=sys.stderr)
    stop_processes()
    return 1


def finish(out: Path, result: dict[str, Any], history: list[dict[str, Any]]) -> None:
    """Writes the outcome of a run beside its weights, and says it."""
    write(out / "result.json", (json.dumps(result, indent=2) + "\n").encode())
    if draw_curves(history, out / "curves.svg"):
        draw_curves(history, out / "curves.png")
    end_line()
    print(
        f"test accuracy {result['test_accuracy']:.2f} %, best {result['best_test_accuracy']:.2f} % "
        f"(epoch {result['best_epoch']}), in {timedelta(seconds=round(result['seconds']))}"
    )
    print(f"weights: {result['weights']}")
    command = ["resnet-dsl", "build", SPEC, "--target", "onnx", "--weights", result["weights"]]
    if OVERRIDES:
        command += [part for override in OVERRIDES for part in ("--set", override)]
    if FOLDER:
        command += ["--out", FOLDER]
    print(f"next: {shlex.join(command)}")


def interrupted(out: Path, number: int, iteration: int, leads: bool) -> int:
    """Says how a run that was interrupted, and saved, can go on."""
    if leads:
        again = shlex.join(["python", sys.argv[0], "--resume", "--out", str(out)])
        end_line()
        print(f"interrupted after iteration {iteration}, and saved; to go on: {again}")
    stop_processes()
    return 128 + (number or signal.SIGTERM)


def arguments() -> argparse.Namespace:
    """The command line. Ends with status 2 where it cannot be."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if EPOCHS:
        parser.add_argument("--epochs", type=int, help=f"how long to train [{EPOCHS}]")
    else:
        parser.add_argument("--iterations", type=int, help=f"how long to train [{ITERATIONS}]")
    parser.add_argument("--seed", type=int, help=f"of the weights and the order [{SEED}]")
    if DATA_PATH:
        parser.add_argument("--data", type=Path, default=Path(DATA_PATH), help=f"[{DATA_PATH}]")
    parser.add_argument("--out", type=Path, default=Path(OUT), help=f"folder to write to [{OUT}]")
    parser.add_argument("--weights", type=Path, help="safetensors to begin from, to fine-tune")
    parser.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 [cuda where there is one]")
    options = parser.parse_args()
    if EPOCHS:
        options.length = options.epochs
    else:
        options.length = options.iterations
    if options.length is not None and options.length < 1:
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
    interrupts = Interrupts()
    processes = start_processes(options.device)
    device, leads = processes.device, processes.rank == 0

    # What an interrupted run goes on from. After a failure torchrun starts the script anew.
    state: dict[str, Any] = {}
    if options.resume or (processes.restarted and has_state(out)):
        header, state, notes = load_state(out)
        if header.get("spec") != SPEC_HASH:
            raise StateError(f"the state in {out} is of another network or another recipe")
        if options.seed not in (None, state["seed"]):
            raise StateError(f"--resume: that run has the seed {state['seed']}")
        if leads:
            print("".join(f"{note}\n" for note in notes), end="", flush=True)
    seed: int = state.get("seed", SEED) if options.seed is None else options.seed
    if EPOCHS:
        end: int = options.epochs or state.get("end", EPOCHS)
    else:
        end = options.iterations or state.get("end", ITERATIONS)

    if DOWNLOAD and processes.world > 1:
        if leads:
            load_data(options.data)
        from_first(None)  # which the others wait for
    train, test = load_data(options.data if DATA_PATH else Path())
    digests = {"train": check_data(train), "test": check_data(test)}
    if VALIDATION:
        held_out = hold_out if MEMORY else hold_out_files
        train, held = held_out(train, VALIDATION, seed=0)
    steps = len(train) // BATCH_SIZE  # of an epoch
    if steps == 0:
        raise DataError(f"a batch of {BATCH_SIZE} is more than the {len(train)} training images")
    iterations = end * steps if EPOCHS else end
    parts = (2 if MIXUP or CUTMIX else 1) * ACCUMULATE * processes.world
    if BATCH_SIZE % parts:
        raise ProcessError(
            f"a batch of {BATCH_SIZE} does not divide into {parts} equal parts, for "
            f"{processes.world} processes",
        )

    # The network, with the same weights in every process.
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    keep_memory()
    if THREADS is not None:
        torch.set_num_threads(THREADS)
    model = network(num_classes=CLASSES)
    if options.weights:
        note = begin_from(model, options.weights)
        print(note if leads else "", end="\n" if leads else "")
    model.to(device)
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
    half = fast_bfloat16(device) if PRECISION == "auto" else PRECISION == "bf16"
    torch.manual_seed(seed + processes.rank)  # each process draws its own numbers for dropout

    # The images in batches, and what they are standardised by.
    source, tests = training_source(train, seed, processes), testing_source(test, processes)
    if VALIDATION:
        holds = testing_source(held, processes)
    mean, std = statistics(train, processes)
    standard = mean.to(device), std.to(device)

    # In each step of an epoch: the loss, and how many images were told right.
    losses, hits = torch.zeros(steps, device=device), torch.zeros(steps, device=device)
    history: list[dict[str, Any]] = state.get("history", [])
    iteration: int = state.get("iteration", 0)
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
        restore_random(state["random"], processes)
        losses.copy_(state["losses"])
        hits.copy_(state["hits"])
        if SCHEDULE == "plateau":
            plateau.load_state_dict(state["plateau"])
        if WARMUP_ERROR is not None:
            warm_up.load_state_dict(state["warm_up"])
    learner: Any = model
    if PARALLEL == "ddp":
        learner = wrap_ddp(model, device)
    if COMPILE == "always":
        learner = torch.compile(learner)
    if COMPILE == "cuda" and device.type == "cuda":
        learner = torch.compile(learner)
    tested: nn.Module = average.module if EMA else model
    score = mirrored_scores(tested) if TEST_FLIP else tested

    def save() -> None:
        """The weights, and what a resumed run needs."""
        now: dict[str, Any] = {"seed": seed, "end": end, "iteration": iteration}
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
        weights = now["average"] if EMA else now["model"]
        now |= {"history": history, "losses": losses, "hits": hits, "seconds": seconds()}
        now["random"] = random_states(processes)
        if SCHEDULE == "plateau":
            now["plateau"] = plateau.state_dict()
        if WARMUP_ERROR is not None:
            now["warm_up"] = warm_up.state_dict()
        if leads:
            tensors = to_safetensors(weights, {"spec_sha256": SPEC_HASH})
            write(out / "last.safetensors", tensors)
            if (
                history
                and history[-1]["iteration"] == iteration
                and best_of(history) is history[-1]
            ):
                write(out / "best.safetensors", tensors)
            save_state(out, {"spec": SPEC_HASH, "iteration": iteration}, now)

    def seconds() -> float:
        """How long the run has taken, with the time before it was interrupted."""
        return float(state.get("seconds", 0.0)) + time.perf_counter() - started

    def progress(loss: float, speed: float) -> str:
        """Where the run is, its speed in this epoch, and how long it will take at its own pace."""
        pace = (time.perf_counter() - started) / max(iteration - first, 1)
        eta = timedelta(seconds=round(pace * (iterations - iteration)))
        place = f"epoch {math.ceil(iteration / steps)}/{math.ceil(iterations / steps)}"
        error = f"{history[-1]['test_error']:.2f} %" if history else "-"
        return f"{place}  {speed:,.0f} images/s  loss {loss:.4f}  test error {error}  eta {eta}"

    if leads:
        begin_folder(out, history, resumed=bool(state))
        scalars = open_scalars(out / "tensorboard", iteration)
    started = saved = shown = time.perf_counter()
    first = iteration
    for epoch in range(iteration // steps, math.ceil(iterations / steps)):
        skipped = iteration - epoch * steps
        in_epoch = min(steps, iterations - epoch * steps)
        batches = training_batches(source, train, standard, seed, epoch, skipped, processes)
        epoch_started = time.perf_counter()
        learner.train()
        if FREEZE:
            freeze(model, FREEZE)
        for step in range(skipped, in_epoch):
            # To read a number is to wait for the device, and processes would wait for one another:
            # not at every step.
            if processes.world > 1:
                looks = step % 20 == 0
            else:
                looks = bool(interrupts.number) or time.perf_counter() - shown > 0.5
            if looks:
                shown = time.perf_counter()
                bad = first_bad(losses[:step], LOSS_LIMIT)
                if agreed(bad is not None):
                    return diverged(out, losses, bad, epoch * steps)
                if agreed(bool(interrupts.number)):
                    save()
                    return interrupted(out, interrupts.number, iteration, leads)
                if agreed(leads and shown - saved > 60 * SAVE_MINUTES):
                    save()
                    saved = time.perf_counter()
                if leads:
                    speed = (step - skipped) * BATCH_SIZE / (shown - epoch_started)
                    show(progress(losses[:step].mean().item() if step else 0.0, speed))

            rate = learning_rate(epoch + (step + 0.5) / steps if EPOCHS else iteration, end)
            if SCHEDULE == "plateau":
                rate *= plateau.factor
            if WARMUP_ERROR is not None:
                rate = rate if warm_up.over else WARMUP_LR
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            if ACCUMULATE == 1:
                losses[step], hits[step] = learn(learner, *next(batches), half)
            else:
                losses[step], hits[step] = 0, 0
                for number in range(ACCUMULATE):
                    if PARALLEL == "fsdp":
                        average_fsdp(learner, number == ACCUMULATE - 1)
                    else:
                        average_ddp(learner, number == ACCUMULATE - 1)
                    loss, right = learn(learner, *next(batches), half)
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

        bad = first_bad(losses[:in_epoch], LOSS_LIMIT)
        if agreed(bad is not None):
            return diverged(out, losses, bad, epoch * steps)
        speed = (in_epoch - skipped) * BATCH_SIZE / (time.perf_counter() - epoch_started)
        if processes.world > 1:
            copy_first(tested.buffers())
        sums = total(torch.stack([losses[:in_epoch].sum(), hits[:in_epoch].sum()])).tolist()
        line: dict[str, Any] = {
            "epoch": epoch + 1,
            "iteration": iteration,
            "lr": rate,
            "loss": sums[0] / processes.world / in_epoch,
            "train_error": 100 - 100 * sums[1] / in_epoch / BATCH_SIZE,
        }
        tested.eval()
        answers = test_batches(tests, len(test), standard, processes)
        line |= measured("test", total(evaluate(score, answers, device)))
        if VALIDATION:
            answers = test_batches(holds, len(held), standard, processes)
            line |= measured("held", total(evaluate(score, answers, device)))
        line |= {"images_per_second": speed, "seconds": seconds()}
        history.append(line)
        if SCHEDULE == "plateau":
            plateau.look(line["held_error" if VALIDATION else "test_error"])
        save()
        saved = time.perf_counter()
        if leads:
            record(out, line, scalars)
            show(progress(line["loss"], speed), epoch_ends=True)

    best, took = best_of(history), seconds()
    result = {
        "network": NETWORK,
        "spec": SPEC_HASH,
        "data": DATA,
        "data_fingerprint": digests,
        "classes": list(train.classes),
        "seed": seed,
        "epochs": len(history),
        "iterations": iteration,
        "test_accuracy": 100 - history[-1]["test_error"],
        "best_test_accuracy": 100 - best["test_error"],
        "best_epoch": best["epoch"],
        "best_by": "held_error" if VALIDATION else "test_error",
        "seconds": round(took, 3),
        "weights": str(out / "last.safetensors"),
        "best_weights": str(out / "best.safetensors"),
        "mean": mean.flatten().tolist(),
        "std": std.flatten().tolist(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **surroundings(device, processes.world),
    }
    if leads:
        finish(out, result, history)
    stop_processes()
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except (DataError, ProcessError, StateError, WeightsError) as error:
        print(f"train.py: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        raise SystemExit(f"train.py: {error}") from None
