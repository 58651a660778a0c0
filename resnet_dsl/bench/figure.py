"""Throughput and latency against the batch size, by matplotlib where that is installed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from resnet_dsl.bench.outcome import Results, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = (
    "#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999",
)  # fmt: skip
"""Told apart by all eyes (Okabe & Ito 2008); one for each backend, the baseline in black."""

STYLES = {"fp32": "-", "tf32": "-.", "fp16": "-", "bf16": "--", "int8": "--", "fp8": ":"}
MARKERS = {"fp32": "o", "tf32": "v", "fp16": "o", "bf16": "s", "int8": "D", "fp8": "^"}
_STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "font.size": 9,
    "svg.hashsalt": "bench",
    "svg.fonttype": "none",
}


def draw(results: Results) -> str | None:
    """SVG, the same for the same figures; None where matplotlib is not installed or nothing was measured."""
    rows = [row for row in results.rows if row.measured]
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        return None
    if not rows:
        return None
    stream = io.BytesIO()
    with rc_context(_STYLE):
        figure = Figure(figsize=(9.6, 4.2), layout="constrained")
        rates, latencies = figure.subplots(1, 2)
        names = list(dict.fromkeys(row.candidate.backend.name for row in rows))
        for row in rows:
            colour = COLOURS[names.index(row.candidate.backend.name) % len(COLOURS)]
            _throughput(rates, row, colour)
            _latency(latencies, row, colour)
        rates.set(ylabel="images in a second", title="throughput")
        latencies.set(ylabel="milliseconds", yscale="log", title="latency: median, and 90 %")
        rates.set_ylim(bottom=0)
        for axes in (rates, latencies):
            axes.set(xlabel="batch size", xscale="log")
            axes.set_xticks(results.batches, [str(batch) for batch in results.batches])
            axes.minorticks_off()
        latencies.yaxis.set_major_formatter(lambda value, _position: f"{value:,g}")
        handles, labels = rates.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center")
        figure.suptitle(f"{results.name} on {results.machine.get(results.device, results.device)}")
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue().decode()


def _look(row: Row, colour: str) -> dict[str, Any]:
    precision = row.candidate.precision
    return {
        "color": colour,
        "linestyle": STYLES[precision],
        "marker": MARKERS[precision],
        "markersize": 4,
        "label": row.candidate.title,
    }


def _throughput(axes: Axes, row: Row, colour: str) -> None:
    """The median over the rounds, with the least and the greatest as a band."""
    points = [point for point in row.points.values() if point.measured]
    x = [point.batch for point in points]
    axes.plot(x, [point.throughput or 0.0 for point in points], **_look(row, colour))
    rates = [[rate for rate in point.rates if rate is not None] for point in points]
    axes.fill_between(
        x, [min(one) for one in rates], [max(one) for one in rates],
        color=colour, alpha=0.12, linewidth=0,
    )  # fmt: skip


def _latency(axes: Axes, row: Row, colour: str) -> None:
    """The median, with a band up to what nine calls of ten stay within."""
    points = [point for point in row.points.values() if point.measured]
    x = [point.batch for point in points]
    middle = [1e3 * (point.latency(0.5) or max(point.times)) for point in points]
    high = [1e3 * (point.latency(0.9) or max(point.times)) for point in points]
    axes.plot(x, middle, **_look(row, colour))
    axes.fill_between(x, middle, high, color=colour, alpha=0.12, linewidth=0)
