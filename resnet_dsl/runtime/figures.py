"""What is to be seen of a run: its curves as the paper draws them, and scalars for TensorBoard.

matplotlib and tensorboard are used where they are installed; nothing depends on them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def draw_curves(history: list[dict[str, Any]], path: Path) -> bool:
    """Draws the errors of a run against its iterations, as SVG or PNG by the suffix of the path;
    False where matplotlib is not installed. See `draw_runs`."""
    return draw_runs({"": history}, path)


def draw_runs(runs: dict[str, list[dict[str, Any]]], path: Path) -> bool:
    """Draws training errors (thin, dashed) and test errors (bold) in percent against iterations,
    a colour for each run (He et al. 2015, figures 4 and 6). Equal runs give equal bytes.

    Runs are named, and are the lines of metrics.jsonl. False where matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        return False
    with rc_context({"svg.hashsalt": "curves"}):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for number, (name, history) in enumerate(runs.items()):
            for key, what, width, dashes in (
                ("train_error", "training", 0.8, "--"),
                ("test_error", "test", 2.0, "-"),
            ):
                points = [(line["iteration"], line[key]) for line in history if key in line]
                axes.plot(
                    *zip(*points, strict=True),
                    dashes,
                    color=f"C{number}",
                    linewidth=width,
                    label=f"{name} {what}".strip(),
                )
        axes.set(xlabel="iterations", ylabel="error (%)", xlim=(0, None), ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    return True


def open_scalars(folder: Path, iteration: int = 0) -> Any:
    """A TensorBoard SummaryWriter for a folder, or None where tensorboard is not installed. What an
    interrupted run wrote there after `iteration` is hidden."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(folder, purge_step=iteration + 1)
