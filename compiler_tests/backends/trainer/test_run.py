"""What a run of the emitted script writes and says, from its first line to its end."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import shutil
import signal
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from compiler_tests.backends.trainer.conftest import lines, said, same, unclocked
from compiler_tests.backends.trainer.test_resume import FAKE, FILES, images_in
from compiler_tests.commands.running import wait_for, without

pytestmark = pytest.mark.slow


def digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def trained(script, tmp_path_factory):
    """A run of twelve epochs, and what it has said."""
    made = script(tmp_path_factory.mktemp("trained"), epochs=12)
    done = made.run("--out", "whole", drawn=True)
    assert done.status == 0, done.stderr
    return made, made.folder / "whole", done


def test_a_run_writes_weights_metrics_curves_and_its_outcome(trained):
    _, run, _ = trained
    assert sorted(path.name for path in run.iterdir()) == [
        "best.safetensors",
        "curves.png",
        "curves.svg",
        "last.safetensors",
        "manifest.json",
        "metrics.jsonl",
        "result.json",
        "state.previous.pt",
        "state.pt",
        "tensorboard",
    ]
    from safetensors.torch import load_file

    weights = load_file(run / "last.safetensors")
    assert {"conv1.weight", "layer1.0.bn1.running_var", "fc.bias"} <= weights.keys()
    assert b"<svg" in (run / "curves.svg").read_bytes()
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_line_is_written_for_each_epoch(trained):
    _, run, _ = trained
    metrics = lines(run)
    assert [line["epoch"] for line in metrics] == list(range(1, 13))
    assert [line["iteration"] for line in metrics] == [22 * epoch for epoch in range(1, 13)]
    assert list(metrics[0]) == [
        "epoch",
        "iteration",
        "lr",
        "loss",
        "train_error",
        "test_loss",
        "test_error",
        "test_top5_error",
        "images_per_second",
        "seconds",
    ]
    assert metrics[0]["lr"] < metrics[1]["lr"] > metrics[-1]["lr"] > 0
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    assert metrics[-1]["train_error"] < 40  # of 1,900 parameters after seconds
    for line in metrics:
        assert 0 <= line["test_top5_error"] <= line["test_error"] <= 100
        assert line["images_per_second"] > 0


def test_the_outcome_says_what_an_evaluation_needs(trained):
    _, run, _ = trained
    metrics, result = lines(run), said(run)
    assert result["test_accuracy"] == 100 - metrics[-1]["test_error"]
    assert result["best_test_accuracy"] == 100 - min(line["test_error"] for line in metrics)
    best = metrics[result["best_epoch"] - 1]
    assert result["best_test_accuracy"] == 100 - best["test_error"]
    expected = {
        "network": "tiny",
        "spec": "0123456789abcdef" * 4,
        "data": "digits",
        "path": None,
        "resize": None,
        "normalise": "channel",
        "classes": list("0123456789"),
        "seed": 0,
        "epochs": 12,
        "iterations": 264,
        "selected_on": "test",
        "weights": "whole/last.safetensors",
        "best_weights": "whole/best.safetensors",
        "parameters": 1362,
        "device": "cpu",
        "threads": 1,
        "processes": 1,
    }
    assert {key: result[key] for key in expected} == expected
    assert result["weights_sha256"] == {
        "last": digest(run / "last.safetensors"),
        "best": digest(run / "best.safetensors"),
    }
    assert result["mean"] == [pytest.approx(0.3054, abs=1e-3)]
    assert result["std"] == [pytest.approx(0.3761, abs=1e-3)]


def test_the_manifest_says_how_the_run_is_repeated(trained):
    _, run, _ = trained
    manifest, result = said(run, "manifest"), said(run)
    expected = {
        "network": "tiny",
        "spec": "specs/tiny.yaml",
        "spec_sha256": "0123456789abcdef" * 4,
        "overrides": [],
        "seed": 0,
        "end": 12,
        "begun_from": None,
        "data": result["data_fingerprint"],
        "command": ["python", "train.py", "--out", "whole"],
        "weights_sha256": result["weights_sha256"],
    }
    assert {key: manifest[key] for key in expected} == expected
    assert manifest["settings"]["SHAPE"] == [1, 8, 8]
    assert manifest["settings"]["LR"] == 0.1
    assert {"python", "torch", "packages", "processor", "threads", "device"} <= manifest[
        "surroundings"
    ].keys()


def test_a_run_that_is_not_at_its_end_has_a_manifest_without_weights(script, tmp_path):
    made = script(tmp_path, **FAKE, overrides=("a=1", "b=2"))
    assert made.run("--out", "run", "--seed", "5", stop=(signal.SIGTERM, 6)).status == 143
    run = tmp_path / "run"
    manifest = said(run, "manifest")
    assert (manifest["seed"], manifest["overrides"]) == (5, ["a=1", "b=2"])
    assert manifest["weights_sha256"] is None
    assert not (run / "result.json").exists()
    made.good("run", "--resume")
    assert said(run, "manifest")["weights_sha256"]["last"] == digest(run / "last.safetensors")


def test_tensorboard_is_told_what_the_metrics_say(trained):
    _, run, _ = trained
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

    events = accumulator.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    found = [(event.step, event.value) for event in events.Scalars("test_error")]
    told = [(line["iteration"], pytest.approx(line["test_error"])) for line in lines(run)]
    assert found == told


def test_a_pipe_gets_one_plain_line_an_epoch_and_what_is_next(trained):
    _, _, done = trained
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    told = done.stdout.splitlines()
    place = re.compile(
        r"epoch (\d+)/12  [\d,]+ images/s  loss \d\.\d{4}  test error [\d.]+ %  eta \d+:\d\d:\d\d"
    )
    found = [place.fullmatch(line) for line in told[:12]]
    assert [each and each[1] for each in found] == [str(epoch) for epoch in range(1, 13)]
    assert re.fullmatch(
        r"test accuracy [\d.]+ %, best [\d.]+ % \(epoch \d+\), in \d:\d\d:\d\d", told[12]
    )
    assert told[13:] == [
        "weights: whole/last.safetensors",
        "next: resnet-dsl eval specs/tiny.yaml --weights whole/last.safetensors",
        "      resnet-dsl build specs/tiny.yaml --target onnx --weights whole/last.safetensors",
    ]
    assert done.stderr == ""


def test_one_seed_gives_one_result_and_another_seed_another(trained):
    made, run, _ = trained
    shorter = made.good("shorter", "--epochs", "2")
    assert same(made.good("again", "--epochs", "2"), shorter)
    other = made.good("other", "--epochs", "2", "--seed", "1")
    assert digest(other / "last.safetensors") != digest(shorter / "last.safetensors")
    assert said(other)["seed"] == 1
    # What a longer run begins with is the same, up to where the rate depends on the end.
    assert lines(shorter)[0]["loss"] == lines(run)[0]["loss"]


def test_a_run_without_what_is_optional_is_a_run(script, tmp_path, trained):
    """The digits need no torchvision, and nobody needs matplotlib or tensorboard."""
    _, run, _ = trained
    made = script(tmp_path, epochs=12)
    absent = without("torchvision,PIL,matplotlib,tensorboard", tmp_path / "absent")
    absent["PYTHONPATH"] = str(tmp_path / "absent")
    with made.start("--out", "run", env=absent) as running:
        said_, errors = running.communicate(timeout=300)
    assert running.returncode == 0, errors
    assert "next: resnet-dsl eval" in said_
    assert same(tmp_path / "run", run)
    assert not (tmp_path / "run/curves.svg").exists()
    assert not (tmp_path / "run/tensorboard").exists()


def test_ctrl_c_on_a_terminal_stops_a_run_with_its_workers_and_it_goes_on(script, tmp_path):
    """Ctrl-C goes to all processes of the terminal: also to those that decode images."""
    images_in(tmp_path)
    made = script(tmp_path, **{**FILES, "epochs": 60}, workers=2)
    run = tmp_path / "stopped"
    metrics = run / "metrics.jsonl"
    for _ in range(5):  # a machine that is busy with other work may stop a run too late
        with made.start("--out", run.name, start_new_session=True) as running:
            wait_for(lambda: metrics.exists() and len(metrics.read_text().splitlines()) >= 2)
            os.killpg(running.pid, signal.SIGINT)
            told, errors = running.communicate(timeout=120)
        if len(lines(run)) < 60:
            break
        shutil.rmtree(run)
    assert (running.returncode, errors) == (130, "")
    again = "and saved; to go on: python train.py --resume --out stopped\n"
    assert re.search(f"interrupted after iteration [0-9]+, {again}", told)
    with pytest.raises(ProcessLookupError):
        os.killpg(running.pid, 0)
    made.good(run.name, "--resume")
    assert same(run, made.good("whole"))


def test_ctrl_c_while_torch_is_imported_ends_the_script_without_a_word(script, tmp_path):
    made = script(tmp_path)
    slow = tmp_path / "slow"
    (slow / "torch").mkdir(parents=True)
    (slow / "torch/__init__.py").write_text(
        "import time\nprint('here', flush=True)\ntime.sleep(60)\n"
    )
    with made.start(env={**os.environ, "PYTHONPATH": str(slow)}) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "here\n"
        running.send_signal(signal.SIGINT)
        told, errors = running.communicate(timeout=60)
    assert (running.returncode, told, errors) == (-signal.SIGINT, "", "")


def test_a_terminal_gets_one_line_that_is_written_over(trained):
    made, _, _ = trained
    main, terminal = pty.openpty()
    with made.start("--epochs", "2", "--out", "terminal", stdout=terminal) as running:
        os.close(terminal)
        told = b""
        with contextlib.suppress(OSError):  # which is how the end of a terminal shows
            while part := os.read(main, 4096):
                told += part
        running.wait(timeout=60)
    os.close(main)
    assert running.returncode == 0
    progress, *rest = told.decode().split("\r\n")
    assert progress.count("\r\x1b[Kepoch ") >= 2
    assert rest[0].startswith("test accuracy ")
    assert "images/s" not in "".join(rest)


@pytest.mark.parametrize("number", [1e38, 3.0], ids=["not a number", "too large"])
def test_numbers_that_explode_stop_the_run_and_leave_the_last_good_files(script, tmp_path, number):
    # From the second epoch on the rate is out of reach.
    rates = {"schedule": "milestones", "milestones": (1,), "gamma": number * 1e2, "warmup": 0}
    made = script(tmp_path, epochs=4, loss_limit=1e9 if number > 3 else 20.0, **rates)
    done = made.run("--out", "run")
    assert done.status == 1
    found = re.match(r"stopped: the loss of iteration (\d+) is (\S+)\n", done.stderr)
    assert found is not None, done.stderr
    assert 22 < int(found[1]) <= 44
    assert not float(found[2]) <= 20
    assert "run/last.safetensors holds the weights saved last; what helps is a" in done.stderr
    run = tmp_path / "run"
    assert len(lines(run)) == 1
    assert not (run / "result.json").exists()
    one = made.good("one", "--epochs", "1")
    for name in ("last.safetensors", "best.safetensors"):
        assert digest(run / name) == digest(one / name)


def test_what_explodes_at_once_leaves_nothing_and_says_so(script, tmp_path):
    done = script(tmp_path, loss_limit=0.5).run("--out", "run")
    assert done.status == 1
    assert "stopped: the loss of iteration 1 is 2." in done.stderr
    assert "nothing was saved yet" in done.stderr


def test_a_full_disk_ends_the_run_and_leaves_what_was_there(script, tmp_path):
    made = script(tmp_path, epochs=2, warmup=0)
    whole = made.good("run")
    before = {path.name: path.read_bytes() for path in whole.glob("*.safetensors")}
    state = (whole / "state.pt").read_bytes()
    done = made.run("--out", "run", "--resume", "--epochs", "3", largest_file=4096)
    assert done.status == 1
    assert done.stderr == "train.py: [Errno 27] File too large\n"
    assert {path.name: path.read_bytes() for path in whole.glob("*.safetensors")} == before
    assert (whole / "state.pt").read_bytes() == state
    assert not list(whole.glob("*.part"))
    made.good("run", "--resume", "--epochs", "3")
    assert unclocked(whole)[:2] == unclocked(made.good("other", "--epochs", "2"))


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--epochs", "0"], 2, "nothing is trained in less than 1"),
        (["--seed", "-1"], 2, "--seed must be at least 0"),
        (["--iterations", "5"], 2, "unrecognized arguments"),
        (["--data", "x"], 2, "unrecognized arguments"),  # these data have no place
        (["--out", "train.py/run"], 1, "train.py: [Errno 20] Not a directory"),
        (["--weights", "gone.safetensors"], 2, "gone.safetensors cannot be read: No such file"),
        (["--weights", "tiny.py"], 2, "tiny.py: no safetensors"),
        (["--device", "cuda:99"], 2, "torch sees no such GPU here"),
    ],
)
def test_what_cannot_begin_says_why_in_a_line(trained, arguments, status, message):
    made, _, _ = trained
    done = made.run(*arguments)
    assert (done.status, message in done.stderr) == (status, True), done.stderr
    assert "Traceback" not in done.stderr


def test_the_usage_is_that_of_the_script(trained):
    made, _, _ = trained
    done = made.run("--help")
    assert done.status == 0
    assert "Train tiny on scikit-learn's digits: 1x8x8, 10 classes." in done.stdout
    assert "--epochs" in done.stdout
    assert sys.argv[0] not in done.stdout
