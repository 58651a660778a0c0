"""Manifests: what is written is what is read, and what anyone else writes is refused with the place in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from compiler_tests.backends.tensorrt.engines import described, engine_bytes
from resnet_dsl.backends.tensorrt.manifest import (
    MAX_BYTES,
    Calibration,
    Compatibility,
    Manifest,
    Wide,
    manifest,
    read_manifest,
)
from resnet_dsl.backends.tensorrt.messages import Tensor
from resnet_dsl.backends.tensorrt.options import Profile, Range
from resnet_dsl.backends.tensorrt.report import EngineReport
from resnet_dsl.errors import CompileError, Diagnostic

REPORT = EngineReport(
    engine=Path("generated/net/net.int8.engine"),
    product="tensorrt_rtx",
    version="1.7.1.116",
    precision="int8",
    targets=(86, 120),
    profiles=(Profile(Range(1, 4, 16)), Profile(Range(2, 32, 128), height=Range(32, 64, 96))),
    inputs=(Tensor("input", "float32", (-1, 3, -1, 64)),),
    outputs=(Tensor("logits", "float32", (-1, 10)),),
    size=1234,
    sha256="d4" * 32,
    seconds=1.0,
    stages={},
    peak_memory=None,
    kernels=None,
    weight_memory=None,
    scratch_memory=None,
    notes=(),
    log=(),
)


def written(**more: Any) -> dict[str, Any]:
    return manifest(
        REPORT,
        spec_name="net",
        spec_hash="a1" * 32,
        weights_hash="b2" * 32,
        onnx_sha256="c3" * 32,
        input_shape=(3, 64, 64),
        preprocessing={"mean": [0.5], "crop": (64, 64)},
        class_names=["cat", "dog"],
        **more,
    )


def read(folder: Path, content: str | bytes) -> Manifest:
    path = folder / "net.engine.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_manifest(path)


def refusal(folder: Path, content: str | bytes) -> Diagnostic:
    with pytest.raises(CompileError) as raised:
        read(folder, content)
    (found,) = raised.value.diagnostics
    assert found.code == "RD634"
    assert found.message.endswith("net.engine.json is no manifest of an engine")
    assert "resnet-dsl compile" in (found.hint or "")
    return found


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    said = written(
        onnx_file="net.int8.onnx",
        calibration=Calibration(sha256="e5" * 32, about="512 images", method="entropy"),
        rest="fp16",
        wide=[Wide(what="layer1.0.conv1", precision="fp32", why="70,000 is beyond fp16")],
        compatibility=Compatibility(hardware="ampere_plus", version=True),
        refit=True,
        beside={"net.int8.kernels.json": "f6" * 32},
    )
    found = read(tmp_path, json.dumps(said))
    assert found.model_dump(mode="json") == said
    assert found.engine.capabilities == (86, 120)
    assert found.engine.architectures == {"sm86": "Ampere", "sm120": "Blackwell (RTX)"}
    assert found.engine.profiles == REPORT.profiles
    assert found.engine.inputs == REPORT.inputs
    assert found.batch == Range(1, 4, 128)
    assert found.engine.wide[0].why == "70,000 is beyond fp16"
    assert found.engine.executed is False


def test_a_manifest_of_format_1_is_read(tmp_path: Path) -> None:
    old = written() | {"format": 1}
    for name in ("calibration", "beside"):
        del old[name]
    for name in ("rest", "wide", "architectures", "compatibility", "refit"):
        del old["engine"][name]
    del old["onnx"]["file"]
    found = read(tmp_path, json.dumps(old))
    assert (found.format, found.onnx.file, found.engine.wide) == (1, None, ())


def test_a_fixed_batch_is_no_range() -> None:
    fixed = described(engine_bytes(), engine={"profiles": []})
    assert Manifest.model_validate_json(json.dumps(fixed)).batch is None


def test_a_manifest_of_a_later_version_says_to_update(tmp_path: Path) -> None:
    why = refusal(tmp_path, json.dumps(written() | {"format": 3})).why
    assert why is not None
    assert "it is of format 3" in why
    assert why.endswith("update it")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"spec": None}, "`spec` is None"),
        ({"engine": {"sha256": "XY"}}, "`engine.sha256` is 'XY'"),
        ({"engine": {"sha256": 7}}, "`engine.sha256` is 7"),
        ({"engine": {"bytes": "7"}}, "`engine.bytes` is '7'"),
        ({"engine": {"bytes": -1}}, "`engine.bytes` is -1"),
        ({"engine": {"file": "../../etc/passwd"}}, "`engine.file` is '../../etc/passwd'"),
        ({"engine": {"file": ".."}}, "`engine.file` is '..'"),
        ({"onnx": {"sha256": "aa", "file": "/etc/passwd"}}, "`onnx.file` is '/etc/passwd'"),
        ({"beside": {"../x": "aa"}}, "`beside.../x.[key]` is '../x'"),
        ({"engine": {"targets": ["sm86", "rtx"]}}, "`engine.targets.1` is 'rtx'"),
        ({"engine": {"precision": "fp7"}}, "there is no precision `fp7`"),
        ({"engine": {"product": "cudnn"}}, "`engine.product` is 'cudnn'"),
        ({"engine": {"executed": "no"}}, "`engine.executed` is 'no'"),
        ({"class_names": ["cat", 3]}, "`class_names.1` is 3"),
        ({"class_names": ["c" * 2000]}, "at most 1000 characters"),
        ({"input_shape": [3, 0, 4]}, "`input_shape.1` is 0"),
        ({"preprocessing": [1]}, "`preprocessing` is [1]"),
        (
            {"engine": {"profiles": [{"batch": {"min": 9, "opt": 8, "max": 64}}]}},
            "a profile holds 9/8/64, which is no min/opt/max",
        ),
        (
            {"engine": {"inputs": [{"name": "x", "data_type": "int8", "shape": [-7]}]}},
            "`x` is of a shape that no tensor has",
        ),
    ],
)
def test_what_is_of_the_wrong_type_or_range_is_named(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    said = refusal(tmp_path, json.dumps(described(engine_bytes(), **changes))).why
    assert said is not None
    assert why in said
    assert len(said) < 300


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    said = written()
    del said["engine"]["product"]
    assert refusal(tmp_path, json.dumps(said)).why == "`engine.product` is missing"
    del said["weights"]
    assert refusal(tmp_path, json.dumps(said)).why == "`weights` is missing, and 1 more findings"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "EOF while parsing"),
        (b"\xff\xfe", "expected value"),
        (b"[]", "should be an object"),
        (b"[" * 100_000, "recursion limit"),
        (b'{"a":' * 100_000, "recursion limit"),
        (b'{"format": NaN}', "`format` is nan"),
        (b'{"format": 2', "EOF while parsing"),
        (b'{"format": ' + b"9" * 4000 + b"}", "`format` is 9999"),
        (b'{"format": ' + b"9" * 6000 + b"}", "number out of range"),
        (b" " * (MAX_BYTES + 1), "it is larger than 8 MiB"),
    ],
    ids=["empty", "binary", "list", "deep", "deeper", "nan", "cut", "long", "longer", "large"],
)
def test_hostile_text_is_refused_in_a_line(tmp_path: Path, content: bytes, why: str) -> None:
    said = refusal(tmp_path, content).why
    assert said is not None
    assert why in said
    assert len(said) < 300


def test_preprocessing_may_be_nested_only_so_deep(tmp_path: Path) -> None:
    text = json.dumps(written()).replace('"mean": [0.5]', '"mean": ' + "[" * 5000 + "]" * 5000)
    assert "recursion limit" in (refusal(tmp_path, text).why or "")


def test_a_file_that_is_not_there_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(CompileError) as raised:
        read_manifest(tmp_path / "none.json")
    assert raised.value.diagnostics[0].code == "RD001"
