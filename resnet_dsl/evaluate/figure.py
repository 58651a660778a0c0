"""A confusion matrix as a picture, with matplotlib where that is installed."""

from __future__ import annotations

import io
from collections.abc import Sequence

_MOST_NAMES = 40
_MOST_NUMBERS = 20


def draw_confusion(names: Sequence[str], confusion: Sequence[Sequence[int]]) -> bytes | None:
    """SVG: the share of each class's images (rows) that is told to be of each class (columns). Equal matrices give
    equal bytes. None where matplotlib is not installed."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        return None
    shares = [[count / max(sum(row), 1) for count in row] for row in confusion]
    inches = min(max(4.0, 1.6 + 0.36 * len(names)), 12.0)
    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": "confusion", "svg.fonttype": "none"}):
        figure = Figure(figsize=(inches, inches), layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axes.set(xlabel="told to be", ylabel="is")
        if len(names) <= _MOST_NAMES:
            plain = [name.replace("$", r"\$") for name in names]  # `$` would begin a formula
            axes.set_xticks(range(len(names)), plain, rotation=90)
            axes.set_yticks(range(len(names)), plain)
        if len(names) <= _MOST_NUMBERS:
            for row, counts in enumerate(confusion):
                for column, count in enumerate(counts):
                    if count:
                        colour = "white" if shares[row][column] > 0.5 else "black"
                        axes.text(column, row, str(count), ha="center", va="center", color=colour)
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()
