"""Engines as files: whole or not, whose manifest stands beside them, and where they can run."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from compiler_tests.backends.tensorrt.engines import described, engine_bytes, write_engine
from resnet_dsl.backends.tensorrt.inspection import check_whole, inspect_engine
from resnet_dsl.backends.tensorrt.manifest import manifest_path, read_manifest
from resnet_dsl.backends.tensorrt.products import RTX, TENSORRT
from resnet_dsl.errors import CompileError


def codes(path: Path) -> list[str]:
    return [item.code for item in inspect_engine(path).findings]


@pytest.mark.parametrize("product", ["tensorrt_rtx", "tensorrt"])
def test_an_engine_with_its_manifest_is_whole(tmp_path: Path, product: str) -> None:
    path = write_engine(tmp_path, product)
    found = inspect_engine(path)
    assert found.whole == "yes"
    assert found.findings == ()
    assert found.sha256 == sha256(path.read_bytes()).hexdigest()
    assert found.header.product is (RTX if product == "tensorrt_rtx" else TENSORRT)
    assert found.manifest == read_manifest(manifest_path(path))
    check_whole(path, read_manifest(manifest_path(path)))


@pytest.mark.parametrize(
    ("product", "whole"), [("tensorrt_rtx", "by its length"), ("tensorrt", "not known")]
)
def test_without_a_manifest_only_the_header_speaks(
    tmp_path: Path, product: str, whole: str
) -> None:
    path = write_engine(tmp_path, product)
    manifest_path(path).unlink()
    found = inspect_engine(path)
    assert (found.whole, found.manifest, found.findings) == (whole, None, ())


@pytest.mark.parametrize("product", ["tensorrt_rtx", "tensorrt"])
@pytest.mark.parametrize("place", [32, 2000, 4095])
def test_one_bit_that_differs_is_seen(tmp_path: Path, product: str, place: int) -> None:
    path = write_engine(tmp_path, product)
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    found = inspect_engine(path)
    assert found.whole == "no"
    assert [item.code for item in found.findings] == ["RD633"]
    assert "was altered after it was built" in found.findings[0].message
    with pytest.raises(CompileError, match="altered"):
        check_whole(path, read_manifest(manifest_path(path)))


@pytest.mark.parametrize("product", ["tensorrt_rtx", "tensorrt"])
@pytest.mark.parametrize(
    ("kept", "message"), [(4000, "is cut short"), (33, "is cut short"), (9000, "has bytes after")]
)
def test_an_engine_of_another_length_is_seen(
    tmp_path: Path, product: str, kept: int, message: str
) -> None:
    path = write_engine(tmp_path, product)
    path.write_bytes((path.read_bytes() + bytes(9000))[:kept])
    found = inspect_engine(path)
    assert found.whole == "no"
    assert [item.code for item in found.findings] == ["RD631"]
    assert message in found.findings[0].message
    assert found.manifest is not None or product == "tensorrt"
    with pytest.raises(CompileError, match=message):
        check_whole(path, read_manifest(manifest_path(path)))


def test_a_damaged_engine_is_damaged_without_a_manifest_too(tmp_path: Path) -> None:
    path = write_engine(tmp_path)
    manifest_path(path).unlink()
    path.write_bytes(path.read_bytes()[:1000])
    assert codes(path) == ["RD631"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"product": "tensorrt", "version": "10.13.0.35"}, "it is of TensorRT 10.13.0.35, and"),
        ({"version": "1.6.0.1"}, "it is of TensorRT for RTX 1.6.0.1, and this file is of"),
        ({"version": "nonsense"}, "it is of TensorRT for RTX nonsense, and this file is of"),
        ({"bytes": 5000}, "it is of an engine of 5,000 bytes, and this file has 4,096"),
    ],
)
def test_the_manifest_of_another_engine_is_told_apart(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    path = write_engine(tmp_path, engine=changes | {"file": "other.engine"})
    found = inspect_engine(path)
    assert [item.code for item in found.findings] == ["RD634"]
    assert "(it names `other.engine`)" in found.findings[0].message
    assert why in (found.findings[0].why or "")
    assert found.manifest is None
    assert found.whole == "by its length"


def test_an_rtx_plan_that_is_renamed_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "model.plan"
    path.write_bytes(engine_bytes("tensorrt_rtx"))
    manifest_path(path).write_text(json.dumps(described(engine_bytes("tensorrt"), "tensorrt")))
    found = inspect_engine(path)
    assert found.header.product is RTX
    assert [item.code for item in found.findings] == ["RD634"]


def test_the_last_number_of_a_version_is_known_modulo_256(tmp_path: Path) -> None:
    path = tmp_path / "net.engine"
    content = engine_bytes(version="1.7.1.372")
    path.write_bytes(content)
    manifest_path(path).write_text(json.dumps(described(content, engine={"version": "1.7.1.372"})))
    assert inspect_engine(path).whole == "yes"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[" * 100_000, b'{"format": 9}', b"\xff", b"null"], ids=range(6)
)
def test_a_malformed_manifest_is_a_finding_and_the_header_still_speaks(
    tmp_path: Path, content: bytes
) -> None:
    path = write_engine(tmp_path)
    manifest_path(path).write_bytes(content)
    found = inspect_engine(path)
    assert [item.code for item in found.findings] == ["RD634"]
    assert found.header.version == "1.7.1.116"
    assert found.whole == "by its length"


def test_a_manifest_that_is_no_file_is_a_finding(tmp_path: Path) -> None:
    path = write_engine(tmp_path)
    manifest_path(path).unlink()
    manifest_path(path).symlink_to(tmp_path / "nowhere")
    assert codes(path) == ["RD001"]
    manifest_path(path).unlink()
    manifest_path(path).mkdir()
    assert codes(path) == ["RD001"]
    manifest_path(path).rmdir()
    os.mkfifo(manifest_path(path))  # to open one waits for ever
    assert codes(path) == ["RD001"]


def test_files_beside_an_engine_are_compared_with_what_they_were(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"graph")
    (tmp_path / "net.kernels.json").write_bytes(b"changed")
    digest = sha256(b"graph").hexdigest()
    path = write_engine(
        tmp_path,
        onnx={"file": "net.onnx", "sha256": digest},
        beside={"net.kernels.json": digest, "net.svg": digest},
    )
    (tmp_path / "net.svg").mkdir()
    found = inspect_engine(path)
    assert found.whole == "yes"
    assert [(item.name, item.state) for item in found.companions] == [
        ("net.kernels.json", "changed"),
        ("net.onnx", "the same"),
        ("net.svg", "not there"),
    ]


def test_a_link_out_of_the_folder_tells_no_more_than_whether_it_is_the_same(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / "net.onnx").symlink_to(secret)
    path = write_engine(folder, onnx={"file": "net.onnx", "sha256": "aa" * 32})
    assert [item.state for item in inspect_engine(path).companions] == ["changed"]
