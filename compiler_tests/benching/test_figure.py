from __future__ import annotations

import sys

import pytest

from compiler_tests.benching.fakes import candidate, measured, results
from resnet_dsl.bench.figure import draw
from resnet_dsl.bench.outcome import Row


def test_the_figure_names_each_backend_and_is_the_same_each_time() -> None:
    pytest.importorskip("matplotlib")
    found = measured()
    picture = draw(found)
    assert picture is not None
    assert picture.startswith("<?xml")
    for row in found.rows:
        assert row.candidate.title in picture
    assert draw(measured()) == picture


def test_there_is_no_figure_of_nothing() -> None:
    assert draw(results([Row(candidate(0))])) is None


def test_there_is_no_figure_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert draw(measured()) is None
