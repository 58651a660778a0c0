"""Which networks and weights are meant by what the user types, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from compiler_tests.evaluate.tiny import RESIDUAL, VGG
from resnet_dsl.catalogue import bundled
from resnet_dsl.compiler import compile_spec, resolved
from resnet_dsl.errors import CompileError
from resnet_dsl.evaluate.request import DataChoice, Request, check_request, data_choice
from resnet_dsl.evaluate.runs import run_of
from resnet_dsl.evaluate.subjects import Subject, find_subjects


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(RESIDUAL)
    (tmp_path / "vggish.yaml").write_text(VGG)
    return tmp_path


def trained(place: str, age: int = 0, **said: Any) -> Path:
    """The folder of a run of tiny.yaml, with the resolved spec beside it; its manifest says what is `said`."""
    run = Path(place)
    run.mkdir(parents=True)
    compilation = compile_spec(Path("tiny.yaml"))
    (run.parent / "spec.json").write_text(resolved(compilation))
    result: dict[str, Any] = {
        "network": compilation.spec.name,
        "spec": compilation.program.spec_hash,
    }
    result |= {"test_accuracy": 50.0, "best_test_accuracy": 60.0}
    (run / "result.json").write_text(json.dumps(result))
    (run / "manifest.json").write_text(json.dumps(said))
    for name in ("best", "last"):
        file = run / f"{name}.safetensors"
        file.write_bytes(b"weights")
        os.utime(file, (1e9 - age, 1e9 - age))
    return run


def names(subjects: list[Subject]) -> list[tuple[str, str]]:
    return [(subject.name, str(subject.file)) for subject in subjects]


def refused(
    *sources: str, weights: tuple[str, ...] = (), overrides: tuple[str, ...] = ()
) -> tuple[str, str, str]:
    with pytest.raises(CompileError) as found:
        find_subjects(sources, [Path(file) for file in weights], overrides)
    (item,) = found.value.diagnostics
    return item.code, item.message, f"{item.why} {item.hint}"


def test_without_a_name_it_is_what_was_trained_last_here():
    trained("generated/old/run", age=100)
    trained("generated/new/run", age=50)
    trained("generated/older/run", age=200)
    (found,) = find_subjects((), (), ())
    assert names([found]) == [("tiny", "generated/new/run/best.safetensors")]
    assert found.notes == (
        "generated/new/run/best.safetensors: the network that was trained last here",
    )


def test_where_nothing_was_trained_that_is_said():
    code, message, why = refused()
    assert (code, message) == ("RD670", "there is nothing to evaluate")
    assert "resnet-dsl train digits" in why


@pytest.mark.parametrize("name", ["run", "."])
def test_a_run_brings_its_network_and_its_best_weights(name):
    trained("out/run")
    (found,) = find_subjects((f"out/{name}",), (), ())
    assert names([found]) == [("tiny", "out/run/best.safetensors")]
    assert found.run is not None
    assert found.run.accuracy_of(found.file) == 60
    Path("out/run/best.safetensors").unlink()
    (found,) = find_subjects((f"out/{name}",), (), ())
    assert names([found]) == [("tiny", "out/run/last.safetensors")]
    assert found.run is not None
    assert found.run.accuracy_of(found.file) == 50


def test_weights_in_the_folder_of_a_run_are_enough():
    trained("out")
    (found,) = find_subjects(("out/last.safetensors",), (), ())
    assert names([found]) == [("tiny", "out/last.safetensors")]
    assert found.run is not None


def test_a_run_that_has_not_ended_is_known_by_its_manifest_or_its_weights():
    spec_hash = compile_spec(Path("tiny.yaml")).program.spec_hash
    run = trained("out/run", spec="tiny.yaml", spec_sha256=spec_hash)
    (run / "result.json").unlink()
    (found,) = find_subjects(("out",), (), ())
    assert found.name == "tiny"
    assert found.run is not None
    assert found.run.accuracy_of(found.file) is None
    (run / "manifest.json").unlink()
    save_file({"a": np.zeros(1)}, run / "best.safetensors", {"spec_sha256": spec_hash})
    (found,) = find_subjects(("out",), (), ())
    assert found.name == "tiny"


def test_a_run_of_a_bundled_spec_is_known_by_its_name():
    spec_hash = compile_spec(bundled()["digits"]).program.spec_hash
    trained("out/run", network="digits")
    Path("out/spec.json").unlink()
    result = {"network": "digits", "spec": spec_hash}
    Path("out/run/result.json").write_text(json.dumps(result))
    (found,) = find_subjects(("out",), (), ())
    assert found.name == "digits"
    assert found.settings["data"] == "digits"


def test_a_spec_takes_the_weights_that_are_given_or_were_trained():
    run = trained("generated/tiny/run")
    (found,) = find_subjects(("tiny.yaml",), (), ())
    assert found.file == run / "best.safetensors"
    assert found.notes == ()
    (found,) = find_subjects(("tiny.yaml",), [Path("w.pth")], ())
    assert names([found]) == [("tiny", "w.pth")]
    assert found.run is None


def test_weights_of_a_run_of_another_spec_are_remarked_on():
    run = trained("out")
    (found,) = find_subjects(("tiny.yaml",), [run / "last.safetensors"], ("input.size=16",))
    assert "was trained by another spec" in found.notes[0]
    assert found.compilation is not None
    assert found.compilation.program.input == (3, 16, 16)


def test_several_are_told_apart():
    run = trained("out")
    Path("g.onnx").write_bytes(b"")
    files = [Path("a.pt"), Path("b.pt")]
    found = find_subjects(("tiny.yaml",), files, ())
    assert names(found) == [("tiny", "a.pt"), ("tiny", "b.pt")]
    found = find_subjects(("tiny.yaml", "vggish.yaml"), files, ())
    assert names(found) == [("tiny", "a.pt"), ("vggish", "b.pt")]
    found = find_subjects(("tiny.yaml", "g.onnx", "vggish.yaml"), files, ())
    assert names(found) == [("tiny", "a.pt"), ("g", "g.onnx"), ("vggish", "b.pt")]
    found = find_subjects(("out", "g.onnx", "out/last.safetensors"), (), ())
    assert [each[1] for each in names(found)] == [
        str(run / "best.safetensors"),
        "g.onnx",
        "out/last.safetensors",
    ]
    assert found[1].compilation is None
    found = find_subjects(("out",), files, ())
    assert names(found) == [("tiny", "a.pt"), ("tiny", "b.pt")]


def test_weights_and_overrides_that_go_nowhere_are_refused():
    trained("out")
    Path("g.onnx").write_bytes(b"")
    assert refused("g.onnx", weights=("a.pt",))[:2] == ("RD702", "--weights would do nothing here")
    assert refused("tiny.yaml", "out", weights=("a.pt",) * 3)[0] == "RD702"
    assert refused("out", overrides=("classes=3",))[:2] == ("RD702", "--set would do nothing here")
    assert refused(weights=("a.pt",))[1] == "--weights without a network"
    assert refused(overrides=("classes=3",))[1] == "--set without a network"
    assert refused("a.pt", weights=("b.pt",))[1] == "`a.pt` and --weights are weights both"


def test_what_is_not_there_is_refused():
    Path("empty").mkdir()
    assert refused("empty")[:2] == ("RD670", "`empty` is not the folder of a run")
    assert refused("g.onnx")[:2] == ("RD675", "there is no file `g.onnx`")
    assert refused("tinny")[0] == "RD206"
    code, message, why = refused("tiny.yaml")
    assert (code, message) == ("RD670", "there are no weights of `tiny`")
    assert "resnet-dsl train tiny.yaml" in why
    code, message, why = refused("w.safetensors")
    assert (code, message) == ("RD670", "nothing says which network `w.safetensors` belongs to")
    assert "resnet-dsl eval SPEC --weights w.safetensors" in why


def test_a_run_without_weights_is_refused():
    run = trained("out")
    for name in ("best", "last"):
        (run / f"{name}.safetensors").unlink()
    assert refused("out")[:2] == ("RD670", "`out` holds no weights")


def test_a_run_stays_what_it_is_when_its_spec_is_changed_or_gone():
    trained("out/run")
    Path("tiny.yaml").unlink()
    (found,) = find_subjects(("out",), (), ())
    assert found.name == "tiny"


def test_a_run_whose_network_is_not_known_is_refused_with_what_to_type():
    trained("out/run")
    other = compile_spec(Path("tiny.yaml"), ["classes=3"])
    for text, said in (
        (resolved(other), "`out/spec.json` is another network"),
        ("name: 3", "`out/spec.json`: "),
        (None, "`out/spec.json`, which `resnet-dsl train` writes, is not there"),
    ):
        if text is None:
            Path("out/spec.json").unlink()
        else:
            Path("out/spec.json").write_text(text)
        code, message, why = refused("out")
        assert (code, message) == ("RD670", "the network of `out/run` is not known")
        assert said in why
        assert "resnet-dsl eval SPEC --weights out/run/best.safetensors" in why


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"network": 3, "spec": []}', "[" * 10_000]
)
def test_a_run_that_says_nothing_goes_by_its_weights(content):
    run = trained("out/run")
    for name in ("result", "manifest"):
        (run / f"{name}.json").write_text(content)
    assert refused("out")[0] == "RD502"  # these are none


def test_weights_belong_to_a_run_by_their_name_and_its_files():
    run = trained("out")
    assert run_of(run / "best.safetensors") is not None
    assert run_of(run / "other.safetensors") is None
    assert run_of(Path("nowhere/best.safetensors")) is None


# Which images are meant


def choice(*settings: dict[str, object], **asked: Any) -> DataChoice:
    request = Request(**asked)
    check_request(request)
    return data_choice(request, [Subject("n", Path("n.onnx"), settings=each) for each in settings])


CIFAR: dict[str, object] = {"data": "cifar10", "path": "data", "download": True}
FOLDER: dict[str, object] = {"data": "folder", "path": "pictures"}


def test_images_are_those_of_the_training_unless_others_are_named():
    here = Path("here")
    assert choice(CIFAR) == DataChoice("cifar10", Path("data"), "test", True)
    assert choice(CIFAR, path=here) == DataChoice("cifar10", here, "test", True)
    assert choice(CIFAR, data="folder", path=here) == DataChoice("folder", here, "test")
    assert choice(CIFAR, data="fake") == DataChoice("fake", None)
    assert choice({"data": "digits"}, path=here) == DataChoice("folder", here)
    assert choice({}, path=here, split="train") == DataChoice("folder", here, "train")
    assert choice({}, FOLDER) == DataChoice("folder", Path("pictures"))
    assert choice(FOLDER, CIFAR, data="cifar10") == DataChoice(
        "cifar10", Path("data"), "test", True
    )


@pytest.mark.parametrize(
    ("settings", "asked", "code", "said"),
    [
        ([{}], {}, "RD672", "nothing says on which images to evaluate `n.onnx`"),
        ([FOLDER, CIFAR], {}, "RD673", "was trained for `folder`, and `n` for `cifar10`"),
        ([{}], {"data": "digits", "path": Path("x")}, "RD702", "--path would do nothing here"),
        ([{}], {"mean": (0.5,)}, "RD702", "--mean without --std"),
        ([{}], {"std": (0.5,)}, "RD702", "--std without --mean"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused(settings, asked, code, said):
    with pytest.raises(CompileError, match=said) as found:
        choice(*settings, **asked)
    (item,) = found.value.diagnostics
    assert item.code == code
    assert item.hint
