"""`build`, `check`, `describe` and `list` as a user or a program calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from compiler_tests.commands.running import REPOSITORY, call


def heavy_imports(*arguments: str | Path) -> set[str]:
    """Which of the heavy packages a command has imported when it ends."""
    code = (
        "import sys, contextlib, io\n"
        "from resnet_dsl.cli import app\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    app(sys.argv[1:])\n"
        "print(*{'torch', 'onnxruntime', 'tensorrt_rtx', 'onnx', 'numpy', 'pydantic', 'rich'}"
        " & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        cwd=REPOSITORY,
    )
    return set(done.stdout.split())


def test_help_imports_nothing_heavy() -> None:
    assert heavy_imports("--help") == set()


def test_the_torch_target_imports_neither_torch_nor_numpy_nor_onnx(tmp_path: Path) -> None:
    found = heavy_imports("build", "resnet18", "--out", tmp_path)
    assert (tmp_path / "resnet18.py").is_file()
    assert found <= {"pydantic"}


def test_the_onnx_target_imports_no_torch(tmp_path: Path) -> None:
    found = heavy_imports("build", "resnet20", "--target", "onnx", "--out", tmp_path)
    assert (tmp_path / "resnet20.onnx").is_file()
    assert "torch" not in found
    assert "onnxruntime" not in found


def test_every_path_that_was_written_is_printed(tmp_path: Path) -> None:
    result = call("build", "resnet20", "-t", "torch", "-t", "onnx", "--out", tmp_path)
    assert result.exit_code == 0
    for file in tmp_path.iterdir():
        assert str(file) in result.stdout
    assert {file.name for file in tmp_path.iterdir()} == {"resnet20.py", "resnet20.onnx"}


def test_json_names_the_files_their_sizes_and_the_hashes(tmp_path: Path) -> None:
    result = call("build", "resnet20", "-t", "onnx", "--out", tmp_path, "--json")
    data = json.loads(result.stdout)
    (file,) = data["files"]
    assert Path(file["path"]) == tmp_path / "resnet20.onnx"
    assert file["bytes"] == (tmp_path / "resnet20.onnx").stat().st_size
    assert file["status"] == "written"
    assert len(data["spec_sha256"]) == len(data["onnx"]["weights_sha256"]) == 64


def test_the_same_input_gives_the_same_bytes_and_leaves_an_unchanged_source_alone(
    tmp_path: Path,
) -> None:
    arguments = ("build", "resnet20", "-t", "torch", "-t", "onnx", "--out", tmp_path)
    call(*arguments)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    touched = (tmp_path / "resnet20.py").stat().st_mtime_ns
    again = call(*arguments)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert (tmp_path / "resnet20.py").stat().st_mtime_ns == touched
    assert "unchanged" in again.stdout


def test_without_out_the_files_are_in_generated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("build", "resnet20")
    assert "generated/resnet20/resnet20.py" in result.stdout
    assert (tmp_path / "generated/resnet20/resnet20.py").is_file()


@pytest.mark.parametrize("stop", ["spec", "program", "graph", "folded"])
def test_stop_after_prints_text_and_writes_nothing(
    stop: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("build", "resnet20", "--stop-after", stop)
    assert result.exit_code == 0
    assert "resnet20" in result.stdout
    assert ("batch_norm" in result.stdout) == (stop in ("program", "graph"))
    assert list(tmp_path.iterdir()) == []


def test_one_seed_gives_the_same_numbers_to_safetensors_and_onnx(tmp_path: Path) -> None:
    import onnx

    build = ("build", "resnet20", "-t", "onnx", "--no-fold", "--seed", "7", "--write-weights")
    call(*build, "--out", tmp_path)
    state = load_file(tmp_path / "resnet20.safetensors")
    model = onnx.load(tmp_path / "resnet20.onnx")
    found = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    weights = {key: value for key, value in state.items() if "num_batches" not in key}
    assert weights.keys() <= found.keys()
    for key, value in weights.items():
        assert np.array_equal(found[key], value), key
    other = tmp_path / "other"
    call("build", "resnet20", "--seed", "8", "--write-weights", "--out", other)
    assert not np.array_equal(
        load_file(other / "resnet20.safetensors")["conv1.weight"], state["conv1.weight"]
    )


def test_weights_that_do_not_fit_are_listed_and_nothing_is_written(tmp_path: Path) -> None:
    call("build", "resnet20", "--write-weights", "--out", tmp_path / "a")
    state = load_file(tmp_path / "a/resnet20.safetensors")
    del state["layer2.1.conv2.weight"]
    state["fc.weight"] = np.zeros((7, 64), np.float32)
    state["fc.bias"] = np.zeros(7, np.float32)
    save_file(state, tmp_path / "bad.safetensors")
    out = tmp_path / "b"
    result = call(
        "build", "resnet20", "-t", "onnx", "--weights", tmp_path / "bad.safetensors", "--out", out
    )
    assert result.exit_code == 2
    assert "layer2.1.conv2.weight" in result.stderr
    assert "fc.weight" in result.stderr
    assert not out.exists()


def test_a_wrong_spec_writes_nothing_and_exits_with_2(tmp_path: Path) -> None:
    spec = tmp_path / "bad.yaml"
    spec.write_text(
        "name: bad\ninput: {size: 32}\nclasses: 10\nstages:\n"
        "  - {block: basik, depth: 1, width: 8}\n"
    )
    result = call("build", spec, "-t", "onnx", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "did you mean `basic`?" in result.stderr
    assert "bad.yaml:5:" in result.stderr
    assert "Traceback" not in result.stderr + result.stdout
    assert not (tmp_path / "out").exists()
    as_json = call("build", spec, "--json")
    assert as_json.exit_code == 2
    assert json.loads(as_json.stdout)["errors"][0]["code"] == "RD201"


def test_dynamic_size_and_stage_outputs(tmp_path: Path) -> None:
    from compiler_tests import onnx_runs

    call(
        "build",
        "resnet18",
        "-t",
        "onnx",
        "--dynamic-size",
        "--output",
        "layer2",
        "--output",
        "layer4",
        "--out",
        tmp_path,
    )
    image = np.zeros((1, 3, 96, 160), np.float32)
    logits, *features = onnx_runs.run(tmp_path / "resnet18.onnx", image).values()
    assert logits.shape == (1, 1000)
    assert [item.shape for item in features] == [(1, 128, 12, 20), (1, 512, 3, 5)]


def test_external_data_holds_the_weights(tmp_path: Path) -> None:
    from compiler_tests import onnx_runs

    result = call("build", "resnet20", "-t", "onnx", "--external-data", "--out", tmp_path)
    assert "resnet20.onnx.data" in result.stdout
    assert (tmp_path / "resnet20.onnx").stat().st_size < 60_000
    images = np.zeros((2, 3, 32, 32), np.float32)
    (logits,) = onnx_runs.run(tmp_path / "resnet20.onnx", images).values()
    assert logits.shape == (2, 10)


def test_check_reports_every_spec(tmp_path: Path) -> None:
    result = call("check", "resnet50", "resnet152", "vgg16")
    assert result.exit_code == 0
    assert "152 layers, 60,192,808 parameters, 11,282,415,616 multiply-adds" in result.stdout
    assert call("check", "resnet5000").exit_code == 2


def test_describe_says_the_same_to_people_and_to_programs() -> None:
    data = json.loads(call("describe", "resnet50", "--json").stdout)
    assert data["total"]["macs"] == 3_857_973_248
    assert data["total"]["parameters"] == 25_557_032
    text = call("describe", "resnet50").stdout
    assert "3,857,973,248" in text
    assert "7,715,946,496" in text


def test_list_names_specs_and_library() -> None:
    text = call("list").stdout
    for name in ("resnet152", "bottleneck", "imagenet", "classifier", "digits"):
        assert name in text


def test_seeded_weights_are_said_to_be_untrained(tmp_path: Path) -> None:
    result = call("build", "resnet20", "-t", "onnx", "--seed", "4", "--out", tmp_path)
    assert "drawn from seed 4: the network is untrained" in result.stdout


def test_weights_of_an_unknown_resnet50_are_asked_about_where_names_cannot_tell(
    tmp_path: Path,
) -> None:
    call("build", "resnet50_v1_5", "--write-weights", "--out", tmp_path)
    state = load_file(tmp_path / "resnet50_v1_5.safetensors")
    save_file(state, tmp_path / "plain.safetensors")
    weights = ("--weights", tmp_path / "plain.safetensors", "--out", tmp_path / "out")
    paper = call("build", "resnet50", "-t", "onnx", *weights)
    assert paper.exit_code == 0
    assert "v1.5" in paper.stdout
    assert (
        "v1.5"
        not in call("build", "resnet50_v1_5", "-t", "torch", *weights).stdout.split("wrote")[0]
    )


def test_weights_that_were_saved_with_another_spec_are_noted(tmp_path: Path) -> None:
    call("build", "resnet20", "--write-weights", "--out", tmp_path)
    weights = ("--weights", tmp_path / "resnet20.safetensors", "--out", tmp_path / "out")
    assert "another spec" not in call("build", "resnet20", *weights).stdout
    other = call("build", "resnet20", *weights, "--set", "activation=silu")
    assert other.exit_code == 0
    assert "saved with another spec" in other.stdout


@pytest.mark.parametrize(
    ("name", "blocks"), [("ror3_110", 54), ("vgg16", 13), ("se_resnet50", 16), ("resnet152", 50)]
)
def test_describe_counts_the_blocks_of_the_stages(name: str, blocks: int) -> None:
    assert json.loads(call("describe", name, "--json").stdout)["total"]["blocks"] == blocks
