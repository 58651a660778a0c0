"""The curves of a run, and its scalars, where there is something to draw and to write them with."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from math import exp
from typing import Any

import pytest

from resnet_dsl.runtime.figures import draw_curves, open_scalars


def history(epochs: int) -> list[dict[str, Any]]:
    return [
        {
            "epoch": epoch,
            "iteration": 400 * epoch,
            "train_error": 90 * exp(-epoch / 10) + 2,
            "test_error": 85 * exp(-epoch / 10) + 8,
        }
        for epoch in range(1, epochs + 1)
    ]


@pytest.mark.parametrize("epochs", [0, 1, 3, 100])
def test_the_curves_of_a_run_of_any_length_are_drawn(tmp_path, epochs):
    pytest.importorskip("matplotlib")
    assert draw_curves(history(epochs), tmp_path / "curves.svg")
    root = ElementTree.parse(tmp_path / "curves.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert draw_curves(history(epochs), tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_training_is_thin_and_dashed_and_the_test_bold(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    drawn: list[Any] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    draw_curves(history(100), tmp_path / "curves.svg")
    axes = drawn[0].axes[0]
    training, test = axes.get_lines()
    assert (training.get_linestyle(), test.get_linestyle()) == ("--", "-")
    assert training.get_linewidth() < 1 < 2 < test.get_linewidth()
    assert list(training.get_xdata())[:2] == [400, 800]
    assert test.get_ydata()[-1] == pytest.approx(8, abs=0.1)
    # What is far above the rest, in the first quarter, does not press it to the ground.
    assert axes.get_ylim() == (0, pytest.approx(1.5 * (85 * exp(-2.6) + 8)))


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_the_same_run_gives_the_same_bytes(tmp_path, kind):
    pytest.importorskip("matplotlib")
    for name in ("a", "b"):
        draw_curves(history(20), tmp_path / f"{name}.{kind}")
    assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    assert b"<dc:date>" not in (tmp_path / f"a.{kind}").read_bytes()


def test_without_matplotlib_there_are_no_curves(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert not draw_curves(history(3), tmp_path / "curves.svg")
    assert list(tmp_path.iterdir()) == []


def test_scalars_of_a_run_that_goes_on_hide_what_was_written_after_its_state(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for begin, value in ((0, 1.0), (2, 2.0)):
        writer = open_scalars(tmp_path, begin)
        for iteration in range(begin + 1, 5):
            writer.add_scalar("test_error", value, iteration)
        writer.close()
    read = events.EventAccumulator(str(tmp_path)).Reload().Scalars("test_error")
    found = [(event.step, event.value) for event in read]
    assert found == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0)]


def test_without_tensorboard_there_are_no_scalars(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert open_scalars(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
