"""What the figures show, and that equal outcomes give equal files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from compiler_tests.studies.fakes import STUDY, finish, runs, write
from resnet_dsl.studies import figure
from resnet_dsl.studies.figure import draw
from resnet_dsl.studies.folder import RunFolder
from resnet_dsl.studies.outcomes import Row, rows
from resnet_dsl.studies.responses import Layer
from resnet_dsl.studies.schema import Figure, Study, read_study

pytest.importorskip("matplotlib")


def _outcome(folder: Path, study: str) -> tuple[Study, list[Row]]:
    """All runs finished after 3 epochs; the test error is depth + seed + epochs to go, the training error half."""
    file = write(folder, study)
    planned = runs(file)
    for run in planned:
        error = float(dict(run.case.at)["depth"]) + run.seed
        finish(folder / "out", run, test_accuracy=100 - error)
        lines = [
            {"iteration": 10 * i, "train_error": error / 2, "test_error": error + 3 - i}
            for i in (1, 2, 3)
        ]
        file = RunFolder(folder / "out" / "runs", run).output / "metrics.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return read_study(folder / "tiny.yaml")[0], rows(folder / "out", planned)


def _with(text: str) -> str:
    return STUDY.replace("figure: {kind: curves, groups: net, lines: depth}", f"figure: {text}")


KINDS = {
    "curves": "{kind: curves, groups: net, lines: depth}",
    "errors": "{kind: errors, x: depth, lines: net}",
    "responses": "{kind: responses, groups: net, lines: depth}",
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_figure_is_svg_and_png_and_the_same_each_time(tmp_path: Path, kind: str) -> None:
    study, found = _outcome(tmp_path, _with(KINDS[kind]))
    ids = [one.run.id for row in found for one in row.outcomes]
    responses = {id_: [Layer("conv1", 1.0), Layer("conv2", 2.0)] for id_ in ids}
    first, second = draw(study, found, responses), draw(study, found, responses)
    assert first.keys() == {"svg", "png"}
    assert first == second
    assert b"<svg" in first["svg"]
    assert first["png"].startswith(b"\x89PNG")


def test_curves_are_means_of_the_seeds_thin_in_training_and_bold_in_the_test(
    tmp_path: Path,
) -> None:
    study, found = _outcome(tmp_path, STUDY)
    assert study.figure is not None
    drawn = figure._curves(study.figure, found)
    assert [axes.get_title() for axes in drawn.axes] == ["plain", "residual"]
    thin, bold, *_ = drawn.axes[0].get_lines()
    assert thin.get_color() == bold.get_color()
    assert thin.get_linewidth() < bold.get_linewidth()
    assert np.asarray(bold.get_xdata()).tolist() == [10, 20, 30]
    assert np.asarray(bold.get_ydata()).tolist() == [8.5, 7.5, 6.5]
    assert np.asarray(thin.get_ydata()).tolist() == [3.25] * 3
    legend = drawn.axes[0].get_legend()
    assert legend is not None
    told = [text.get_text() for text in legend.get_texts()]
    assert told == ["depth 6", "depth 10", "test", "training"]
    colours = {line.get_color() for line in drawn.axes[0].get_lines()[:4]}
    assert len(colours) == 2


def test_errors_stand_along_their_axis_with_their_deviations(tmp_path: Path) -> None:
    study, found = _outcome(tmp_path, _with(KINDS["errors"]))
    assert study.figure is not None
    (axes,) = figure._errors(study, study.figure, found).axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["6", "10"]
    (bar, other) = axes.containers
    (line, *_) = bar.get_children()
    assert np.asarray(line.get_xdata()).tolist() == [6, 10]  # type: ignore[attr-defined]
    assert np.asarray(line.get_ydata()).tolist() == [6.5, 10.5]  # type: ignore[attr-defined]
    assert [bar.get_label(), other.get_label()] == ["net plain", "net residual"]


def test_responses_are_in_order_and_sorted(tmp_path: Path) -> None:
    study, found = _outcome(tmp_path, _with(KINDS["responses"]))
    responses = {
        one.run.id: [Layer("a", 1.0 + one.run.seed), Layer("b", 3.0 + one.run.seed)]
        for row in found
        for one in row.outcomes
    }
    assert study.figure is not None
    original, ordered = figure._responses(study.figure, found, responses).axes
    assert np.asarray(original.get_lines()[0].get_ydata()).tolist() == [1.5, 3.5]
    assert np.asarray(ordered.get_lines()[0].get_ydata()).tolist() == [3.5, 1.5]
    plain, residual = original.get_lines()[0], original.get_lines()[2]
    assert plain.get_color() == residual.get_color()
    assert plain.get_linestyle() != residual.get_linestyle()


def test_where_nothing_is_finished_nothing_is_drawn(tmp_path: Path) -> None:
    file = write(tmp_path)
    study = read_study(file)[0]
    assert draw(study, rows(tmp_path / "out", runs(file)), {}) == {}
    assert draw(study.model_copy(update={"figure": None}), _outcome(tmp_path, STUDY)[1], {}) == {}


def test_every_kind_of_figure_is_drawn_here() -> None:
    assert KINDS.keys() == {*Figure.model_fields["kind"].annotation.__args__}  # type: ignore[union-attr]
