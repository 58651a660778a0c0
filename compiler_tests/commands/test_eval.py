"""`eval` from the command line: what it prints, writes and refuses."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from compiler_tests.commands import running
from compiler_tests.commands.running import SMALL, run, without
from resnet_dsl.compiler import compile_spec

pytest.importorskip("torch")
pytest.importorskip("torchvision")

Call = Callable[[str], Result]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command line in a folder with small.yaml, and two files of weights: a and b."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "small.yaml").write_text(SMALL)
    for seed, name in enumerate("ab"):
        done = running.call(
            "build", "small.yaml", "--write-weights", "--seed", str(seed), "--out", name
        )
        assert done.exit_code == 0, done.stderr
        shutil.copy(tmp_path / name / "small.safetensors", tmp_path / f"{name}.safetensors")
    return lambda text: running.call(*shlex.split(text))


STANDARD = "--mean 0.305 --std 0.376"


def test_a_network_is_told_with_its_classes_and_confusions(call: Call) -> None:
    done = call(f"eval small.yaml --weights a.safetensors {STANDARD}")
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "images    360 of digits, test split, 10 classes" in lines
    assert "network   small, a.safetensors" in lines
    assert "views     centre, 8×8" in lines
    assert "pixels    mean 0.305 and std 0.376, by --mean and --std" in lines
    first, five = (next(line for line in lines if line.startswith(f"top-{k}")) for k in (1, 5))
    right = int(first.split()[-3])
    assert f"{100 * right / 360:6.2f} %" in first
    assert int(five.split()[-3]) >= right
    start = next(place for place, line in enumerate(lines) if line.startswith("is \\ told"))
    matrix = [
        [int(cell.replace("·", "0")) for cell in line.split()[1:]] for line in lines[start + 1 :]
    ]
    assert sum(map(sum, matrix)) == 360
    assert sum(matrix[label][label] for label in range(10)) == right


def test_an_ensemble_tells_each_network_and_all_together(call: Call) -> None:
    call("build small.yaml -t onnx --weights b.safetensors --out graph")
    done = call(
        "eval small.yaml graph/small.onnx --weights a.safetensors --weights b.safetensors "
        f"--data digits --flip --json {STANDARD}"
    )
    found = json.loads(done.stdout)
    files = [each["file"] for each in found["networks"]]
    assert files == ["a.safetensors", "b.safetensors", "graph/small.onnx"]
    assert found["networks"][1]["right"] == found["networks"][2]["right"]
    done = call(
        f"eval small.yaml graph/small.onnx --weights a.safetensors --flip --json {STANDARD}"
    )
    assert done.exit_code == 0, done.stdout
    found = json.loads(done.stdout)
    assert [each["file"] for each in found["networks"]] == ["a.safetensors", "graph/small.onnx"]
    assert all(each["views"]["flip"] for each in found["networks"])
    assert found["together"]["right"] == sum(
        found["confusion"][label][label] for label in range(10)
    )
    assert found["together"]["loss"] <= sum(each["loss"] for each in found["networks"]) / 2
    alone = json.loads(
        call(f"eval small.yaml --weights b.safetensors --flip --json {STANDARD}").stdout
    )
    assert alone["together"] is None
    (torch_s,), (_, onnx_s) = alone["networks"], found["networks"]
    assert onnx_s["right"] == torch_s["right"]
    assert onnx_s["loss"] == pytest.approx(torch_s["loss"], rel=1e-4)


def test_what_is_written_is_what_is_said_and_the_same_again(call: Call, tmp_path: Path) -> None:
    command = f"eval small.yaml --weights a.safetensors {STANDARD} --limit 100 --json --out report"
    done = call(command)
    assert done.exit_code == 0, done.stdout
    said = json.loads(done.stdout)
    written = json.loads((tmp_path / "report/evaluation.json").read_text())
    assert {key: said[key] for key in written} == written
    assert said.keys() - written.keys() == {
        "seconds", "images_per_second", "device", "notes", "files", "next"
    }  # fmt: skip
    assert written["data"]["images"] == sum(map(sum, written["confusion"])) == 100
    with (tmp_path / "report/confusion.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    assert [[int(cell) for cell in row[1:]] for row in rows] == written["confusion"]
    with (tmp_path / "report/classes.csv").open() as file:
        assert (
            sum(int(row["right"]) for row in csv.DictReader(file))
            == written["networks"][0]["right"]
        )
    again = json.loads(call(command).stdout)
    assert {item["status"] for item in again["files"]} == {"unchanged"}


def test_the_second_accuracy_is_of_as_many_classes_as_asked_for(call: Call) -> None:
    def top(options: str) -> dict[str, float]:
        done = call(
            f"eval small.yaml --weights a.safetensors {STANDARD} --limit 90 --json {options}"
        )
        assert done.exit_code == 0, done.stdout
        (found,) = json.loads(done.stdout)["networks"]
        return {key: found[key] for key in ("top", "top_accuracy", "accuracy")}

    assert top("")["top"] == 5
    assert top("--top 2")["top_accuracy"] <= top("--top 9")["top_accuracy"]
    refused = call(f"eval small.yaml --weights a.safetensors {STANDARD} --top 10")
    assert refused.exit_code == 2
    assert "error[RD702]: --top 10 would say nothing" in refused.stderr


def test_without_options_images_are_standardised_as_the_training_would(call: Call) -> None:
    done = call("eval small.yaml --weights a.safetensors --limit 10")
    assert done.exit_code == 0, done.stderr
    assert "pixels    measured on the training images, by the spec's train section" in done.stdout


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("eval", "RD670", "there is nothing to evaluate"),
        ("eval small.yaml", "RD670", "there are no weights of `small`"),
        ("eval nothing", "RD206", "there is no spec `nothing`"),
        ("eval small.yaml --weights none.pt", "RD501", "none.pt"),
        ("eval small.yaml --weights small.yaml", "RD502", "small.yaml"),
        ("eval small.yaml --weights a.safetensors --set stages.0.width=4", "RD507", ""),
        ("eval small.yaml --weights a.safetensors --set classes=7", "RD507", ""),
        ("eval small.yaml --weights a.safetensors --set head=none", "RD675", "no classifier"),
        ("eval small.yaml --weights a.safetensors --device tpu", "RD621", "no device `tpu`"),
        (
            "eval small.yaml --weights a.safetensors --device cuda:99",
            "RD621",
            "no device `cuda:99`",
        ),
        ("eval small.yaml --weights a.safetensors --mean 0.5", "RD702", "--mean without --std"),
        ("eval small.yaml --weights a.safetensors --mean x --std 1", "RD671", "`x` is no --mean"),
        (
            "eval small.yaml --weights a.safetensors --scales 8",
            "RD702",
            "--scales would do nothing",
        ),
        (
            "eval small.yaml --weights a.safetensors --views scales",
            "RD674",
            "the scales for `small`",
        ),
        ("eval small.yaml --weights a.safetensors --views ten", "RD674", "ten crops need"),
        (
            "eval small.yaml --weights a.safetensors --data cifar10 --path .",
            "RD672",
            ". holds neither",
        ),
        ("eval small.yaml --weights a.safetensors --data folder", "RD672", "nothing says where"),
        ("eval small.yaml --weights a.safetensors --path .", "RD672", ""),
        ("eval a.safetensors", "RD670", "nothing says which network `a.safetensors` belongs to"),
        ("eval graph.onnx", "RD675", "there is no file `graph.onnx`"),
        ("eval . --set classes=3", "RD702", "--set would do nothing"),
        ("eval .", "RD670", "`.` is not the folder of a run"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(
    call: Call, command: str, code: str, said: str
) -> None:
    done = call(command)
    assert done.exit_code == 2
    assert f"error[{code}]" in done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    as_data = call(f"{command} --json")
    assert as_data.exit_code == 2
    assert json.loads(as_data.stdout)["errors"][0]["code"] == code


def test_classes_of_other_names_or_in_another_order_are_told(call: Call) -> None:
    result: dict[str, object] = {
        "network": "small",
        "spec": compile_spec(Path("small.yaml")).program.spec_hash,
        "mean": [0.3],
        "std": [0.4],
    }
    shutil.copy("a.safetensors", "best.safetensors")
    digits = [str(digit) for digit in range(10)]
    for classes, said in (
        (digits, None),
        (["zero", *digits[1:]], "class 0 is `0`, and was `zero` in the training"),
        (digits[::-1], "the classes of the images stand in another order"),
    ):
        Path("result.json").write_text(json.dumps(result | {"classes": classes}))
        done = call("eval small.yaml --weights best.safetensors --limit 20")
        assert done.exit_code == (2 if classes == digits[::-1] else 0), done.stderr
        told = done.stdout + done.stderr
        assert (said in told) if said else ("class 0" not in told)


@pytest.mark.parametrize(
    "option", ["--top 1", "--limit 0", "--batch 0", "--size 0", "--split val", "--views five"]
)
def test_values_that_no_option_has_are_usage_errors(call: Call, option: str) -> None:
    done = call(f"eval small.yaml --weights a.safetensors {option}")
    assert done.exit_code == 2
    assert option.split()[0] in done.stderr


def test_a_graph_without_images_or_means_asks_for_them(call: Call) -> None:
    call("build small.yaml -t onnx --weights a.safetensors --out graph")
    for options, code in (("", "RD672"), ("--data digits", "RD671")):
        done = call(f"eval graph/small.onnx {options}")
        assert done.exit_code == 2
        assert f"error[{code}]" in done.stderr
    assert call(f"eval graph/small.onnx --data digits {STANDARD}").exit_code == 0
    fixed = call(f"eval graph/small.onnx --data digits {STANDARD} --views scales --scales 8,10")
    assert fixed.exit_code == 2
    assert "build it with --dynamic-size" in fixed.stderr
    call("build small.yaml -t onnx --weights a.safetensors --out any --dynamic-size")
    for views in ("--views scales --scales 8,10", "", "--size 6 --resize 8"):
        options = f"--data digits {STANDARD} --limit 50 --json {views}"
        one = json.loads(call(f"eval any/small.onnx {options}").stdout)
        other = json.loads(call(f"eval small.yaml --weights a.safetensors {options}").stdout)
        assert one["networks"][0]["right"] == other["networks"][0]["right"]
        assert one["networks"][0]["loss"] == pytest.approx(other["networks"][0]["loss"], rel=1e-4)


@pytest.mark.slow
def test_what_was_trained_is_as_good_as_the_training_found(call: Call, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    done = run("train", "small.yaml", "--set", "train.epochs=3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for command in ("eval small.yaml --set train.epochs=3", "eval", "eval generated/small"):
        found = json.loads(call(f"{command} --json").stdout)
        (network,) = found["networks"]
        assert network["file"] == "generated/small/run/best.safetensors"
        assert network["accuracy"] == pytest.approx(network["recorded_accuracy"])
        assert network["standardised_by"] == "generated/small/run/result.json"
        assert not any("another spec" in note["text"] for note in found["notes"])


@pytest.mark.slow
def test_without_torch_what_is_missing_is_said(call: Call, tmp_path: Path) -> None:
    done = run(
        "eval", "small.yaml", "--weights", "a.safetensors",
        cwd=tmp_path, env=without("torch", tmp_path / "site"),
    )  # fmt: skip
    assert done.returncode == 2
    assert "error[RD650]: this needs torch" in done.stderr
