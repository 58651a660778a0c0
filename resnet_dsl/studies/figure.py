"""The outcome of a study as a figure, by matplotlib: SVG and PNG."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, assert_never

from resnet_dsl.studies.outcomes import MEASURES, Curve, Row
from resnet_dsl.studies.schema import Figure as Wanted
from resnet_dsl.studies.schema import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from resnet_dsl.studies.responses import Layer

FORMATS = ("svg", "png")
COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999",
)  # fmt: skip
"""Told apart by all eyes (Okabe & Ito 2008)."""

STYLES = ("--", "-", ":", "-.")  # the paper has plain nets dashed
_STYLE: dict[Any, Any] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "font.size": 9,
}
_PANEL = (4.8, 3.8)  # inches
_SETTLED = 0.1  # of a training: the errors before are high, and would leave no room for the others


def installed() -> bool:
    """Whether there is a matplotlib to draw with."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(
    study: Study, rows: Sequence[Row], responses: Mapping[str, Sequence[Layer]]
) -> dict[str, bytes]:
    """The study's figure in each of the formats; nothing where there is nothing to show.

    `responses` are the layers of the runs by their ids. The same outcome gives the same bytes.
    """
    from matplotlib import rc_context

    wanted, shown = study.figure, [row for row in rows if row.finished]
    if wanted is None or not shown:
        return {}
    with rc_context(_STYLE | {"svg.hashsalt": study.name}):
        match wanted.kind:
            case "curves":
                figure = _curves(wanted, shown)
            case "errors":
                figure = _errors(study, wanted, shown)
            case "responses":
                figure = _responses(wanted, shown, responses)
            case unreachable:
                assert_never(unreachable)
        files: dict[str, bytes] = {}
        for kind in FORMATS:
            buffer = io.BytesIO()
            figure.savefig(
                buffer,
                format=kind,
                dpi=150,
                metadata={"Date": None} if kind == "svg" else {"Software": None},
            )
            files[kind] = buffer.getvalue()
    return files


def _curves(figure: Wanted, rows: Sequence[Row]) -> Figure:
    """Training error thin, test error bold, against iterations (He et al. 2015, figures 1 and 6)."""
    panels = _values(rows, figure.groups)
    drawn, all_axes = _panels(1, len(panels))
    colours = _colours(_values(rows, figure.lines))
    top = 0.0
    for axes, panel in zip(all_axes, panels, strict=True):
        axes.set_title(panel)
        axes.set_xlabel("iterations")
        for row in _of(rows, figure.groups, panel):
            label = _at(row, figure.lines)
            found = row.curve()
            if found is None:
                continue
            mean, spread = found
            colour, x = colours[label], mean.iterations
            marker = "o" if len(x) == 1 else ""
            axes.plot(x, mean.train, color=colour, linewidth=0.8, marker=marker, markersize=2)
            axes.plot(
                x,
                mean.test,
                color=colour,
                linewidth=2,
                marker=marker,
                label=f"{figure.lines} {label}",
            )
            if spread is not None:
                low, high = _band(mean.test, spread.test)
                axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
            top = max([top, *_settled(mean)])
        axes.plot([], [], color="grey", linewidth=2, label="test")
        axes.plot([], [], color="grey", linewidth=0.8, label="training")
        axes.legend()
    for axes in all_axes:
        axes.set_ylim(0, min(top * 1.05, 100) or 100)
        axes.set_xlim(left=0)
    all_axes[0].set_ylabel("error (%)")
    return drawn


def _errors(study: Study, figure: Wanted, rows: Sequence[Row]) -> Figure:
    """The table's measure along an axis: each seed a dot, their mean and deviation beside them."""
    drawn, (axes,) = _panels(1, 1)
    measure = study.table.measure
    labels = _values(rows, figure.x)
    numeric = all(_is_number(label) for label in labels)
    x = {label: float(label) if numeric else float(index) for index, label in enumerate(labels)}
    lines = _values(rows, figure.lines)
    colours = _colours(lines)
    for line in lines:
        found = {
            _at(row, figure.x): row
            for row in _of(rows, figure.lines, line)
            if row.statistic(measure) is not None
        }
        for label, row in found.items():
            values = [one.measures[measure] for one in row.finished if measure in one.measures]
            axes.plot([x[label]] * len(values), values, ".", color=colours[line], alpha=0.35)
        statistics = [row.statistic(measure) for row in found.values()]
        axes.errorbar(
            [x[label] for label in found],
            [one.mean for one in statistics if one is not None],
            [one.deviation or 0.0 for one in statistics if one is not None],
            color=colours[line],
            marker="o",
            linestyle="-" if numeric else "none",
            capsize=4,
            label=f"{figure.lines} {line}" if figure.lines else None,
        )
    axes.set_xticks([x[label] for label in labels], labels)
    axes.margins(x=0.1)
    axes.set_xlabel(figure.x or "")
    axes.set_ylabel(MEASURES[measure])
    if figure.lines:
        axes.legend()
    return drawn


def _responses(
    figure: Wanted, rows: Sequence[Row], responses: Mapping[str, Sequence[Layer]]
) -> Figure:
    """Standard deviations of the layers' responses, in the network's order and sorted (He et al. 2015, figure 7)."""
    drawn, (original, ordered) = _panels(2, 1)
    colours = _colours(_values(rows, figure.lines))
    styles = dict(zip(_values(rows, figure.groups), STYLES * len(rows), strict=False))
    for row in rows:
        measured = [responses[one.run.id] for one in row.finished if one.run.id in responses]
        if not measured:
            continue
        mean = [
            sum(layer.deviation for layer in layers) / len(layers)
            for layers in zip(*measured, strict=True)
        ]
        style, colour = styles[_at(row, figure.groups)], colours[_at(row, figure.lines)]
        label = f"{_at(row, figure.groups)} {_at(row, figure.lines)}".strip()
        x = range(1, len(mean) + 1)
        for axes, values in ((original, mean), (ordered, sorted(mean, reverse=True))):
            axes.plot(x, values, style, color=colour, linewidth=1.2, label=label)
    original.set_xlabel("layer index (original)")
    ordered.set_xlabel("layer index (sorted by magnitude)")
    for axes in (original, ordered):
        axes.set_ylabel("standard deviation")
        axes.set_ylim(bottom=0)
    original.legend(ncols=2)
    return drawn


def _panels(down: int, across: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    width, height = _PANEL
    figure = Figure(
        figsize=(max(width * across, 6.4), height * (0.8 if down > 1 else 1) * down),
        layout="constrained",
    )
    return figure, list(figure.subplots(down, across, sharey=True, squeeze=False).flat)


def _at(row: Row, axis: str | None) -> str:
    """The row's label on an axis; empty where there is no axis."""
    return "" if axis is None else dict(row.case.at)[axis]


def _values(rows: Sequence[Row], axis: str | None) -> list[str]:
    """The labels of an axis that there are rows of."""
    return list(dict.fromkeys(_at(row, axis) for row in rows))


def _of(rows: Sequence[Row], axis: str | None, label: str) -> Iterator[Row]:
    """The rows at one label of an axis."""
    return (row for row in rows if _at(row, axis) == label)


def _colours(labels: Sequence[str]) -> dict[str, str]:
    return {label: COLOURS[index % len(COLOURS)] for index, label in enumerate(labels)}


def _settled(curve: Curve) -> tuple[float, ...]:
    """The errors after the first of the iterations."""
    begin = int(len(curve.iterations) * _SETTLED)
    return (*curve.train[begin:], *curve.test[begin:])


def _band(mean: Sequence[float], spread: Sequence[float]) -> tuple[list[float], list[float]]:
    pairs = list(zip(mean, spread, strict=True))
    return [a - b for a, b in pairs], [a + b for a, b in pairs]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
