"""Tables say what the counts say, to a digit."""

from __future__ import annotations

import csv
import io
import xml.etree.ElementTree as ElementTree

import pytest

from resnet_dsl.evaluate.figure import draw_confusion
from resnet_dsl.evaluate.report import (
    MOST_CELLS,
    MOST_ROWS,
    Rate,
    Score,
    class_lines,
    class_rows,
    classes_csv,
    confusion_csv,
    confusion_lines,
    pairs,
    score_lines,
)

NAMES = ("cat", "dog", 'an, "odd" name of a class')
CONFUSION = [[8, 2, 0], [1, 4, 5], [0, 0, 0]]


def test_a_rate_has_its_error_and_its_standard_error():
    rate = Rate(90, 100)
    assert (rate.accuracy, rate.error) == (90, 10)
    assert rate.standard_error == pytest.approx(3)  # √(0.9 · 0.1 / 100)
    assert (Rate(0, 0).accuracy, Rate(0, 0).standard_error, Rate(5, 5).standard_error) == (0, 0, 0)


def test_one_network_is_told_in_lines():
    score = Score("a", 0.12345, Rate(90, 100), 5, Rate(99, 100))
    assert score_lines([score]) == [
        "top-1      90.00 %   error 10.00 ± 3.00 %   90 of 100",
        "top-5      99.00 %   error 1.00 ± 0.99 %   99 of 100",
        "loss      0.1235",
    ]
    few = Score("a", 0.5, Rate(1, 2), 5, None)
    assert not any("top-5" in line for line in score_lines([few]))
    assert "top_error" not in few.as_dict()
    assert score.as_dict()["top_error"] == pytest.approx(1)


def test_several_networks_are_a_table():
    scores = [
        Score("one", 0.5, Rate(90, 100), 2, Rate(99, 100)),
        Score("together", 0.25, Rate(100, 100), 2, Rate(100, 100)),
    ]
    assert score_lines(scores) == [
        "             top-1           error     top-2          error    loss",
        "one        90.00 %  10.00 ± 3.00 %   99.00 %  1.00 ± 0.99 %  0.5000",
        "together  100.00 %   0.00 ± 0.00 %  100.00 %  0.00 ± 0.00 %  0.2500",
    ]


def test_a_class_is_confused_most_with_what_it_is_told_to_be_most_often():
    rows = class_rows(NAMES, CONFUSION)
    assert [row.as_dict() for row in rows] == [
        {
            "name": "cat",
            "images": 10,
            "right": 8,
            "accuracy": 80,
            "confused_with": "dog",
            "times": 2,
        },
        {
            "name": "dog",
            "images": 10,
            "right": 4,
            "accuracy": 40,
            "confused_with": NAMES[2],
            "times": 5,
        },
        {
            "name": NAMES[2],
            "images": 0,
            "right": 0,
            "accuracy": None,
            "confused_with": None,
            "times": 0,
        },
    ]
    assert class_lines(rows) == [
        "class                     images    right  most confused with",
        "cat                           10  80.00 %  dog (2)",
        'dog                           10  40.00 %  an, "odd" name of a cla… (5)',
        'an, "odd" name of a cla…       0        -',
    ]


def test_of_many_classes_the_worst_are_listed():
    count = MOST_ROWS + 5
    confusion = [[label if told == label else 1 for told in range(count)] for label in range(count)]
    lines = class_lines(class_rows([f"c{label}" for label in range(count)], confusion))
    assert lines[0] == f"the {MOST_ROWS} of {count} classes that are told right least often:"
    assert len(lines) == MOST_ROWS + 2
    assert [line.split()[0] for line in lines[2:5]] == ["c0", "c1", "c2"]


def test_a_matrix_of_few_classes_is_printed_and_of_many_is_not():
    assert confusion_lines(("cat", "elephant"), [[8, 0], [1, 4]]) == [
        "is \\ told  cat  eleph…",
        "cat          8       ·",
        "elephant     1       4",
    ]
    many = range(MOST_CELLS + 1)
    assert confusion_lines([str(name) for name in many], [[0 for _ in many] for _ in many]) == []


def test_confusions_are_listed_by_how_common_they_are():
    assert pairs(NAMES, CONFUSION) == [
        {"class": "dog", "told": NAMES[2], "images": 5},
        {"class": "cat", "told": "dog", "images": 2},
        {"class": "dog", "told": "cat", "images": 1},
    ]


def test_csv_can_be_read_back_whatever_classes_are_called():
    read = list(csv.reader(io.StringIO(confusion_csv(NAMES, CONFUSION))))
    assert read[0] == ["", *NAMES]
    assert [row[0] for row in read[1:]] == list(NAMES)
    assert [[int(cell) for cell in row[1:]] for row in read[1:]] == CONFUSION
    rows = list(csv.DictReader(io.StringIO(classes_csv(class_rows(NAMES, CONFUSION)))))
    assert [row["right"] for row in rows] == ["8", "4", "0"]
    assert rows[1]["confused_with"] == NAMES[2]


@pytest.mark.parametrize("count", [2, 30, 60])
def test_the_figure_is_the_same_for_the_same_counts(count):
    pytest.importorskip("matplotlib")
    names = [f"${number}_^%" for number in range(count)]
    confusion = [[(a * b) % 7 for a in range(count)] for b in range(count)]
    found = draw_confusion(names, confusion)
    assert found is not None
    assert found == draw_confusion(names, confusion)
    root = ElementTree.fromstring(found)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert ("$1_^%" in found.decode()) == (count <= 40)


def test_without_matplotlib_there_is_no_figure(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    assert draw_confusion(("a",), [[1]]) is None
