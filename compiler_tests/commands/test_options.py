"""Every option does something, or is refused with a sentence that says why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import Result

from compiler_tests.commands import running
from resnet_dsl.commands.build import BuildOptions, again


@pytest.fixture
def call(spec: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """The command line beside small.yaml, from one text."""
    monkeypatch.chdir(spec.parent)
    return lambda text: running.call(*text.split())


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ("--fold", "--fold"),
        ("--no-fold", "--no-fold"),
        ("--opset 20", "--opset"),
        ("--dynamic-size", "--dynamic-size"),
        ("--external-data", "--external-data"),
        ("--output layer1", "--output"),
        ("--precision fp16", "--precision"),
        ("-t train --precision fp32", "--precision"),
        ("--seed 3", "--seed"),
        ("-t torch -t train --seed 3", "--seed"),
        ("-t train --weights w.safetensors", "--weights"),
        ("--stop-after graph --target onnx", "--target"),
        ("--stop-after graph --out x", "--out"),
        ("--stop-after graph --seed 0", "--seed"),
        ("--stop-after folded --no-fold", "--no-fold"),
        ("--stop-after folded --write-weights", "--write-weights"),
        ("-t onnx --seed 0 --weights w.safetensors", "--seed and --weights"),
        ("--write-weights --seed 1 --weights w.safetensors", "--seed and --weights"),
    ],
)
def test_an_option_without_an_effect_is_refused(
    call: Callable[..., Result], tmp_path: Path, arguments: str, option: str
) -> None:
    done = call(f"build small.yaml {arguments} --json")
    assert done.exit_code == 2
    (found,) = json.loads(done.stdout)["errors"]
    assert found["code"] == "RD702"
    assert found["message"].startswith(option)
    assert found["why"]
    assert found["hint"]
    assert [file.name for file in tmp_path.iterdir()] == ["small.yaml"]


def test_every_option_without_an_effect_is_named_at_once(call: Callable[..., Result]) -> None:
    done = call("build small.yaml --opset 20 --dynamic-size --output layer1 --json")
    assert len(json.loads(done.stdout)["errors"]) == 3


def test_a_seed_and_weights_exclude_each_other_for_engines_too(call: Callable[..., Result]) -> None:
    done = call("compile small.yaml --seed 1 --weights w.safetensors")
    assert done.exit_code == 2
    assert "error[RD702]" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "--opset 20",
        "--no-fold",
        "--dynamic-size",
        "--external-data",
        "--output layer1",
        "--precision fp16",
        "--precision bf16",
        "--seed 1",
    ],
)
def test_every_option_of_the_onnx_target_makes_another_file(
    call: Callable[..., Result], tmp_path: Path, arguments: str
) -> None:
    assert call("build small.yaml -t onnx --out plain").exit_code == 0
    done = call(f"build small.yaml -t onnx --out other {arguments}")
    assert done.exit_code == 0, done.stderr

    def content(folder: str) -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in (tmp_path / folder).iterdir()}

    assert (content("plain") == content("other")) == (arguments == "")


def test_options_that_say_what_is_so_anyway_are_taken(call: Callable[..., Result]) -> None:
    done = call("build small.yaml -t onnx -t onnx --fold --precision fp32 --seed 0 --opset 18")
    assert done.exit_code == 0
    assert done.stdout.count("wrote") == 1


@pytest.mark.parametrize("targets", ["", "-t torch", "-t torch -t train"])
def test_weights_without_a_graph_are_written_beside_the_source(
    call: Callable[..., Result], tmp_path: Path, targets: str
) -> None:
    call("build small.yaml --write-weights --seed 5 --out drawn")
    done = call(f"build small.yaml {targets} --weights drawn/small.safetensors --out read")
    assert done.exit_code == 0, done.stderr
    drawn, read = (load_file(tmp_path / name / "small.safetensors") for name in ("drawn", "read"))
    assert drawn.keys() == read.keys()
    assert all(np.array_equal(drawn[key], read[key]) for key in drawn)


@pytest.mark.parametrize(
    ("batch", "code"),
    [
        ("0", "RD625"),
        ("8/4/2", "RD625"),
        ("1/2", "RD625"),
        ("-1", "RD625"),
        ("many", "RD625"),
        ("", "RD625"),
        ("٣", "RD625"),
        ("99999999999", "RD625"),
        ("1/8/2147483648", "RD625"),
        ("9" * 5000, "RD625"),
    ],
    ids=lambda value: value[:12],
)
def test_a_batch_that_no_engine_can_take_is_refused_before_anything_is_compiled(
    call: Callable[..., Result], tmp_path: Path, batch: str, code: str
) -> None:
    pytest.importorskip("tensorrt_rtx")
    done = call(f"compile small.yaml --batch={batch} --json")
    assert done.exit_code == 2
    assert {item["code"] for item in json.loads(done.stdout)["errors"]} == {code}
    assert [file.name for file in tmp_path.iterdir()] == ["small.yaml"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("--gpus h100", "RD623"),
        ("--gpus rtx4090,nonsense", "RD622"),
        ("--gpus ,", "RD622"),
        ("--gpus sm75 --precision bf16", "RD624"),
    ],
)
def test_a_gpu_that_cannot_be_had_is_refused(
    call: Callable[..., Result], arguments: str, code: str
) -> None:
    pytest.importorskip("tensorrt_rtx")
    done = call(f"compile small.yaml {arguments} --json")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["errors"][0]["code"] == code


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("build nothing.yaml", "RD001"),
        ("build small.yaml -t onnx --output layer9", "RD642"),
        ("build small.yaml -t onnx --opset 3", "RD640"),
        ("build small.yaml -t onnx --weights nothing.pth", "RD501"),
        ("build small.yaml --set classes=many", "RD105"),
        ("check small.yaml nothing.yaml", "RD001"),
        ("describe small.yaml --set stages.5.depth=1", "RD031"),
        ("train small.yaml --set train.recipe=none", "RD202"),
        ("train small.yaml --set train.epochs=0", "RD106"),
        ("compile nothing.yaml", "RD001"),
    ],
)
def test_a_failure_is_json_and_nothing_else_for_a_program(
    call: Callable[..., Result], command: str, code: str
) -> None:
    done = call(f"{command} --json")
    assert done.exit_code == 2, done.stdout
    assert json.loads(done.stdout)["errors"][0]["code"] == code
    assert done.stderr == ""


# The command that is printed as the next one


def test_the_next_command_takes_the_same_network_and_numbers_along(
    call: Callable[..., Result],
) -> None:
    done = call("build small.yaml -t onnx --seed 7 --set classes=5 --out deep --json")
    (line,) = json.loads(done.stdout)["next"]
    assert line == (
        "resnet-dsl compile small.yaml --target tensorrt --set classes=5 --seed 7 --out deep"
    )


@pytest.mark.parametrize("name", ["two words.yaml", "it's.yaml", "$(id).yaml", "a\nb.yaml", "`x`.yaml"])  # fmt: skip
def test_the_next_command_is_quoted_for_a_shell(name: str) -> None:
    import shlex

    line = again("build", name, "onnx", BuildOptions((), Path(f"out {name}")))
    words = shlex.split(line)
    assert words[2] == name
    assert words[words.index("--out") + 1] == f"out {name}"


def test_the_next_command_takes_no_file_for_an_option() -> None:
    assert again("build", "-x.yaml", "onnx", BuildOptions((), Path("-y"))) == (
        "resnet-dsl build ./-x.yaml --target onnx --out ./-y"
    )
