"""`study`: what it plans, what it trains, what it shows, and what it refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from compiler_tests.commands import running
from compiler_tests.commands.running import environment, run, wait_for, without
from compiler_tests.studies.fakes import STUDY, trainer, write
from resnet_dsl.commands import study as command
from resnet_dsl.studies.claims import Claims

Call = Callable[[str], Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command line beside tiny.yaml, whose runs are trained by a stand-in."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path, STUDY.replace("[6, 10]", "[6]"))
    monkeypatch.setattr(command, "trainer", lambda: trainer(tmp_path))
    return lambda text: running.call("study", *text.split())


def test_without_a_name_the_studies_of_the_library_are_listed(tmp_path: Path) -> None:
    done = running.call("study")
    assert [line.split()[0] for line in done.stdout.splitlines()[:-1]] == [
        "degradation",
        "recursive",
        "responses",
        "shortcuts",
        "skip",
    ]
    data = json.loads(running.call("study", "--json").stdout)
    assert data["studies"][0]["name"] == "degradation"
    assert all(one["doc"] for one in data["studies"])


def test_a_plan_tells_the_runs_and_costs_and_does_nothing(call: Call, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    done = call("tiny.yaml --plan")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[1].split()[:4] == ["net=plain", "depth=6", "seed=0", "waiting"]
    data = json.loads(call("tiny.yaml --plan --json").stdout)
    assert [one["state"] for one in data["runs"]] == ["waiting"] * 4
    one = data["runs"][0]
    assert one["training_macs"] == 3 * one["macs"] * 3 * 1437
    total = sum(one["training_macs"] for one in data["runs"])
    assert f"4 runs, 4 of them to do: {total:.2e} MACs\n" in done.stdout
    assert sorted(tmp_path.iterdir()) == before


def test_a_study_is_trained_and_shown(call: Call, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = call("tiny.yaml --out out")
    assert done.exit_code == 0, done.output
    assert "net=plain depth=6 seed=0: finished, test error 7.00 %" in done.stderr
    assert "depth        plain     residual" in done.stdout
    assert "    6  7.50 ± 0.71  2.50 ± 0.71" in done.stdout
    made = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert made == ["runs", "tiny.csv", "tiny.json", "tiny.md", "tiny.png", "tiny.svg"]
    assert [line.split()[1] for line in done.stdout.splitlines() if line.startswith("wrote")] == [
        f"out/tiny.{kind}" for kind in ("md", "csv", "json", "svg", "png")
    ]
    plan = json.loads(call("tiny.yaml --out out --plan --json").stdout)
    assert [one["state"] for one in plan["runs"]] == ["finished"] * 4
    assert "4 runs, 0 of them to do\n" in call("tiny.yaml --out out --plan").stdout


def test_a_program_gets_the_outcome_and_people_the_progress(call: Call) -> None:
    done = call("tiny.yaml --out out --json")
    data = json.loads(done.stdout)
    assert data["study"] == "tiny"
    assert [run["state"] for case in data["cases"] for run in case["runs"]] == ["finished"] * 4
    assert len(data["files"]) >= 3
    assert "begins in" in done.stderr
    again = call("tiny.yaml --out out --table --json")
    assert again.stderr == ""
    assert json.loads(again.stdout)["cases"] == data["cases"]


def test_values_seeds_and_settings_are_chosen(call: Call) -> None:
    arguments = "tiny.yaml --plan --axis net=residual --axis depth=6,14 --seeds 3,4"
    data = json.loads(call(f"{arguments} --set train.epochs=5 --json").stdout)
    assert [(one["axes"]["net"], one["axes"]["depth"], one["seed"]) for one in data["runs"]] == [
        ("residual", "6", 3),
        ("residual", "6", 4),
        ("residual", "14", 3),
        ("residual", "14", 4),
    ]
    assert data["runs"][0]["training_macs"] == 5 * 1437 * 3 * data["runs"][0]["macs"]


def test_failed_runs_are_told_with_their_reasons_and_the_rest_is_shown(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE", "1=fail")
    done = call("tiny.yaml --out out")
    assert done.exit_code == 2
    assert done.stderr.count("error[RD662]") == 2
    assert "net=plain depth=6 seed=1 has failed" in done.stderr
    assert "why: the data do not fit: 7 classes" in done.stderr
    assert "--retry" in done.stderr
    assert "    6   7.00      2.00" in done.stdout
    assert "failed: the data do not fit" in call("tiny.yaml --out out --plan").stdout
    monkeypatch.setenv("FAKE", "")
    assert call("tiny.yaml --out out").exit_code == 2
    assert call("tiny.yaml --out out --retry").exit_code == 0


def test_nothing_finished_is_nothing_to_draw(call: Call, tmp_path: Path) -> None:
    done = call("tiny.yaml --out out --table")
    assert done.exit_code == 0, done.output
    assert "0 of 4 runs are finished." in done.stdout
    assert not (tmp_path / "out").exists()


def test_a_run_of_another_process_is_told(call: Call, tmp_path: Path) -> None:
    plan = json.loads(call("tiny.yaml --out out --plan --json").stdout)
    folder = Path(plan["runs"][0]["folder"])
    folder.mkdir(parents=True)
    (folder / "claim.1").write_text(json.dumps({"host": "node7", "place": "x", "pid": 12}))
    done = call("tiny.yaml --out out")
    assert done.exit_code == 0, done.output
    assert "elsewhere net=plain depth=6 seed=0: process 12 on node7" in done.stdout
    assert "3 of 4 runs are finished." in done.stdout
    assert "running, process 12 on node7" in call("tiny.yaml --out out --plan").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said", "hint"),
    [
        ("degredation", "RD660", "there is no study `degredation`", "degradation"),
        ("tiny.yml", "RD001", "there is no file `tiny.yml`", "tiny.yaml"),
        ("tiny.yaml --plan --table", "RD702", "--plan and --table", "one of them"),
        ("tiny.yaml --plan --retry", "RD702", "--retry does nothing with --plan", "leave"),
        ("tiny.yaml --table --jobs 2", "RD702", "--jobs does nothing with --table", "leave"),
        ("tiny.yaml --table --device cpu", "RD702", "--device does nothing", "leave"),
        ("--plan", "RD702", "no study is named", "name one"),
        ("tiny.yaml --seeds 1,x", "RD701", "--seeds 'x' cannot be read", "0,1,2"),
        ("tiny.yaml --seeds -1", "RD701", "--seeds '-1' cannot be read", "0,1,2"),
        ("tiny.yaml --axis depth", "RD701", "--axis 'depth' cannot be read", "depth=8,14"),
        ("tiny.yaml --axis depth=6,", "RD701", "--axis 'depth=6,' cannot be", "depth=8,14"),
        ("tiny.yaml --axis dept=6", "RD661", "there is no axis `dept`", "depth"),
        ("tiny.yaml --axis net=plane", "RD661", "`plane` is no value", "plain"),
        ("tiny.yaml --set train.seed=1", "RD661", "from the study's seeds", "--seeds"),
        ("tiny.yaml --set train.epoch=1", "RD101", "unknown key `epoch`", "epochs"),
        ("tiny.yaml --set stage.*.depth=1", "RD661", "the `*` stands", "stages.*"),
        ("tiny.yaml --set classes=7", "RD651", "net=plain depth=6 (and 1 more)", ""),
        ("tiny.yaml --jobs 0", "RD701", "--jobs", "--help"),
    ],
)
def test_wrong_input_is_refused_and_nothing_is_written(
    call: Call, tmp_path: Path, arguments: str, code: str, said: str, hint: str
) -> None:
    before = sorted(tmp_path.iterdir())
    done = run("study", *arguments.split(), cwd=tmp_path) if "--jobs 0" in arguments else None
    output = call(arguments).stderr if done is None else done.stderr
    assert f"error[{code}]" in output
    assert said in output
    assert hint in output
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_cannot_be_written_is_refused(call: Call, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    done = call("tiny.yaml --out out")
    assert done.exit_code == 2
    assert "error[RD602]" in done.stderr
    assert "cannot be written" in done.stderr


@pytest.mark.slow
def test_without_matplotlib_there_are_tables_and_a_hint(tmp_path: Path) -> None:
    write(tmp_path, STUDY.replace("[6, 10]", "[6]"))
    plan = json.loads(run("study", "tiny.yaml", "--plan", "--json", cwd=tmp_path).stdout)
    for one in plan["runs"]:
        folder = tmp_path / one["folder"] / "run"
        folder.mkdir(parents=True)
        result = {"spec": one["spec_sha256"], "test_accuracy": 90, "best_test_accuracy": 91}
        (folder / "result.json").write_text(json.dumps(result))
    env = without("matplotlib", tmp_path / "blocked")
    done = run("study", "tiny.yaml", "--table", cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert "for want of matplotlib: pip install 'resnet-dsl[train]'" in done.stdout
    made = sorted(file.suffix for file in (tmp_path / "generated/studies").glob("tiny.*"))
    assert made == [".csv", ".json", ".md"]


def test_without_torch_nothing_begins(tmp_path: Path) -> None:
    write(tmp_path)
    env = without("torch", tmp_path / "blocked")
    done = run("study", "tiny.yaml", cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert "error[RD650]: this needs torch" in done.stderr
    assert not (tmp_path / "generated").exists()
    assert run("study", "tiny.yaml", "--plan", cwd=tmp_path, env=env).returncode == 0


WITH_TRAINER = """\
import sys
from resnet_dsl.commands import study
study.trainer = lambda: (sys.executable, "trainer.py")
from resnet_dsl.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_stops_the_training_and_leaves_what_can_go_on(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    write(tmp_path, STUDY.replace("[6, 10]", "[6]"))
    with subprocess.Popen(
        [sys.executable, "-c", WITH_TRAINER, "study", "tiny.yaml", "--out", "out"],
        cwd=tmp_path,
        env=environment(FAKE="0=wait"),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        wait_for(lambda: list((tmp_path / "out").glob("runs/*/run/state.pt")))
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert "net=plain depth=6 seed=0: is being stopped" in said
    assert "Traceback" not in said
    (folder,) = (tmp_path / "out" / "runs").iterdir()
    assert (folder / "log.txt").read_text() == "epoch 1/3\nsaved\n"
    assert Claims(folder).holder() is None
