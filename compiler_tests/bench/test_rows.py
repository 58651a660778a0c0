import io
import json

import pytest
from rich.console import Console

from compiler_tests.bench.rows import Row, Target, table, to_json, to_markdown

FASTER = Row("a", "build", "s", 0.5, 40.0, "peer", Target("times less", 75))
SMALLER = Row("a", "memory", "×", 2.5, target=Target("at most", 2.5))
ALONE = Row("b", "export", "s", 0.5, None, "peer", Target("times less", 75))
PAIRED = Row("c", "latency", "ms", 10.0, 10.0, "peer", Target("times less", 0.95), 0.9)


def test_the_ratio_is_the_peers_figure_over_ours() -> None:
    assert FASTER.ratio == 80


def test_a_ratio_measured_in_pairs_takes_the_place_of_the_medians() -> None:
    assert PAIRED.ratio == 0.9


@pytest.mark.parametrize(
    ("row", "passed"),
    [(FASTER, True), (SMALLER, True), (PAIRED, False), (ALONE, None)],
    ids=["faster", "at the limit", "slower", "peer not run"],
)
def test_a_target_is_met_missed_or_left_open(row: Row, passed: bool | None) -> None:
    assert row.passed is passed


def test_the_table_shows_figures_targets_and_verdicts() -> None:
    out = io.StringIO()
    Console(file=out, width=140).print(table([FASTER, PAIRED]))
    text = out.getvalue()
    for part in ("0.5 s", "40 s (peer)", "80×", "≥ 75×", "met", "missed"):
        assert part in text


def test_json_holds_rows_and_failures() -> None:
    found = json.loads(to_json([FASTER, ALONE], {"Python": "3"}, {"d": "no such command"}))
    assert [row["passed"] for row in found["rows"]] == [True, None]
    assert found["rows"][0]["target"] == {"kind": "times less", "value": 75}
    assert found["failures"] == {"d": "no such command"}


def test_markdown_is_a_table_with_a_cell_for_every_heading() -> None:
    page = to_markdown([FASTER, SMALLER], {"Python": "3"}, "Notes.")
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {7}
    assert "- Python: 3" in page
