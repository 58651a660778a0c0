"""Engine headers, read without TensorRT."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from resnet_dsl.backends.tensorrt.header import peek, read_header
from resnet_dsl.backends.tensorrt.products import RTX, TENSORRT
from resnet_dsl.errors import CompileError, Diagnostic


def engine(
    magic: bytes = b"vtrt",
    size: int = 4096,
    declared: int | None = None,
    version: tuple[int, ...] = (1, 7, 1, 116),
) -> bytes:
    word = (size if declared is None else declared).to_bytes(8, "little")
    start = magic + bytes(12) + word + bytes(version) + magic
    return start + bytes(size - len(start))


def finding(path: Path) -> Diagnostic:
    with pytest.raises(CompileError) as raised:
        read_header(path)
    (found,) = raised.value.diagnostics
    return found


def test_an_rtx_engine_tells_its_version_and_size(tmp_path):
    path = tmp_path / "a.engine"
    path.write_bytes(engine())
    found = read_header(path)
    assert found.product is RTX
    assert found.version == "1.7.1.116"
    assert found.size == found.declared_size == 4096


def test_a_tensorrt_engine_tells_its_version(tmp_path):
    path = tmp_path / "a.engine"
    path.write_bytes(engine(b"ftrt", version=(10, 13, 0, 35), declared=7))
    found = read_header(path)
    assert found.product is TENSORRT
    assert (found.version, found.declared_size) == ("10.13.0.35", None)


@pytest.mark.parametrize(
    ("content", "message", "why"),
    [
        (b"", "{} is empty", None),
        (engine()[:20], "{} is cut short: 20 bytes", "the header alone has 32 bytes"),
        (
            engine()[:4000],
            "{} is cut short",
            "its header says 4,096 bytes, and the file has 4,000",
        ),
        (
            engine() + b"x",
            "{} has bytes after its end",
            "its header says 4,096 bytes, and the file has 4,097",
        ),
        (
            b"PK\x03\x04" + bytes(100),
            "{} is not a TensorRT engine",
            "an engine begins with `ftrt` (TensorRT) or `vtrt` (TensorRT for RTX), and this file with 50 4b 03 04",
        ),
        (
            b"name: resnet50",
            "{} is not a TensorRT engine",
            "an engine begins with `ftrt` (TensorRT) or `vtrt` (TensorRT for RTX), and this file with `name`",
        ),
    ],
)
def test_a_file_that_is_no_whole_engine_is_refused(tmp_path, content, message, why):
    path = tmp_path / "a.engine"
    path.write_bytes(content)
    found = finding(path)
    assert (found.code, found.message, found.why) == ("RD631", message.format(path), why)
    assert found.hint is not None
    assert "resnet-dsl compile" in found.hint


@pytest.mark.parametrize(
    ("content", "whole"),
    [(engine(), True), (engine()[:40], False), (engine() + b"x", False), (engine(b"ftrt"), None)],
)
def test_a_header_is_read_whatever_follows_it(tmp_path, content, whole):
    path = tmp_path / "a.engine"
    path.write_bytes(content)
    found = peek(path)
    assert found.whole is whole
    assert found.size == len(content)
    assert found.version == "1.7.1.116"


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.engine")
    found = finding(tmp_path / "a.engine")
    assert found.code == "RD001"
    assert "it is a device or a pipe" in found.message


def test_a_missing_file_and_a_folder_cannot_be_read(tmp_path):
    assert finding(tmp_path / "none.engine").code == "RD001"
    assert finding(tmp_path).code == "RD001"
