"""`bench` from the command line: what it prints, writes and refuses."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from compiler_tests.benching.fakes import alive
from compiler_tests.commands import running
from compiler_tests.commands.running import begin, run, wait_for, without
from resnet_dsl.bench.candidates import Candidate
from resnet_dsl.bench.messages import Load
from resnet_dsl.bench.outcome import Results
from resnet_dsl.bench.rounds import MakeLoad, Plan, Say
from resnet_dsl.bench.rounds import run as measure
from resnet_dsl.bench.table import WIDTH
from resnet_dsl.commands import benchmark
from resnet_dsl.commands.benchmark_files import Files

pytest.importorskip("onnxruntime")

SHORT = ("--batch", "1,4", "--seconds", "0.1", "--threads", "1", "--backend", "onnxruntime")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: Path) -> Path:
    """The folder of the spec, in which no machine is measured by matrices, which takes seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmark, "PRODUCTS", {"cpu": (), "cuda": ()})
    assert spec.parent == tmp_path
    return tmp_path


def test_a_table_is_printed_and_the_figures_are_written(here: Path) -> None:
    done = running.call("bench", "small.yaml", *SHORT)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "weights   drawn from seed 0: the network is untrained"
    assert max(map(len, lines)) <= WIDTH
    heads = [line for line in lines if line.startswith("batch")]
    assert [head.split()[1] for head in heads] == ["1", "4"]
    assert sum(line.startswith("ONNX Runtime fp32") for line in lines) == 2
    found = json.loads((here / "generated/small/small.bench.json").read_text())
    assert found["complete"]
    assert found["batches"] == [1, 4]
    assert found["baseline"] == "onnxruntime fp32"
    assert [item["precision"] for item in found["backends"]] == ["fp32", "int8"]
    for item in found["backends"]:
        for point in item["points"]:
            assert point["calls"] >= 5
            assert point["images_per_second"] > 0
            assert point["p50_ms"] > 0
    assert (here / "generated/small/small.bench.md").read_text().startswith("# small")


def test_a_program_gets_the_same_figures(here: Path) -> None:
    done = running.call(
        "bench", "small.yaml", *SHORT, "--json", "--precision", "fp32", "--out", "x"
    )
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    (backend,) = found["backends"]
    assert len(backend["points"]) == 2
    assert found["device"] == "cpu"
    written = [Path(item["path"]).name for item in found["files"]]
    assert written[:2] == ["small.bench.json", "small.bench.md"]
    kept = json.loads((here / "x/small.bench.json").read_text())
    assert kept["backends"] == found["backends"]


@pytest.mark.parametrize(
    ("options", "code", "hint"),
    [
        ("--batch 0", "RD696", "write --batch 1,8,32"),
        ("--batch 1,,2", "RD696", "write --batch 1,8,32"),
        ("--batch 99999999", "RD696", "write --batch 1,8,32"),
        ("--seconds 0", "RD696", "write --seconds 2"),
        ("--seconds nan", "RD696", "write --seconds 2"),
        ("--threads 0", "RD696", "write --threads"),
        ("--device tpu", "RD696", "write --device cuda"),
        ("--backend tensorflow", "RD695", ""),
        ("--backend onnxruntim", "RD695", "did you mean `onnxruntime`?"),
        ("--precision int3", "RD701", ""),
        ("--seed 1 --weights w.safetensors", "RD702", "leave one out"),
    ],
)
def test_what_cannot_be_measured_is_refused(here: Path, options: str, code: str, hint: str) -> None:
    done = run("bench", "small.yaml", *options.split(), cwd=here)
    assert done.returncode == 2
    assert f"error[{code}]" in done.stderr
    assert hint in done.stderr
    assert not (here / "generated").exists()


def test_a_gpu_that_is_not_there_is_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "local_gpus", lambda: ())
    done = running.call("bench", "small.yaml", "--device", "cuda")
    assert done.exit_code == 2
    assert "RD621" in done.stderr


def test_where_no_backend_is_installed_nothing_is_written(here: Path, tmp_path: Path) -> None:
    packages = "torch,torchvision,onnxruntime,openvino"
    done = run("bench", "small.yaml", cwd=here, env=without(packages, tmp_path / "without"))
    assert done.returncode == 2, done.stdout
    assert "error[RD699]" in done.stderr
    assert "pip install 'resnet-dsl[torch]'" in done.stderr
    assert "ONNX Runtime fp32   onnxruntime not installed: pip install" in done.stdout
    assert not (here / "generated").exists()


def test_without_a_spec_what_was_built_last_is_measured(here: Path) -> None:
    (here / "generated").mkdir()
    assert running.call("build", "small.yaml", "-t", "onnx", "--seed", "5").exit_code == 0
    done = running.call("bench", *SHORT, "--precision", "fp32")
    assert done.exit_code == 0, done.stderr
    assert "which was built last here: small.yaml, weights from seed 5" in done.stdout
    assert (here / "generated/small/small.bench.json").exists()


def test_without_anything_to_measure_that_is_said(here: Path) -> None:
    done = running.call("bench")
    assert done.exit_code == 2
    assert "RD637" in done.stderr


def test_a_backend_that_fails_is_told_of_and_the_others_are_measured(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Files.load

    def load(self: Files, candidate: Candidate) -> Load:
        found = original(self, candidate)
        if candidate.precision == "int8":
            Path(found.file or "").write_text("damaged")
        return found

    monkeypatch.setattr(Files, "load", load)
    done = running.call("bench", "small.yaml", *SHORT)
    assert done.exit_code == 0, done.stderr
    assert "ONNX Runtime int8  failed: " in done.stdout
    found = json.loads((here / "generated/small/small.bench.json").read_text())
    first, second = found["backends"]
    assert first["points"]
    assert not second["points"]
    assert second["failures"][0]["batch"] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the children of a process are read in /proc")
def test_ctrl_c_keeps_what_was_measured_and_leaves_no_process(here: Path) -> None:
    options = ("--batch", "1", "--seconds", "300", "--threads", "1", "--precision", "fp32")
    with begin("bench", "small.yaml", "--backend", "onnxruntime", *options, cwd=here) as running_:
        wait_for(lambda: len(children(running_.pid)) >= 2)
        started = children(running_.pid)
        os.kill(running_.pid, signal.SIGINT)
        _, said = running_.communicate(timeout=60)
    assert running_.returncode == 130
    assert "RD698" in said
    assert "interrupted" in said
    assert not list(here.glob("generated/*/.*"))
    wait_for(lambda: not any(map(alive, started)))


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    try:
        return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    except OSError:
        return []


def test_onnx_runtime_is_measured_without_torch(here: Path, tmp_path: Path) -> None:
    env = without("torch,torchvision,openvino,matplotlib", tmp_path / "without")
    options = ("--batch", "2", "--seconds", "0.1", "--threads", "1")
    done = run("bench", "small.yaml", *options, cwd=here, env=env)
    assert done.returncode == 0, done.stderr
    assert "torch eager fp32    torch not installed: pip install 'resnet-dsl[torch]'" in done.stdout
    assert "figure    not drawn: that needs matplotlib" in done.stdout
    found = json.loads((here / "generated/small/small.bench.json").read_text())
    run_ = [item["precision"] for item in found["backends"] if item["points"]]
    assert run_ == ["fp32", "int8"]
    assert {item["precision"] for item in found["peak"]} == {"fp32", "int8"}


def test_what_was_measured_before_an_interrupt_is_written_as_partial(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(
        results: Results, make: MakeLoad, peaks: Sequence[Load], plan: Plan, say: Say
    ) -> None:
        def until_second(text: str) -> None:
            if text.startswith("round 2"):
                raise KeyboardInterrupt
            say(text)

        measure(results, make, peaks, plan, until_second)

    monkeypatch.setattr(benchmark, "run", interrupted)
    done = running.call("bench", "small.yaml", *SHORT)
    assert done.exit_code == 130
    assert "error[RD698]" in done.stderr
    assert "partial   it was interrupted in round 2" in done.stdout
    found = json.loads((here / "generated/small/small.bench.json").read_text())
    assert not found["complete"]
    for item in found["backends"]:
        assert [len(point["rounds"]) for point in item["points"]] == [1, 1]
