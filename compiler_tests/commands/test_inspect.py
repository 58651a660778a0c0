"""`inspect`: what is said of an engine, and of every other file that a person may have at hand."""

from __future__ import annotations

import io
import json
import os
import shlex
import zipfile
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from compiler_tests.backends.tensorrt.engines import engine_bytes, write_engine
from compiler_tests.backends.tensorrt.models import residual_net
from compiler_tests.commands.running import call, run, without
from resnet_dsl.backends.tensorrt import compatibility
from resnet_dsl.backends.tensorrt.compatibility import Machine
from resnet_dsl.backends.tensorrt.device import Device
from resnet_dsl.backends.tensorrt.manifest import manifest_path
from resnet_dsl.backends.tensorrt.products import RTX

ADA = Device("NVIDIA GeForce RTX 4090", 89)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with neither product nor GPU, whatever this one has."""
    monkeypatch.setattr(compatibility, "this_machine", lambda: Machine({}, ()))


def said(*arguments: str | Path, status: int = 0) -> str:
    done = call("inspect", *arguments)
    assert done.exit_code == status, done.output
    return done.output


def data(path: Path, status: int = 0) -> dict[str, Any]:
    found = json.loads(said(path, "--json", status=status))
    assert isinstance(found, dict)
    return found


def test_an_engine_is_told_in_lines(tmp_path: Path) -> None:
    graph = tmp_path / "net.fp16.onnx"
    graph.write_bytes(b"graph")
    path = write_engine(
        tmp_path,
        onnx={"file": graph.name, "sha256": sha256(b"graph").hexdigest()},
        calibration={"sha256": "e5" * 32, "about": "512 images", "method": "entropy"},
        engine={
            "precision": "int8",
            "rest": "fp16",
            "wide": [{"what": f"layer{i}", "precision": "fp32", "why": "large"} for i in range(5)],
        },
    )
    lines = said(path).splitlines()
    digest = sha256(path.read_bytes()).hexdigest()
    assert lines[:10] == [
        "engine    TensorRT for RTX 1.7.1.116, 4.1 kB",
        f"whole     yes: its SHA-256 is its manifest's, {digest[:16]}…",
        "network   resnet50, compiled by resnet-dsl 0.1.0",
        "from      spec a1a1a1a1a1a1…, weights b2b2b2b2b2b2…, "
        f"ONNX {sha256(b'graph').hexdigest()[:12]}…",
        "precision int8, the rest in fp16; wider stayed layer0 (fp32: large), layer1 (fp32: large), "
        "layer2 (fp32: large), and 2 more",
        "GPUs      sm86 (Ampere), sm89 (Ada)",
        "profile   batch 1/8/64",
        "input     input, float32 N×3×224×224",
        "output    logits, float32 N×3",
        "kernels   59",
    ]
    assert lines[10:15] == [
        "images    shorter side 256; centre 224×224; mean 0.485, 0.456, 0.406; std 0.229, 0.224, 0.225",
        "classes   3: cat, dog, newt",
        "measured  on 512 images, by entropy",
        "beside    net.fp16.onnx, the graph it was built from: the same",
        "executed  not when it was built",
    ]
    assert lines[15] == "here      it cannot run on this machine:"
    assert any("pip install tensorrt-rtx" in line for line in lines[16:])
    assert lines[-1] == f"next      resnet-dsl verify resnet50 --onnx {graph}"


def test_an_engine_is_told_to_a_program(tmp_path: Path) -> None:
    found = data(write_engine(tmp_path, "tensorrt"))
    assert (found["kind"], found["whole"], found["product"]) == ("engine", "yes", "tensorrt")
    assert found["version"] == "10.13.0.35"
    assert found["manifest"]["engine"]["targets"] == ["sm90"]
    assert found["manifest"]["class_names"] == ["cat", "dog", "newt"]
    assert found["here"]["runs"] is False
    assert [item["code"] for item in found["here"]["obstacles"]] == ["RD620", "RD621"]
    assert found["next"] == ["resnet-dsl verify resnet50"]


def test_where_an_engine_can_run_the_next_command_runs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Machine({"tensorrt_rtx": "1.7.1.116"}, (ADA,))
    monkeypatch.setattr(compatibility, "this_machine", lambda: here)
    path = write_engine(tmp_path)
    assert "it can run on this machine (NVIDIA GeForce RTX 4090)" in said(path)
    monkeypatch.chdir(tmp_path)
    checked = "resnet-dsl verify resnet50 --engine net.fp16.engine"
    assert data(path)["next"] == [checked]
    (tmp_path / "run_net_fp16_sm75.py").write_text("# of another engine")
    (tmp_path / "run_net_fp16.py").write_text(sha256(path.read_bytes()).hexdigest())
    assert data(path)["next"] == ["python run_net_fp16.py --benchmark", checked]


def test_a_spec_that_is_not_bundled_is_left_to_be_filled_in(tmp_path: Path) -> None:
    path = write_engine(tmp_path, spec={"name": "mine; rm -rf /", "sha256": "aa"})
    assert data(path)["next"] == ["resnet-dsl verify SPEC"]


def test_what_a_manifest_would_say_is_missed_without_one(tmp_path: Path) -> None:
    path = tmp_path / "net.engine"
    path.write_bytes(engine_bytes())
    lines = said(path).splitlines()
    assert lines[1].startswith("whole     as long as its header says")
    assert lines[2].endswith("is not known (net.engine.json would say it)")
    path.write_bytes(engine_bytes("tensorrt"))
    assert said(path).splitlines()[1].startswith("whole     not known")


@pytest.mark.parametrize(
    ("damage", "code", "message"),
    [
        (lambda content: content[:3000], "RD631", "is cut short"),
        (lambda content: content + b"x", "RD631", "has bytes after its end"),
        (lambda content: content[:-1] + b"\xff", "RD633", "was altered after it was built"),
    ],
)
def test_a_damaged_engine_ends_with_1_and_the_command_that_builds_it_again(
    tmp_path: Path, damage: Any, code: str, message: str
) -> None:
    path = write_engine(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    text = said(path, status=1)
    assert "whole     no" in text
    assert f"error[{code}]: {path} {message}" in text
    assert (
        "next      resnet-dsl compile resnet50 --target tensorrt --precision fp16 --gpus sm86,sm89 "
        "--batch 1/8/64" in text
    )
    found = data(path, status=1)
    assert found["errors"][0]["code"] == code
    assert found["here"]["runs"] is False


def test_a_manifest_leads_to_its_engine(tmp_path: Path) -> None:
    path = write_engine(tmp_path)
    assert said(manifest_path(path)) == said(path)
    path.unlink()
    assert "an engine and its manifest belong together" in said(manifest_path(path), status=2)


def test_a_hostile_manifest_steers_no_terminal_and_ends_with_1(tmp_path: Path) -> None:
    path = write_engine(tmp_path, class_names=["\x1b[2Jcat", "a\nerror[RD000]: b"])
    text = said(path)
    assert "\x1b" not in text
    assert r"\x1b[2Jcat" in text
    manifest_path(path).write_bytes(b"[" * 200_000)
    assert "error[RD634]" in said(path, status=1)


def test_an_onnx_file_is_told_in_lines(tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx")
    text = said(path)
    assert "ONNX      IR version 10, opset ai.onnx 22" in text
    assert "input     input, float16 N×8×32×32" in text
    assert "nodes     16: " in text
    assert "Conv 6" in text
    assert f"next      resnet-dsl verify SPEC --onnx {path}" in text
    found = data(path)
    assert (found["kind"], found["operators"]["Conv"]) == ("onnx", 6)
    assert found["inputs"] == [{"name": "input", "data_type": "float16", "shape": ["N", 8, 32, 32]}]


def test_an_onnx_file_of_ours_says_what_it_was_made_of(spec: Path, tmp_path: Path) -> None:
    made = call("build", spec, "-t", "onnx", "--out", tmp_path)
    assert made.exit_code == 0
    found = data(tmp_path / "small.onnx")
    assert set(found["metadata"]) == {"compiler", "spec_sha256", "weights_sha256"}
    assert found["producer"].startswith("resnet-dsl ")


def test_an_onnx_file_that_is_cut_ends_with_1(tmp_path: Path) -> None:
    path = residual_net(tmp_path / "net.onnx")
    path.write_bytes(path.read_bytes()[:2000])
    assert "error[RD633]" in said(path, status=1)


def test_an_onnx_file_without_its_weights_ends_with_1(spec: Path, tmp_path: Path) -> None:
    made = call("build", spec, "-t", "onnx", "--external-data", "--out", tmp_path)
    assert made.exit_code == 0
    path = tmp_path / "small.onnx"
    (beside,) = data(path)["external"]
    weights = tmp_path / beside
    content = weights.read_bytes()
    weights.write_bytes(content[:-1])
    assert f"of {len(content):,} bytes, and there are {len(content) - 1:,}" in said(path, status=1)
    weights.unlink()
    assert "there is none beside it" in said(path, status=1)


def test_weights_are_told_by_name_and_shape(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"format": "pt"},
        "conv.weight": {"dtype": "F32", "shape": [4, 2, 3, 3], "data_offsets": [0, 288]},
        "scale": {"dtype": "F8_E4M3", "shape": [], "data_offsets": [288, 289]},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "w.bin"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(289))
    shown = said(path)
    assert "73 numbers in 2 tensors" in shown
    assert "tensor    conv.weight, F32 4×2×3×3" in shown
    assert data(path)["tensors"]["scale"] == {"data_type": "F8_E4M3", "shape": []}
    path.write_bytes(path.read_bytes()[:-1])
    assert "error[RD633]" in said(path, status=1)


def test_a_checkpoint_is_named_and_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", b"cos\nsystem\n(S'false'\ntR.")
    assert "a torch checkpoint" in said(path)
    assert f"--weights {path}" in said(path)
    path.write_bytes(path.read_bytes()[:-9])
    assert "error[RD503]" in said(path, status=1)


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.engine", b"", "is empty"),
        ("a.engine", b"\x00\x01\x02" * 50, "of no kind that is known here"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "is a PNG image"),
        ("a.npy", _npy(), "is one NumPy array (.npy)"),
        ("a.engine", b"ptrt" + bytes(60), "an engine of TensorRT 7 or older"),
        ("a.txt", b"hello", "is text, beginning `hello`"),
        ("a.json", b"{", "begins as JSON does, and is none"),
        ("a.engine", b"vtrt", "is cut short: 4 bytes"),
        ("a.bin", b"\x08\x08", "of no kind that is known here"),
    ],
)
def test_what_is_nothing_of_ours_is_named_and_ends_with_2(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    text = said(path, status=2)
    assert message in text
    assert "error[RD631]" in text
    assert "= hint: " in text


STARTS = (
    b"",
    b"vtrt",
    b"ftrt",
    b"\x08\x08",
    b"\x10\0\0\0\0\0\0\0{",
    b"PK\x03\x04",
    b"{",
    b"\x80\x02",
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.sampled_from(STARTS), st.binary(max_size=200), st.sampled_from(["engine", "onnx", "yaml"])
)
def test_no_bytes_are_a_defect(start: bytes, rest: bytes, ending: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, f"a.{ending}")
        path.write_bytes(start + rest)
        manifest_path(path).write_bytes(rest)
        done = call("inspect", path)
    assert done.exit_code in (0, 1, 2)
    assert "RD799" not in done.output


def test_specs_and_json_are_known(spec: Path, tmp_path: Path) -> None:
    assert f"next      resnet-dsl check {spec}" in said(spec)
    kernels = tmp_path / "net.kernels.json"
    kernels.write_text('{"kernels": []}')
    assert "kernels   0, and what is fused into each" in said(kernels)
    assert "next" not in said(kernels)
    engine = write_engine(tmp_path)
    report = kernels.rename(engine.with_suffix(".kernels.json"))
    assert f"next      resnet-dsl inspect {engine}" in said(report)
    other = tmp_path / "other.json"
    other.write_text('{"kernels": []}')
    assert "JSON      with `kernels`" in said(other)


def test_a_calibration_is_not_taken_for_weights(tmp_path: Path) -> None:
    file = tmp_path / "calibration.0123456789abcdef.safetensors"
    about = {"images": 512, "values": ["input", "conv1"], "spec_sha256": "ab" * 32}
    counts = np.zeros((2, 4), np.int64)
    save_file({"counts": counts}, file, {"calibration": json.dumps(about)})
    text = said(file)
    assert "ranges    of 2 values, as calibration has seen them on 512 images" in text
    assert "from      spec abababababab…" in text
    assert "next" not in text
    for broken in ("[", "[]", '{"values": 3, "images": "x", "weights_sha256": []}'):
        save_file({"counts": counts}, file, {"calibration": broken})
        assert "ranges    of values, as calibration has seen them, " in said(file)


def test_the_next_command_names_the_weights_and_can_be_pasted_whatever_the_folder(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "my nets; $(rm)"
    folder.mkdir()
    weights = folder / "best.safetensors"
    path = write_engine(folder, weights={"sha256": "b2" * 32, "file": str(weights)})
    (command,) = data(path)["next"]
    assert shlex.split(command) == ["resnet-dsl", "verify", "resnet50", "--weights", str(weights)]
    path.write_bytes(path.read_bytes()[:-1])
    (command,) = data(path, status=1)["next"]
    assert shlex.split(command)[3:7] == ["--target", "tensorrt", "--weights", str(weights)]


def test_the_next_command_has_the_spec_as_it_was_typed(tmp_path: Path) -> None:
    spec = {"name": "mine", "sha256": "a1" * 32, "file": "my nets/mine.yaml"}
    path = write_engine(tmp_path, spec={**spec, "overrides": ["classes=7", "train.path=a b"]})
    (command,) = data(path)["next"]
    overrides = ["--set", "classes=7", "--set", "train.path=a b"]
    assert shlex.split(command) == ["resnet-dsl", "verify", "my nets/mine.yaml", *overrides]


def test_images_are_told_with_where_their_numbers_are_from(tmp_path: Path) -> None:
    known = {"crop": [32, 32], "mean": [0.5], "std": [0.25], "standardised_by": "run/result.json"}
    shown = said(write_engine(tmp_path, preprocessing=known))
    assert "images    centre 32×32; mean 0.5; std 0.25 (run/result.json)\n" in shown


def test_what_cannot_be_read_ends_with_2(tmp_path: Path) -> None:
    assert "none cannot be read: no such file or directory" in said(tmp_path / "none", status=2)
    path = write_engine(tmp_path)
    assert f"`resnet-dsl inspect {path}`" in said(tmp_path, status=2)
    (tmp_path / "empty").mkdir()
    assert "name a file in it" in said(tmp_path / "empty", status=2)
    os.mkfifo(tmp_path / "pipe")
    assert "it is a device or a pipe" in said(tmp_path / "pipe", status=2)


def test_neither_tensorrt_nor_torch_nor_onnx_nor_numpy_is_needed(tmp_path: Path) -> None:
    path = write_engine(tmp_path)
    env = without("tensorrt,tensorrt_rtx,torch,onnx,onnxruntime,numpy", tmp_path / "blocked")
    done = run("inspect", path, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert "whole     yes" in done.stdout
    assert RTX.install in done.stdout
    done = run("inspect", residual_net(tmp_path / "net.onnx"), cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert "nodes     16" in done.stdout


@pytest.mark.gpu
def test_an_engine_of_this_machine_can_run_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine with a GPU: what the driver says of it decides."""
    monkeypatch.undo()
    here = compatibility.this_machine()
    assert here.gpus
    path = write_engine(tmp_path, engine={"targets": [f"sm{here.gpus[0].capability}"]})
    obstacles = [item["code"] for item in data(path)["here"]["obstacles"]]
    assert "RD621" not in obstacles
    assert "RD636" not in obstacles
