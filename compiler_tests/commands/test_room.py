"""Numbers that memory or the disk cannot hold are refused before the first of them is made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import Result

from compiler_tests.commands.running import call
from resnet_dsl.commands import room
from resnet_dsl.errors import CompileError

WIDE = ["--set", "stages.0.width=100000", "--set", "classes=10000000"]


def build(spec: Path, *arguments: str) -> Result:
    return call("build", spec, "--out", spec.parent / "out", "--json", *arguments)


@pytest.mark.parametrize("how", [("-t", "onnx"), ("--write-weights",)], ids=["onnx", "safetensors"])
def test_a_tensor_of_hundreds_of_gigabytes_is_refused_and_nothing_is_written(
    spec: Path, how: tuple[str, ...]
) -> None:
    done = build(spec, *how, *WIDE)
    assert done.exit_code == 2
    (found,) = json.loads(done.stdout)["errors"]
    assert found["code"] == "RD604"
    assert "GB" in found["why"] or "TB" in found["why"]
    assert not (spec.parent / "out").exists()


@pytest.mark.parametrize("how", [("-t", "onnx"), ("--write-weights",)], ids=["onnx", "safetensors"])
def test_a_disk_without_the_room_is_told_before_it_is_full(
    spec: Path, monkeypatch: pytest.MonkeyPatch, how: tuple[str, ...]
) -> None:
    monkeypatch.setattr(room, "free_disk", lambda folder: 1000)
    done = build(spec, *how)
    assert done.exit_code == 2
    (found,) = json.loads(done.stdout)["errors"]
    assert found["code"] == "RD603"
    assert "1.0 kB are free" in found["why"]
    assert not (spec.parent / "out").exists()


def test_the_source_of_a_network_of_any_size_can_be_written(spec: Path) -> None:
    assert build(spec, *WIDE).exit_code == 0
    assert (spec.parent / "out/small.py").stat().st_size < 10_000


def test_what_cannot_be_told_is_not_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "free_memory", lambda: None)
    monkeypatch.setattr(room, "free_disk", lambda folder: None)
    room.check_room(Path("nowhere"), "file", [("a", 1 << 60)])
    monkeypatch.setattr(room, "free_memory", lambda: 1 << 20)
    with pytest.raises(CompileError):
        room.check_room(Path("nowhere"), "file", [("a", 1 << 19)])


def test_the_room_of_a_folder_that_is_not_there_yet_is_that_of_its_place(tmp_path: Path) -> None:
    assert (room.free_disk(tmp_path / "a/b/c") or 1) > 0
    assert (room.free_memory() or 1 << 30) > 1 << 20
