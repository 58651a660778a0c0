"""The timing cache of full TensorRT: loaded, added to, shared by builds, and never the reason that one fails."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from compiler_tests.backends.tensorrt.full import ELEVEN, install, settings_of
from compiler_tests.backends.tensorrt.models import residual_net
from resnet_dsl.backends.tensorrt.builder import build_engine
from resnet_dsl.backends.tensorrt.options import EngineOptions
from resnet_dsl.backends.tensorrt.report import NOT_EXECUTED, EngineReport


@pytest.fixture(autouse=True)
def _full_tensorrt(monkeypatch):
    install(monkeypatch)


def build(folder: Path, cache: Path, name: str = "net", **net: Any) -> EngineReport:
    onnx = residual_net(folder / f"{name}.onnx", **net)
    return build_engine(onnx, folder / f"{name}.engine", EngineOptions(timing_cache=cache))


def timed(report: EngineReport) -> int:
    return int(settings_of(report.engine)["timed"])


def entries(cache: Path) -> set[str]:
    return set(json.loads(cache.read_bytes().removeprefix(b"TRTCACHE"))["entries"])


def test_the_second_build_times_nothing_anew(tmp_path):
    cache = tmp_path / "folder" / "timing.cache"
    first = build(tmp_path, cache)
    assert timed(first) > 5
    written = cache.read_bytes()
    second = build(tmp_path, cache)
    assert timed(second) == 0
    assert cache.read_bytes() == written
    assert [item.name for item in cache.parent.iterdir()] == ["timing.cache"]
    assert first.notes == second.notes == (NOT_EXECUTED,)


def test_another_network_adds_what_it_has_timed(tmp_path):
    cache = tmp_path / "timing.cache"
    build(tmp_path, cache, classifier=False)
    before = entries(cache)
    assert timed(build(tmp_path, cache)) == 1
    assert entries(cache) == before | {"fc"}


def test_builds_at_one_time_lose_nothing(tmp_path):
    cache = tmp_path / "timing.cache"
    names = [f"net{number}" for number in range(4)]

    def one(name: str) -> None:
        folder = tmp_path / name
        folder.mkdir()
        content = residual_net(folder / "a.onnx", shape=(1, 8, 8, 8)).read_bytes()
        (folder / "net.onnx").write_bytes(content.replace(b"layer1", name.encode()[:6].ljust(6)))
        options = EngineOptions(timing_cache=cache)
        build_engine(folder / "net.onnx", folder / "net.engine", options)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, names))
    found = entries(cache)
    assert all(any(entry.startswith(name.ljust(6)) for entry in found) for name in names)


@pytest.mark.parametrize(
    "machine", [{"version": ELEVEN}, {"gpus": "Tesla T4:75"}], ids=["release", "gpu"]
)
def test_a_cache_of_another_release_or_gpu_is_neither_used_nor_changed(
    tmp_path, monkeypatch, machine
):
    cache = tmp_path / "timing.cache"
    build(tmp_path, cache)
    before = cache.read_bytes()
    install(monkeypatch, **machine)
    report = build(tmp_path, cache)
    assert timed(report) > 5
    assert cache.read_bytes() == before
    assert any("is no timing cache of this GPU and this TensorRT" in note for note in report.notes)


def test_a_damaged_cache_is_left_alone(tmp_path):
    cache = tmp_path / "timing.cache"
    cache.write_bytes(b"TRTCACHE{")
    report = build(tmp_path, cache)
    assert cache.read_bytes() == b"TRTCACHE{"
    assert any("neither used nor changed" in note for note in report.notes)


def test_a_cache_that_cannot_be_read_or_written_costs_no_engine(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for cache in (tmp_path, tmp_path / "file" / "timing.cache"):
        report = build(tmp_path, cache)
        assert report.engine.is_file()
        (note,) = [item for item in report.notes if "the timing cache" in item]
        assert "cannot be" in note
