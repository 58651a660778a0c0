"""Folders that cannot be written, disks that are full, and several builds at once: whole files, or none."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from compiler_tests.commands.running import (
    SMALL,
    begin,
    call,
    command,
    environment,
    run,
    wait_for,
)
from resnet_dsl.backends.tensorrt.builder import build_engine
from resnet_dsl.backends.tensorrt.options import EngineOptions
from resnet_dsl.errors import CompileError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits and signals of POSIX")

EVERYTHING = ("-t", "torch", "-t", "onnx", "-t", "train", "--write-weights")


def files(folder: Path) -> dict[str, bytes]:
    found = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in found}


def limited(size: int) -> Callable[[], None]:
    """Run before a child begins: no file of it can grow beyond `size` bytes, as on a disk that is full."""

    def limit() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


@pytest.mark.parametrize("size", [0, 1000, 9000, 20_000])
def test_a_full_disk_leaves_what_was_there(spec: Path, size: int) -> None:
    out = spec.parent / "out"
    assert call("build", spec, *EVERYTHING, "--out", out).exit_code == 0
    before = files(out)
    larger = ("-t", "torch", "-t", "onnx", "--set", "classes=1100")
    done = run("build", spec, *larger, "--out", out, cwd=spec.parent, before=limited(size))
    assert done.returncode == 2, done.stderr
    assert "error[RD603]" in done.stderr
    assert "what was there before is as it was" in done.stderr
    assert files(out) == before


@pytest.mark.parametrize(
    "where", ["a file", "below a file", "a folder in the way", "/proc/nowhere"]
)
def test_a_place_that_cannot_be_written_is_refused(spec: Path, where: str) -> None:
    folder = spec.parent
    (folder / "file").write_text("mine")
    (folder / "taken/small.py").mkdir(parents=True)
    out = {
        "a file": folder / "file",
        "below a file": folder / "file/deep",
        "a folder in the way": folder / "taken",
        "/proc/nowhere": Path("/proc/nowhere"),
    }[where]
    done = call("build", spec, "-t", "torch", "-t", "onnx", "--out", out, "--json")
    assert done.exit_code == 2
    (found,) = json.loads(done.stdout)["errors"]
    assert found["code"] == "RD602"
    assert (folder / "file").read_text() == "mine"
    assert files(folder / "taken") == {}


@pytest.mark.parametrize(
    "name", ["two words", 'it\'s "so"', "$(id)", "größe", "-dash", "new\nline", "[x]*?", "%s {0}"]
)
def test_a_folder_may_have_any_name(spec: Path, name: str) -> None:
    out = spec.parent / name
    done = call("build", spec, *EVERYTHING, f"--out={out}", "--json")
    assert done.exit_code == 0, done.stderr
    assert {Path(file["path"]).name for file in json.loads(done.stdout)["files"]} == set(files(out))
    assert call("build", spec, *EVERYTHING, f"--out={out}").exit_code == 0


def test_a_link_is_replaced_and_what_it_leads_to_is_left(spec: Path) -> None:
    target, out = spec.parent / "precious", spec.parent / "out"
    target.write_text("mine")
    out.mkdir()
    (out / "small.py").symlink_to(target)
    assert call("build", spec, "--out", out).exit_code == 0
    assert target.read_text() == "mine"
    assert not (out / "small.py").is_symlink()


@pytest.mark.slow
def test_builds_into_one_folder_at_once_leave_whole_files(spec: Path) -> None:
    out, alone = spec.parent / "out", spec.parent / "alone"
    arguments = ("build", spec, "-t", "torch", "-t", "onnx", "--write-weights")
    running = [
        subprocess.Popen(command(*arguments, "--out", out), env=environment(), stdout=subprocess.DEVNULL)
        for _ in range(4)
    ]  # fmt: skip
    assert [each.wait(timeout=120) for each in running] == [0] * 4
    assert call(*arguments, "--out", alone).exit_code == 0
    assert files(out) == files(alone)


@pytest.mark.slow
def test_what_a_killed_build_left_is_ignored_and_later_removed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with begin("build", "resnet152", "-t", "onnx", "--out", "out", cwd=tmp_path) as running:
        wait_for(lambda: list(out.glob(".*")))
        running.kill()
    (left,) = out.iterdir()
    assert left.name.startswith(".resnet152.onnx.")
    os.utime(left, (0, 0))
    done = call("build", "resnet152", "-t", "onnx", "--set", "stages.2.depth=1", "--out", out)
    assert done.exit_code == 0, done.stderr
    assert list(files(out)) == ["resnet152.onnx"]


# Engines


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "terminate"]
)
def test_a_signal_while_an_engine_is_built_leaves_no_part_and_no_process(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    pytest.importorskip("tensorrt_rtx")
    out = tmp_path / "out"
    with begin("compile", "resnet152", "--out", "out", cwd=tmp_path) as running:
        wait_for(lambda: list(out.glob(".*.engine.*")))
        time.sleep(0.5)
        children = _children(running.pid)
        running.send_signal(number)
        _, said = running.communicate(timeout=60)
    assert running.returncode == status, said
    assert "Traceback" not in said
    assert list(files(out)) == []
    assert children
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


def _children(parent: int) -> list[int]:
    found = Path(f"/proc/{parent}/task/{parent}/children")
    if not found.exists():
        pytest.skip("no list of children here")
    return [int(word) for word in found.read_text().split()]


def test_the_part_of_a_builder_that_was_killed_long_ago_is_removed(tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    engine, model = tmp_path / "net.engine", tmp_path / "net.onnx"
    model.write_bytes(b"x")
    old, new = tmp_path / ".net.engine.0a1b2c3d.part", tmp_path / ".net.engine.ffffffff.part"
    for file in (old, new):
        file.write_text("part")
    os.utime(old, (0, 0))
    failing = (sys.executable, "-c", "raise SystemExit(3)")
    with pytest.raises(CompileError):
        build_engine(model, engine, EngineOptions(), worker=failing)
    assert sorted(files(tmp_path)) == sorted({model.name, new.name})


@pytest.mark.slow
def test_an_engine_that_does_not_fit_on_the_disk_leaves_no_part(spec: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    out = spec.parent / "out"
    done = run("compile", spec, "--out", out, cwd=spec.parent, before=limited(50_000))
    assert done.returncode == 2, done.stderr
    assert "error[RD6" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(files(out)) == []


def test_a_stage_named_as_the_graphs_own_input_is_told_so(spec: Path) -> None:
    spec.write_text(SMALL.replace("depth: 1,", "depth: 1, name: logits,"))
    plain = call("build", spec, "-t", "onnx", "--out", spec.parent / "out")
    assert plain.exit_code == 0, plain.stderr
    done = call("build", spec, "-t", "onnx", "--output", "logits", "--json")
    (found,) = json.loads(done.stdout)["errors"]
    assert found["code"] == "RD642"
    assert found["hint"] == "give the stage another name"
