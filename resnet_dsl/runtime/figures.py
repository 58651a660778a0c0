"""What is to be seen of a run: its curves as the paper draws them, and scalars for TensorBoard.

matplotlib and tensorboard are used where they are installed; nothing depends on them.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from resnet_dsl.runtime.checkpoints import write


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
