"""What a command prints for people, it prints for programs too."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file
from typer.testing import Result

from compiler_tests.commands import running
from compiler_tests.commands.running import SMALL

Call = Callable[[str], Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    return lambda text: running.call(*text.split())


def both(call: Call, command: str) -> tuple[list[str], dict[str, Any]]:
    """The lines for people, and what programs get, of a command that succeeds."""
    text, data = call(command), call(f"{command} --json")
    assert (text.exit_code, data.exit_code) == (0, 0), text.output + data.output
    return text.stdout.splitlines(), json.loads(data.stdout)


def notes(lines: list[str]) -> list[dict[str, str]]:
    return [
        {"about": line[:9].rstrip(), "text": line[10:]}
        for line in lines
        if line.startswith("weights ")
    ]


def test_what_is_said_of_a_files_weights_is_said_to_programs(call: Call) -> None:
    call("build small.yaml --write-weights --out a")
    state = load_file("a/small.safetensors")
    save_file({f"module.{name}": array for name, array in state.items()}, "wrapped.safetensors")
    lines, data = both(call, "build small.yaml -t onnx --weights wrapped.safetensors --out b")
    said = [note["text"] for note in data["notes"]]
    assert "stripped `module.` from every name" in said
    assert f"{len(state)} of {len(state)} tensors: {len(state)} by name" in said
    assert notes(lines) == data["notes"]


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("build small.yaml -t onnx --seed 5", "drawn from seed 5: the network is untrained"),
        ("build small.yaml --write-weights", "drawn from seed 0: the network is untrained"),
        ("build resnet50 -t onnx --weights v1.safetensors", "v1.5"),
        ("build small.yaml --weights other.safetensors", "saved with another spec"),
    ],
)
def test_every_note_is_said_to_programs(call: Call, command: str, said: str) -> None:
    if "v1" in command:
        call("build resnet50 --write-weights --out w")
        save_file(load_file("w/resnet50.safetensors"), "v1.safetensors")
    if "other" in command:
        call("build small.yaml --set activation=silu --write-weights --out w")
        Path("w/small.safetensors").rename("other.safetensors")
    lines, data = both(call, command)
    assert any(said in note["text"] for note in data["notes"])
    assert notes(lines) == data["notes"]


@pytest.mark.parametrize(
    "command", ["check small.yaml", "build small.yaml", "list", "describe small.yaml"]
)
def test_a_command_without_notes_has_an_empty_list_of_them(call: Call, command: str) -> None:
    assert both(call, command)[1]["notes"] == []


def test_specs_that_are_right_are_named_beside_those_that_are_not(call: Call) -> None:
    Path("bad.yaml").write_text(SMALL.replace("basic", "basik"))
    _, alone = both(call, "check small.yaml")
    for order in ("small.yaml bad.yaml", "bad.yaml small.yaml"):
        done = call(f"check {order}")
        assert done.exit_code == 2
        assert done.stdout.startswith("ok  small: ")
        assert done.stdout.count("\n") == 1
        assert "error[RD201]" in done.stderr
        assert done.stderr.endswith("1 error\n")
        data = call(f"check {order} --json")
        assert data.exit_code == 2
        found = json.loads(data.stdout)
        assert found["checked"] == alone["checked"]
        assert [item["code"] for item in found["errors"]] == ["RD201"]


def result_of(spec_hash: str, **changes: Any) -> dict[str, Any]:
    return {
        "spec": spec_hash,
        "weights": "elsewhere/last.safetensors",
        "best_weights": "elsewhere/best.safetensors",
        "mean": [0.305012345],
        "std": [0.376],
    } | changes


@pytest.fixture
def written(call: Call) -> str:
    """The hash of the spec of the weights at `run/last.safetensors`."""
    call("build small.yaml --write-weights --out run")
    Path("run/small.safetensors").rename("run/last.safetensors")
    spec_hash: str = json.loads(call("build small.yaml --json").stdout)["spec_sha256"]
    return spec_hash


def test_the_images_that_trained_weights_want_are_told(call: Call, written: str) -> None:
    command = "build small.yaml -t onnx --weights run/last.safetensors --out out"
    assert "standardised" not in call(command).stdout
    before = Path("out/small.onnx").read_bytes()
    Path("run/result.json").write_text(json.dumps(result_of(written)))
    lines, data = both(call, command)
    assert notes(lines) == data["notes"]
    (said,) = (note["text"] for note in data["notes"] if "standardised" in note["text"])
    assert "(image - mean) / std" in said
    assert "mean 0.305 and std 0.376" in said
    assert Path("out/small.onnx").read_bytes() == before


@pytest.mark.parametrize(
    ("normalise", "said"),
    [
        ("none", "took its images as they are, as numbers from 0 to 1"),
        ("pixel", "mean_image.safetensors beside the weights has it, as (C, H, W)"),
        ("channel", "with mean 0.305 and std 0.376"),
    ],
)
def test_what_was_done_to_the_images_is_told_whatever_it_was(
    call: Call, written: str, normalise: str, said: str
) -> None:
    result = result_of(written, normalise=normalise)
    Path("run/result.json").write_text(json.dumps(result))
    done = call("build small.yaml --weights run/last.safetensors --out out")
    assert sum(said in line for line in done.stdout.splitlines()) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": "another"},
        {"weights": "elsewhere/other.safetensors"},
        {"weights": 7},
        {"mean": []},
        {"mean": ["0.3"]},
        {"mean": [float("nan")]},
        {"std": 0.4},
        {"std": None},
    ],
    ids=str,
)
def test_a_result_that_is_not_of_these_weights_says_nothing(
    call: Call, written: str, changes: dict[str, Any]
) -> None:
    result = result_of(written, **changes)
    Path("run/result.json").write_text(json.dumps(result))
    done = call("build small.yaml --weights run/last.safetensors --out out")
    assert done.exit_code == 0
    assert "standardised" not in done.stdout


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, "\x00", "null"], ids=range(6))
def test_a_result_that_cannot_be_read_says_nothing(call: Call, written: str, text: str) -> None:
    Path("run/result.json").write_text(text)
    done = call("build small.yaml --weights run/last.safetensors --out out")
    assert done.exit_code == 0
    assert "standardised" not in done.stdout
