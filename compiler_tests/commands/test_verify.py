"""`resnet-dsl verify` from the command line: what it finds, what it says, what it writes, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from typer.testing import Result

from compiler_tests.commands import running
from resnet_dsl.backends.tensorrt.device import local_gpus

Call = Callable[..., Result]
CERTIFICATE = "generated/small/small.certificate.json"


@pytest.fixture
def call(spec: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command line beside small.yaml, in a folder with `generated`, from one text."""
    monkeypatch.chdir(spec.parent)
    (spec.parent / "generated").mkdir()
    return lambda text: running.call(*text.split())


def certified(folder: Path = Path()) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / CERTIFICATE).read_text())
    return found


def labels(document: dict[str, Any]) -> list[str]:
    return [f"{item['name']} {item['precision']}" for item in document["targets"]]


def refused(done: Result) -> dict[str, Any]:
    """The one finding of a command that was refused, and nothing written."""
    assert done.exit_code == 2, done.output
    (found,) = json.loads(done.stdout)["errors"]
    assert found["hint"]
    assert not Path(CERTIFICATE).exists()
    return dict(found)


def damage(path: Path, name: str) -> None:
    """Change one number of a constant, by little."""
    model = onnx.load(path)
    tensor = next(item for item in model.graph.initializer if item.name == name)
    numbers = numpy_helper.to_array(tensor).copy()
    numbers.flat[3] *= np.asarray(1.001, numbers.dtype)
    tensor.CopyFrom(numpy_helper.from_array(numbers, name))
    onnx.save(model, path)


def test_a_spec_alone_is_verified_by_what_is_made_of_it(call: Call) -> None:
    done = call("verify small.yaml")
    assert done.exit_code == 0, done.output
    document = certified()
    assert document["holds"]
    assert labels(document) == ["torch fp32", "onnx fp32", "onnx fp16"]
    assert document["weights"]["settled"]
    assert [item["name"] for item in document["not_executed"]] == [
        "onnx bf16",
        "onnx int8",
        "onnx fp8",
        "engine",
    ]
    for target in document["targets"]:
        assert target["holds"]
        assert target["file"] is None
        assert target["agreement"]["images"] == target["agreement"]["agreed"] == 256
        assert target["steps"]
        for step in target["steps"]:
            assert step["of_peak"] <= 1
            assert step["of_rms"] <= 1
    assert "not executed" in done.stdout
    assert "the network is untrained" in done.stdout


def test_the_same_inputs_give_the_same_certificate(call: Call) -> None:
    call("verify small.yaml")
    first = Path(CERTIFICATE).read_bytes()
    done = call("verify small.yaml")
    assert Path(CERTIFICATE).read_bytes() == first
    assert "unchanged" in done.stdout


def test_json_is_the_certificate(call: Call) -> None:
    done = call("verify small.yaml --json")
    printed = json.loads(done.stdout)
    for key, value in certified().items():
        if key != "notes":
            assert printed[key] == value


def test_what_was_built_here_is_what_is_verified(call: Call) -> None:
    assert call("build small.yaml -t onnx").exit_code == 0
    assert call("build small.yaml -t onnx --precision fp16").exit_code == 0
    done = call("verify")
    assert done.exit_code == 0, done.output
    document = certified()
    files = {item["precision"]: item["file"] for item in document["targets"] if item["file"]}
    assert files == {"fp32": "small.onnx", "fp16": "small.fp16.onnx"}
    assert not document["weights"]["settled"]
    assert "which was built last here" in done.stdout


@pytest.mark.slow
def test_quantised_graphs_are_verified_value_for_value(call: Call) -> None:
    assert call("train small.yaml --set train.epochs=3").exit_code == 0
    weights = "--weights generated/small/run/best.safetensors"
    assert call(f"build small.yaml -t onnx --precision int8 {weights}").exit_code == 0
    done = call("verify small.yaml")
    assert done.exit_code == 0, done.output
    document = certified()
    (int8,) = [item for item in document["targets"] if item["precision"] == "int8"]
    assert int8["file"] == "small.int8.onnx"
    assert any(step["name"].endswith(".dequantized") for step in int8["steps"])
    assert int8["agreement"]["right"] is not None
    assert document["weights"]["from"] == "generated/small/run/best.safetensors"


def test_a_graph_goes_by_the_name_of_its_file(call: Call) -> None:
    """`--precision auto` leaves a file of that name, whatever its mix."""
    call("build small.yaml -t onnx --precision int8 --calibration digits")
    built = Path("generated/small/small.int8.onnx")
    built.rename(built.with_name("small.auto.onnx"))
    done = call("verify small.yaml")
    assert done.exit_code == 0, done.output
    assert "onnx auto" in labels(certified())


def test_an_engine_without_its_gpu_is_told_and_what_it_was_built_from_is_verified(
    call: Call,
) -> None:
    pytest.importorskip("tensorrt_rtx")
    if local_gpus():
        pytest.skip("there is a GPU here")
    assert call("compile small.yaml").exit_code == 0
    done = call("verify small.yaml generated/small/small.fp16.engine")
    assert done.exit_code == 0, done.output
    document = certified()
    assert labels(document) == ["torch fp32", "onnx fp16"]
    (absent,) = document["not_executed"]
    assert absent["name"] == "engine generated/small/small.fp16.engine"
    assert "no NVIDIA GPU" in absent["why"]
    Path("generated/small/small.fp16.engine").write_bytes(b"vtrt")
    Path(CERTIFICATE).unlink()
    found = refused(call("verify small.yaml generated/small/small.fp16.engine --json"))
    assert found["code"] == "RD631"


def test_int8_can_be_made_for_the_occasion(call: Call) -> None:
    done = call("verify small.yaml --precision int8 --data digits --images 20")
    assert done.exit_code == 0, done.output
    assert labels(certified()) == ["torch fp32", "onnx int8"]


def test_a_graph_that_departs_is_found_and_the_certificate_says_so(call: Call) -> None:
    call("build small.yaml -t onnx")
    damage(Path("generated/small/small.onnx"), "layer1.0.conv2.weight")
    done = call("verify --json")
    assert done.exit_code == 1
    (found,) = json.loads(done.stdout)["errors"]
    assert found["code"] == "RD690"
    assert "onnx fp32 departs from the spec, first in `layer1.0`" in found["message"]
    assert "1 of 576 numbers of `layer1.0.conv2.weight`" in found["why"]
    assert "build it anew" in found["hint"]
    document = certified()
    assert not document["holds"]
    holds = {
        label: item["holds"]
        for label, item in zip(labels(document), document["targets"], strict=True)
    }
    assert holds == {"torch fp32": True, "onnx fp32": False, "onnx fp16": True}


def test_people_are_shown_what_departs(call: Call) -> None:
    call("build small.yaml -t onnx")
    damage(Path("generated/small/small.onnx"), "fc.weight")
    done = call("verify")
    assert done.exit_code == 1
    assert "departs   onnx fp32, first in `head`" in done.stdout
    assert "error[RD690]" in done.stderr


@pytest.mark.slow
def test_a_file_alone_says_which_spec_and_weights_it_is_of(call: Call) -> None:
    call("train small.yaml --set train.epochs=3")
    call("build small.yaml -t onnx --weights generated/small/run/last.safetensors --out elsewhere")
    call("build small.yaml -t torch")
    done = call("verify elsewhere/small.onnx")
    assert done.exit_code == 0, done.output
    assert certified()["weights"]["from"].endswith(("best.safetensors", "last.safetensors"))
    assert labels(certified()) == ["torch fp32", "onnx fp32"]


def test_a_file_of_weights_that_are_not_here_is_refused(call: Call) -> None:
    call("build small.yaml -t onnx --seed 5 --out elsewhere")
    Path("generated/latest.json").unlink(missing_ok=True)
    found = refused(call("verify small.yaml elsewhere/small.onnx --json"))
    assert found["code"] == "RD693"
    assert "--weights" in found["hint"]
    assert call("verify small.yaml elsewhere/small.onnx --seed 5").exit_code == 0


def test_weights_that_are_named_and_others_than_the_files_are_a_finding(call: Call) -> None:
    call("build small.yaml -t onnx --seed 5 --out elsewhere")
    done = call("verify small.yaml elsewhere/small.onnx --seed 6")
    assert done.exit_code == 1
    assert "--weights" in done.stderr


def test_a_graph_of_other_weights_that_nobody_named_is_left_aside(call: Call) -> None:
    call("build small.yaml -t onnx --seed 5")
    done = call("verify small.yaml --seed 6")
    assert done.exit_code == 0, done.output
    assert "other weights" in done.stdout
    assert all(item["file"] is None for item in certified()["targets"])


def test_bfloat16_is_looked_at_and_not_executed(call: Call) -> None:
    done = call("verify small.yaml --precision bf16")
    assert done.exit_code == 0, done.output
    document = certified()
    (bf16,) = [item for item in document["targets"] if item["precision"] == "bf16"]
    assert not bf16["executed"]
    assert bf16["holds"]
    assert "Conv" in bf16["why_not"]
    assert "its graph and weights hold" in done.stdout


def test_weights_of_a_bfloat16_graph_are_compared_all_the_same(call: Call) -> None:
    call("build small.yaml -t onnx --precision bf16")
    path = Path("generated/small/small.bf16.onnx")
    model = onnx.load(path)
    tensor = next(item for item in model.graph.initializer if item.name == "conv1.weight")
    tensor.raw_data = bytes([tensor.raw_data[0] ^ 1]) + tensor.raw_data[1:]
    onnx.save(model, path)
    done = call("verify --precision bf16")
    assert done.exit_code == 1
    assert "`conv1.weight`" in done.stderr


def foreign(path: Path, *, fold: bool) -> None:
    """A file of torch's exporter, of small.yaml with some weights."""
    import torch

    from resnet_dsl.compiler import compile_spec
    from resnet_dsl.verify.numbers import held
    from resnet_dsl.verify.settle import settled
    from resnet_dsl.verify.torch_target import TorchTarget
    from resnet_dsl.weights.store import LoadedWeights, SeededWeights

    compilation = compile_spec(Path("small.yaml"))
    drawn = np.random.default_rng(0)
    seeded = LoadedWeights(
        {
            key: (tensor + drawn.normal(0, 0.01, tensor.shape)).astype(np.float32)
            for key, tensor in held(compilation.graph, SeededWeights(9)).tensors.items()
        }
    )
    weights = settled(compilation.inference_graph(fold=False), seeded, torch.randn(8, 1, 8, 8))
    mode = torch.onnx.TrainingMode.EVAL if fold else torch.onnx.TrainingMode.PRESERVE
    torch.onnx.export(
        TorchTarget(compilation, weights).module,
        (torch.zeros(1, 1, 8, 8),),
        path,
        dynamo=False,
        do_constant_folding=fold,
        training=mode,
    )


@pytest.mark.filterwarnings("ignore")
def test_a_file_of_another_exporter_brings_its_weights_along(call: Call) -> None:
    foreign(Path("theirs.onnx"), fold=False)
    done = call("verify small.yaml theirs.onnx")
    assert done.exit_code == 0, done.output
    assert labels(certified()) == ["torch fp32", "theirs.onnx fp32"]
    assert certified()["weights"]["from"] == "what `theirs.onnx` holds"


@pytest.mark.filterwarnings("ignore")
def test_a_folded_file_of_another_exporter_needs_its_weights_named(call: Call) -> None:
    foreign(Path("theirs.onnx"), fold=True)
    found = refused(call("verify small.yaml --onnx theirs.onnx --json"))
    assert found["code"] == "RD693"
    assert "--weights FILE" in found["hint"]


DEEP = "--set stages.0.depth=90"


@pytest.mark.slow
def test_values_that_float16_cannot_hold_are_told(call: Call) -> None:
    call(f"build small.yaml -t onnx {DEEP}")
    done = call(f"verify small.yaml {DEEP}")
    assert done.exit_code == 1
    assert "float16 ends at 65504" in done.stderr
    assert [item["holds"] for item in certified()["targets"]] == [True, True, False]


@pytest.mark.slow
def test_a_deep_network_of_a_seed_is_settled_where_no_file_holds_it(call: Call) -> None:
    assert call(f"verify small.yaml {DEEP}").exit_code == 0
    assert certified()["weights"]["settled"]


def test_values_that_are_too_large_to_be_compared_are_refused_with_a_way_out(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resnet_dsl.verify.reference.LARGEST", 0.1)
    found = refused(call("verify small.yaml --json"))
    assert found["code"] == "RD694"
    assert "--weights" in found["hint"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("verify", "RD637", "no SPEC"),
        ("verify small.yaml digits", "RD702", "`digits` is a second network"),
        ("verify small.yaml --seed 1 --weights w.safetensors", "RD702", "--seed and --weights"),
        ("verify --set classes=3", "RD702", "--set"),
        ("verify small.yaml none.onnx", "RD691", "there is no file `none.onnx`"),
        ("verify small.yaml --weights none.pt", "RD501", "none.pt"),
        ("verify small.yaml --data nowhere", "RD672", "nowhere"),
        ("verify resnett", "RD206", "resnett"),
    ],
)
def test_what_cannot_be_verified_is_refused(
    call: Call, arguments: str, code: str, said: str
) -> None:
    found = refused(call(f"{arguments} --json"))
    assert found["code"] == code
    assert said in found["message"]


@pytest.mark.parametrize("package", ["torch", "onnxruntime", "onnx"])
def test_what_is_missing_is_named(spec: Path, tmp_path: Path, package: str) -> None:
    env = running.without(package, tmp_path / "blocked")
    done = running.run("verify", "small.yaml", cwd=tmp_path, env=env)
    assert done.returncode == 2
    assert "error[RD650]" in done.stderr
    assert "pip install" in done.stderr
    assert not (tmp_path / "generated").exists()


def test_files_of_one_precision_are_told_apart_by_their_names(call: Call) -> None:
    for folder in ("a", "b"):
        assert call(f"build small.yaml -t onnx --out {folder}").exit_code == 0
    done = call("verify small.yaml a/small.onnx b/small.onnx --seed 0")
    assert done.exit_code == 0, done.output
    names = [item["name"] for item in certified()["targets"]]
    assert names == ["torch", "a/small.onnx", "b/small.onnx"]


def test_an_engine_that_lost_its_manifest_is_not_guessed_at(call: Call) -> None:
    Path("lost.engine").write_bytes(b"vtrt" + bytes(100))
    found = refused(call("verify lost.engine --json"))
    assert found["code"] == "RD693"
    assert "inspect lost.engine" in found["hint"]


def test_an_engine_is_no_onnx_file(call: Call) -> None:
    found = refused(call("verify small.yaml --onnx x.engine --json"))
    assert found["code"] == "RD702"
    assert "--engine x.engine" in found["hint"]


def test_a_graph_of_another_spec_is_told_to_be_that(call: Call) -> None:
    assert call("build digits -t onnx --seed 5 --out d").exit_code == 0
    found = refused(call("verify small.yaml d/digits.onnx --json"))
    assert found["code"] == "RD693"
    assert "another spec than `small`" in found["why"]
