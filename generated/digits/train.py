"""Train digits on scikit-learn's digits: 1x8x8, 10 classes.
60 epochs of SGD with Nesterov's momentum, a cosine after a warm-up.

    python train.py                     # trains, and writes to runs/digits
    python train.py --resume            # goes on where an interrupted run stopped
    python train.py --epochs 5 --seed 1 --out runs/digits-short --device cuda

Needs digits.py beside it, and torch, safetensors and scikit-learn.
On one machine one seed gives one result, to the bit on a CPU. A run writes

    last.safetensors    the weights after the last epoch
    best.safetensors    the weights after the epoch with the best test accuracy
    state.pt            all that --resume needs, replaced as a whole or not at all
    metrics.jsonl       a line for each epoch
    result.json         the outcome

and ends with status 0, or 1 (the loss is not finite, or a file cannot be written), 2 (the run
cannot begin), 130 or 143 (interrupted with Ctrl-C or SIGTERM, and saved).

Written by resnet-dsl 0.1.0 from a spec with SHA-256
7e82d4a710878e4346696735cffb09c46c8312de768bb2513e8e42bcaf274d6d.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import os
import shlex
import shutil
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import safetensors.torch
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # for repeatable sums on a GPU

from digits import digits

# What is trained, and on what.
NETWORK = "digits"
SPEC = "digits"
SPEC_HASH = "7e82d4a710878e4346696735cffb09c46c8312de768bb2513e8e42bcaf274d6d"
DATA = "digits"
CLASSES = 10
SHAPE = (1, 8, 8)  # channels, height, width

# How: times in epochs, shifts in pixels.
EPOCHS = 60
BATCH_SIZE = 64
LR = 0.1
MOMENTUM = 0.9
NESTEROV = True
WEIGHT_DECAY = 0.0005
WARMUP_EPOCHS = 2
LABEL_SMOOTHING = 0.1
SHIFT = 1
SEED = 0
THREADS = 1
OUT = "runs/digits"


def load_data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Training images (N, 1, 8, 8) in [0, 1] with labels (N,), then the test's: scikit-learn's
    digits, split once and for all into 1437 and 360 with the classes in equal shares."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
    labels = torch.tensor(digits.target, dtype=torch.int64)
    train, test = train_test_split(
        range(len(labels)), test_size=360, stratify=digits.target, random_state=0
    )
    return images[train], labels[train], images[test], labels[test]


def learning_rate(epoch: float, epochs: int) -> float:
    """The rate at a place among the epochs: a straight line up, then down half a cosine to zero."""
    if epoch < WARMUP_EPOCHS:
        return LR * epoch / WARMUP_EPOCHS
    return 0.5 * LR * (1 + math.cos(math.pi * (epoch - WARMUP_EPOCHS) / (epochs - WARMUP_EPOCHS)))


def shifted(images: Tensor, chosen: Tensor, offsets: Tensor) -> Tensor:
    """Of the images (N, C, H + 2 SHIFT, W + 2 SHIFT) the chosen ones (B,), cut at offsets
    (B, 2) to (B, C, H, W)."""
    _, height, width = SHAPE
    rows = offsets[:, 0, None] + torch.arange(height, device=images.device)
    columns = offsets[:, 1, None] + torch.arange(width, device=images.device)
    pixels = images.permute(0, 2, 3, 1)
    cut = pixels[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2)


def evaluate(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, float]:
    """The mean loss, and the accuracy in percent, on images (N, C, H, W)."""
    model.eval()
    loss, right = torch.zeros((), device=images.device), torch.zeros((), device=images.device)
    with torch.inference_mode():
        for start in range(0, len(labels), BATCH_SIZE):
            batch = slice(start, start + BATCH_SIZE)
            scores, y = model(images[batch]).float(), labels[batch]
            loss += functional.cross_entropy(scores, y, reduction="sum")
            right += (scores.argmax(1) == y).sum()
    return loss.item() / len(labels), 100 * right.item() / len(labels)


def best_of(history: list[dict[str, Any]]) -> dict[str, Any]:
    """The epoch with the best test accuracy, the first of equal ones."""
    return max(history, key=lambda epoch: float(epoch["test_accuracy"]))


def write(path: Path, data: bytes) -> None:
    """Replaces a file as a whole: whatever happens, its old content or the new one is there."""
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def show(line: str, *, epoch_ends: bool = False, training_ends: bool = False) -> None:
    """A line that is written over on a terminal; elsewhere, a line for each epoch."""
    if sys.stdout.isatty():
        visible = line[: shutil.get_terminal_size().columns - 1]
        print(f"\r\x1b[K{visible}", end="\n" if training_ends else "", flush=True)
    elif epoch_ends:
        print(line, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, help=f"how long to train [{EPOCHS}]")
    parser.add_argument("--seed", type=int, help=f"of the weights and the order [{SEED}]")
    parser.add_argument("--out", type=Path, default=Path(OUT), help=f"folder to write to [{OUT}]")
    parser.add_argument("--resume", action="store_true", help="go on with the run in that folder")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 [cuda where there is one]")
    options = parser.parse_args()
    out: Path = options.out
    last, state_file, metrics = out / "last.safetensors", out / "state.pt", out / "metrics.jsonl"

    try:
        device = torch.device(options.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    except RuntimeError:
        parser.error(f"--device {options.device}: torch knows no such device")
    if device.type not in ("cpu", "cuda"):
        parser.error(f"--device {options.device}: this script runs on cpu and cuda")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        parser.error(f"--device {options.device}: torch sees no such GPU here")
    state: dict[str, Any] = {}
    if options.resume:
        if not state_file.exists():
            parser.error(f"--resume: there is no {state_file}")
        try:
            state = torch.load(state_file, map_location="cpu", weights_only=True)
        except Exception as error:
            parser.error(f"--resume: {state_file} cannot be read ({type(error).__name__})")
        if state.get("spec") != SPEC_HASH:
            parser.error(f"--resume: {state_file} is of another network or another recipe")
        if options.seed not in (None, state["seed"]):
            parser.error(f"--resume: that run has the seed {state['seed']}")
    epochs: int = options.epochs if options.epochs is not None else state.get("epochs", EPOCHS)
    seed: int = options.seed if options.seed is not None else state.get("seed", SEED)
    if epochs < 1 or seed < 0:
        parser.error("--epochs must be at least 1, and --seed at least 0")

    # A new run puts aside what a run before it in the same folder would have gone on from.
    out.mkdir(parents=True, exist_ok=True)
    if state_file.exists() and not options.resume:
        state_file.replace(out / "state.old.pt")
        print(f"the state of the run before this one is kept as {out / 'state.old.pt'}")
    history: list[dict[str, Any]] = state.get("history", [])
    write(metrics, "".join(json.dumps(epoch) + "\n" for epoch in history).encode())

    # Ctrl-C and SIGTERM stop the run after the current step. What follows within a second is the
    # same request (`timeout` sends two signals); a later one stops it at once.
    interrupts: list[int] = []
    asked = math.inf
    below = "\n" if sys.stdout.isatty() else ""  # out of the line that is written over

    def interrupt(number: int, _: FrameType | None) -> None:
        nonlocal asked
        if time.monotonic() > asked + 1:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        interrupts.append(number)
        asked = min(asked, time.monotonic())

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)

    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True
    torch.set_num_threads(THREADS)
    model = digits(num_classes=CLASSES).to(device)
    nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
    # Weight decay is for weights; normalisations and biases go without.
    decayed = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(
        groups, lr=LR, momentum=MOMENTUM, nesterov=NESTEROV, weight_decay=WEIGHT_DECAY
    )

    # All images stay on the device, standardised.
    images, labels, test_images, test_labels = (part.to(device) for part in load_data())
    mean = images.mean((0, 2, 3), keepdim=True)
    std = images.std((0, 2, 3), keepdim=True)
    images = functional.pad(images, (SHIFT, SHIFT, SHIFT, SHIFT))
    images = ((images - mean) / std).contiguous(memory_format=torch.channels_last)
    test_images = (test_images - mean) / std
    test_images = test_images.contiguous(memory_format=torch.channels_last)
    steps = len(images) // BATCH_SIZE
    losses = torch.zeros(steps, device=device)

    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        losses.copy_(state["losses"])
        torch.set_rng_state(state["rng"])
        if device.type == "cuda" and "cuda_rng" in state:
            torch.cuda.set_rng_state(state["cuda_rng"], device)

    def save(epoch: int, step: int) -> None:
        """The weights, and what a resumed run needs: `epoch` epochs and `step` steps are done."""
        weights = {name: value.cpu().contiguous() for name, value in model.state_dict().items()}
        # One entry: several would be written in no fixed order, and equal runs give equal files.
        tensors = safetensors.torch.save(weights, {"spec_sha256": SPEC_HASH})
        write(last, tensors)
        if step == 0 and history and best_of(history) is history[-1]:
            write(out / "best.safetensors", tensors)
        now = {
            "spec": SPEC_HASH,
            "seed": seed,
            "epochs": epochs,
            "epoch": epoch,
            "step": step,
            "seconds": time.perf_counter() - started,
            "history": history,
            "losses": losses,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "rng": torch.get_rng_state(),
        }
        if device.type == "cuda":
            now["cuda_rng"] = torch.cuda.get_rng_state(device)
        buffer = io.BytesIO()
        torch.save(now, buffer)
        write(state_file, buffer.getvalue())

    def progress(epoch: int, step: int, loss: float, speed: float) -> str:
        """Where the run is, its speed in this epoch, and how long it will take at its own pace."""
        done = epoch * steps + step
        pace = (time.perf_counter() - begun) / max(done - first_epoch * steps - first_step, 1)
        eta = timedelta(seconds=round(pace * (epochs * steps - done)))
        test = f"{history[-1]['test_accuracy']:.2f} %" if history else "-"
        place = f"epoch {epoch + 1:{len(str(epochs))}}/{epochs}"
        return f"{place}  {speed:,.0f} images/s  loss {loss:.4f}  test {test}  eta {eta}"

    def diverged(epoch: int) -> int:
        """Stops a run whose numbers are gone; the files stay as they were after the last epoch."""
        gone = torch.isfinite(losses).logical_not().nonzero()
        where = f"at step {int(gone[0]) + 1} of epoch" if len(gone) else "in the test after epoch"
        kept = f"{last} holds the weights before" if history else "nothing was saved yet"
        print(below, end="", flush=True)
        print(f"stopped: the loss is not finite {where} {epoch + 1}; {kept}", file=sys.stderr)
        print("what helps: a lower lr, or a longer warm-up", file=sys.stderr)
        return 1

    first_epoch, first_step = state.get("epoch", 0), state.get("step", 0)
    begun = shown = time.perf_counter()
    started = begun - state.get("seconds", 0.0)
    for epoch in range(first_epoch, epochs):
        # Drawn from the seed and the epoch alone, so that an epoch that is resumed has the same.
        draws = torch.Generator().manual_seed(100_003 * seed + epoch)
        order = torch.randperm(len(images), generator=draws).to(device)
        offsets = torch.randint(2 * SHIFT + 1, (len(images), 2), generator=draws).to(device)
        skipped = first_step if epoch == first_epoch else 0
        epoch_begun = time.perf_counter()
        model.train()
        for step in range(skipped, steps):
            stop = bool(interrupts)
            if stop or time.perf_counter() - shown > 0.5:
                # Not at every step: to read a number is to wait for the device.
                total = losses[:step].sum().item()
                if not math.isfinite(total):
                    return diverged(epoch)
                if stop:
                    save(epoch, step)
                    again = shlex.join(["python", sys.argv[0], "--resume", "--out", str(out)])
                    print(f"{below}interrupted in epoch {epoch + 1}, and saved; to go on: {again}")
                    return 128 + interrupts[0]
                shown = time.perf_counter()
                speed = (step - skipped) * BATCH_SIZE / (shown - epoch_begun)
                show(progress(epoch, step, total / max(step, 1), speed))

            chosen = order[step * BATCH_SIZE : (step + 1) * BATCH_SIZE]
            rate = learning_rate(epoch + (step + 0.5) / steps, epochs)
            for group in optimizer.param_groups:
                group["lr"] = rate
            scores = model(shifted(images, chosen, offsets[chosen]))
            loss = functional.cross_entropy(scores, labels[chosen], label_smoothing=LABEL_SMOOTHING)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            losses[step] = loss.detach()

        mean_loss = losses.mean().item()
        seconds = time.perf_counter() - epoch_begun
        test_loss, accuracy = evaluate(model, test_images, test_labels)
        if not math.isfinite(mean_loss + test_loss):
            return diverged(epoch)
        history.append(
            {
                "epoch": epoch + 1,
                "lr": rate,
                "loss": mean_loss,
                "test_loss": test_loss,
                "test_accuracy": accuracy,
                "images_per_second": (steps - skipped) * BATCH_SIZE / seconds,
            }
        )
        save(epoch + 1, 0)
        with metrics.open("a") as file:
            file.write(json.dumps(history[-1]) + "\n")
        line = progress(epoch, steps, mean_loss, history[-1]["images_per_second"])
        show(line, epoch_ends=True, training_ends=epoch + 1 == epochs)

    best, seconds = best_of(history), time.perf_counter() - started
    result = {
        "network": NETWORK,
        "spec": SPEC_HASH,
        "data": DATA,
        "seed": seed,
        "epochs": len(history),
        "test_accuracy": history[-1]["test_accuracy"],
        "best_test_accuracy": best["test_accuracy"],
        "best_epoch": best["epoch"],
        "seconds": round(seconds, 3),
        "weights": str(last),
        "best_weights": str(out / "best.safetensors"),
        "mean": mean.flatten().tolist(),
        "std": std.flatten().tolist(),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    write(out / "result.json", (json.dumps(result, indent=2) + "\n").encode())
    print(
        f"test accuracy {result['test_accuracy']:.2f} %, best {best['test_accuracy']:.2f} % "
        f"(epoch {best['epoch']}), in {timedelta(seconds=round(seconds))}"
    )
    print(f"weights: {last}")
    command = ["resnet-dsl", "build", SPEC, "--target", "onnx", "--weights", str(last)]
    print(f"next: {shlex.join(command)}")
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except OSError as error:
        raise SystemExit(f"train.py: {error}") from error
