"""Means and deviations over the seeds, and every form of the table."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from compiler_tests.studies.fakes import STUDY, finish, runs, write
from resnet_dsl.studies.folder import Failure, RunFolder
from resnet_dsl.studies.outcomes import Row, Statistic, rows
from resnet_dsl.studies.plan import Run
from resnet_dsl.studies.schema import Study, read_study
from resnet_dsl.studies.table import as_csv, as_data, as_markdown, as_text, crossed, listed, notes


class Finished:
    """A study of which some runs are finished: errors of 10 and 12 % (seeds 0 and 1) in plain nets of 6 layers, 9 % in
    the residual one with seed 0; the plain net of 10 layers with seed 1 has failed."""

    def __init__(self, folder: Path, study: str = STUDY) -> None:
        file = write(folder, study)
        self.study: Study = read_study(file)[0]
        self.out = folder / "out"
        self.runs: dict[str, Run] = {run.label: run for run in runs(file)}
        for label, error, seconds in (
            ("net=plain depth=6 seed=0", 10.0, 3.0),
            ("net=plain depth=6 seed=1", 12.0, 5.0),
            ("net=residual depth=6 seed=0", 9.0, 4.0),
        ):
            accuracies = {"test_accuracy": 100 - error, "best_test_accuracy": 100.5 - error}
            finish(self.out, self.runs[label], seconds=seconds, **accuracies)
        failed = RunFolder(self.out / "runs", self.runs["net=plain depth=10 seed=1"])
        failed.path.mkdir(parents=True)
        failed.record(Failure("no data", 2, False))

    @property
    def rows(self) -> list[Row]:
        return rows(self.out, self.runs.values())


@pytest.fixture
def finished(tmp_path: Path) -> Finished:
    return Finished(tmp_path)


def test_the_deviation_is_the_sample_s_and_none_of_one_value() -> None:
    assert Statistic.of([]) is None
    assert Statistic.of([3.0]) == Statistic(3.0, None, 1)
    two = Statistic.of([10.0, 12.0])
    assert two is not None
    assert two.mean == 11.0
    assert two.deviation == pytest.approx(2**0.5)


def test_one_axis_stands_beside_the_other(finished: Finished) -> None:
    assert crossed(finished.study, finished.rows) == [
        ["depth", "plain", "residual"],
        ["6", "11.00 ± 1.41", "9.00"],
        ["10", "failed", "–"],
    ]
    assert as_text(crossed(finished.study, finished.rows)) == [
        "depth         plain  residual",
        "    6  11.00 ± 1.41      9.00",
        "   10        failed         –",
    ]


def test_every_measure_is_listed_with_the_network_s_costs(finished: Finished) -> None:
    head, *body = listed(finished.study, finished.rows)
    assert head == [
        "net",
        "depth",
        "seeds",
        "parameters",
        "MACs",
        "test error, last epoch (%)",
        "test error, best epoch (%)",
        "time (s)",
    ]
    case = finished.rows[0].case
    costs = [f"{case.parameters:,}", f"{case.macs:,}"]
    assert body[0] == ["plain", "6", "2", *costs, "11.00 ± 1.41", "10.50 ± 1.41", "4.0 ± 1.4"]
    assert body[1][2] == "0 of 2"
    assert body[2][2] == "1 of 2"


def test_markdown_has_both_tables_and_the_figure(finished: Finished) -> None:
    text = as_markdown(finished.study, finished.rows, ["tiny.svg"])
    assert text.startswith(
        "# tiny\n\nA study of small nets.\n\n![tiny](tiny.svg)\n\nTest error, last"
    )
    assert (
        "| depth | plain | residual |\n| ---: | ---: | ---: |\n| 6 | 11.00 ± 1.41 | 9.00 |" in text
    )
    assert "| net | depth | seeds |" in text
    assert "3 of 8 runs are finished." in text
    assert text.endswith("\n")


def test_csv_has_numbers_alone_and_reads_back(finished: Finished) -> None:
    lines = list(csv.DictReader(io.StringIO(as_csv(finished.study, finished.rows))))
    assert len(lines) == 4
    first = lines[0]
    assert (first["net"], first["depth"], first["seeds"], first["finished"]) == (
        "plain",
        "6",
        "2",
        "2",
    )
    assert float(first["last_error_mean"]) == 11
    assert float(first["last_error_std"]) == pytest.approx(2**0.5)
    assert float(first["seconds_mean"]) == 4
    assert lines[1]["failed"] == "1"
    assert (lines[2]["last_error_mean"], lines[2]["last_error_std"]) == ("9.0", "")


def test_data_have_every_run(finished: Finished) -> None:
    data = json.loads(json.dumps(as_data(finished.study, finished.rows)))
    first = data["cases"][0]
    assert first["axes"] == {"net": "plain", "depth": "6"}
    assert first["measures"]["last_error"] == {
        "mean": 11.0,
        "std": pytest.approx(2**0.5),
        "seeds": 2,
    }
    assert [run["state"] for run in data["cases"][1]["runs"]] == ["waiting", "failed"]
    assert [run["measures"]["last_error"] for run in first["runs"]] == [10.0, 12.0]


def test_an_epoch_that_was_chosen_on_the_test_images_is_told(finished: Finished) -> None:
    assert not any("chosen" in note for note in notes(finished.rows))
    finish(finished.out, finished.runs["net=plain depth=6 seed=0"], selected_on="test")
    assert any("chosen on the test images" in note for note in notes(finished.rows))


def test_without_columns_every_case_is_a_line_of_one_table(tmp_path: Path) -> None:
    finished = Finished(tmp_path, STUDY.replace("table: {columns: net}\n", ""))
    assert crossed(finished.study, finished.rows) == []
    assert as_markdown(finished.study, finished.rows).count("| ---") > 1


def test_the_training_error_is_that_of_the_last_epoch(finished: Finished) -> None:
    run = finished.runs["net=plain depth=6 seed=0"]
    metrics = RunFolder(finished.out / "runs", run).output / "metrics.jsonl"
    lines = [{"iteration": 10 * i, "train_error": 9.0 - i, "test_error": 20 - i} for i in (1, 2)]
    metrics.write_text(
        "".join(json.dumps(line) + "\n" for line in lines) + '{"iteration": 30, "tra'
    )
    row = finished.rows[0]
    assert row.statistic("train_error") == Statistic(7.0, None, 1)
    found = row.curve()
    assert found is not None
    mean, spread = found
    assert (mean.iterations, mean.train, mean.test) == ((10, 20), (8, 7), (19, 18))
    assert spread is None
