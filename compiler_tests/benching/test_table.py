from __future__ import annotations

import pytest

from compiler_tests.benching.fakes import candidate, measured, point, results, row
from resnet_dsl.bench.candidates import BACKENDS, Absent, Candidate
from resnet_dsl.bench.outcome import Row
from resnet_dsl.bench.statistics import Ratio
from resnet_dsl.bench.table import WIDTH, _macs, lines, markdown, milliseconds, number, rate, times


def test_the_table_tells_every_batch_size_and_what_it_is_compared_with() -> None:
    text = "\n".join(lines(measured()))
    assert "network   net, 3×8×8, 1.00 G multiply-adds" in text
    assert "on        a processor, 2 cores, 2 threads" in text
    assert "peak      fp32 100 Gop/s" in text
    for batch in (1, 8):
        assert f"\nbatch {batch} " in text
    line = next(line for line in text.splitlines() if line.startswith("torch.compile"))
    cells = line.split("  ")
    assert "2.00 (2.00–2.00)" in [cell.strip() for cell in cells]
    assert "≈1.06 (0.90–1.09)" in text
    assert "base      torch eager fp32; in brackets the least and the greatest of 3 rounds" in text


def test_no_line_is_wider_than_a_hundred_columns() -> None:
    wide = [1e5, 2.5e6, 1234.5]
    rows = [
        Row(
            Candidate(backend, "fp16"),
            load_s=12.0,
            points={256: point(256, [rate * (place + 1) for rate in wide])},
            failures={128: "it said much " * 30},
        )
        for place, backend in enumerate(BACKENDS)
    ]
    rows.append(Row(candidate(3), absent=Absent("packages not installed " * 6, "pip install x")))
    found = lines(results(rows, (128, 256)))
    assert max(len(line) for text in found for line in text.split("\n")) <= WIDTH


def test_what_was_not_run_says_why_and_what_to_type() -> None:
    rows = [
        row(0, point(1, [1.0])),
        Row(candidate(1), absent=Absent("openvino not installed", "pip install openvino")),
        Row(candidate(2), failures={0: "no such file"}),
        Row(candidate(6), failures={8: "no room"}),
    ]
    text = "\n".join(lines(results(rows)))
    assert "openvino not installed: pip install openvino" in text
    assert "failed: no such file" in text
    assert "failed at batch 8: no room" in text
    assert "partial   it was interrupted in round 0" in text


def test_what_computes_something_else_is_told() -> None:
    rows = [row(0, point(1, [1.0])), row(3, point(1, [2.0], [2.0, 1.0]))]
    text = "\n".join(lines(results(rows)))
    assert "differs   torchvision fp32: its outputs are 50% from torch eager fp32's" in text


def test_with_nothing_measured_there_is_no_table() -> None:
    found = lines(results([Row(candidate(1), absent=Absent("not here"))]))
    assert not any(line.startswith("batch") for line in found)
    assert not any(line.startswith("base") for line in found)


def test_markdown_has_a_cell_for_every_heading() -> None:
    page = markdown(measured())
    assert page.startswith("# net: how fast\n")
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert len(table) == 2 * (2 + 3)
    assert {line.count("|") for line in table} == {10}


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0.1234, "0.12"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")],
)
def test_numbers_have_three_figures(value: float | None, text: str) -> None:
    assert number(value) == text


def test_units() -> None:
    assert milliseconds(0.0123) == "12.3"
    assert rate(1.5e12) == "1.50 Top/s"
    assert rate(222e9) == "222 Gop/s"
    assert rate(None) == "–"
    assert times(Ratio(4.0, 3.5, 4.25)) == "4.00 (3.50–4.25)"
    assert times(Ratio(1.0, 0.9, 1.1)) == "≈1.00 (0.90–1.10)"


def test_small_networks_are_told_in_millions() -> None:
    assert _macs(640_000) == "0.64 M multiply-adds"
    assert _macs(3.86e9) == "3.86 G multiply-adds"
