"""What is meant where no network is named: what was last built or trained here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from compiler_tests.commands.running import SMALL
from resnet_dsl.commands import training
from resnet_dsl.commands.latest import Latest, latest, remember
from resnet_dsl.commands.output import ChildExitError
from resnet_dsl.commands.train_options import TrainRequest
from resnet_dsl.compiler import compile_spec, resolved
from resnet_dsl.errors import CompileError, Diagnostic

RECORD = Path("generated/latest.json")
HASH = "0" * 64


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a spec and with `generated` in it, which is the working folder."""
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/small.yaml").write_text(SMALL)
    (tmp_path / "generated").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def built(spec: str = "specs/small.yaml", **changes: Any) -> Latest:
    """Build, and ask."""
    overrides = changes.pop("overrides", ())
    file = Path(spec)
    spec_hash = compile_spec(file, overrides).program.spec_hash if file.is_file() else HASH
    given: dict[str, Any] = {"spec_sha256": spec_hash, "out": Path("generated/small"), **changes}
    remember("built", spec=spec, overrides=overrides, **given)
    return latest()


def trained(
    folder: str = "generated/small", *, seconds: float = 0, spec: str = SMALL, ended: bool = True
) -> Path:
    """What a training leaves in a folder; its best weights are `seconds` younger than now."""
    run = Path(folder) / "run"
    run.mkdir(parents=True)
    file = run.parent / "spec.yaml"
    file.write_text(spec)
    compilation = compile_spec(file)
    (run.parent / "spec.json").write_text(resolved(compilation))
    state = {"spec_sha256": compilation.program.spec_hash, "network": "small"}
    (run / "manifest.json").write_text(json.dumps(state))
    if ended:
        (run / "result.json").write_text(json.dumps({"spec": compilation.program.spec_hash}))
    best = run / "best.safetensors"
    save_file({"fc.bias": np.zeros(10, np.float32)}, best)
    when = best.stat().st_mtime + seconds
    os.utime(best, (when, when))
    return best


def finding() -> Diagnostic:
    with pytest.raises(CompileError) as raised:
        latest()
    (found,) = raised.value.diagnostics
    assert found.code == "RD637"
    assert found.hint is not None
    assert "`resnet-dsl compile resnet50`" in found.hint
    return found


def test_what_was_built_last_is_taken_as_it_was_named() -> None:
    found = built(overrides=("classes=7",), seed=3)
    assert (found.what, found.spec, found.overrides) == (
        "built",
        "specs/small.yaml",
        ("classes=7",),
    )
    assert (found.weights, found.seed, found.out, found.notes) == (None, 3, None, ())
    assert found.about == (
        "`small`, which was built last here: specs/small.yaml, weights from seed 3"
    )


def test_a_bundled_spec_and_weights_are_taken_too(here: Path) -> None:
    spec_hash = compile_spec(here / "specs/small.yaml").program.spec_hash
    Path("w.safetensors").write_bytes(b"")
    found = built("resnet20", weights=here / "w.safetensors", spec_sha256=spec_hash)
    assert (found.spec, found.weights) == ("resnet20", Path("w.safetensors"))
    assert found.about.endswith("resnet20, w.safetensors")
    assert found.notes == ("`resnet20` has changed since it was built: it is taken as it is now",)


def test_paths_are_kept_so_that_the_whole_folder_can_be_moved(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(str(here / "specs/small.yaml"))
    assert str(here) not in RECORD.read_text()
    monkeypatch.chdir(here.parent)
    moved = here.rename(here.with_name("moved"))
    monkeypatch.chdir(moved)
    assert latest().spec == "specs/small.yaml"


def test_a_spec_that_was_changed_since_is_taken_as_it_is_and_that_is_said() -> None:
    built()
    Path("specs/small.yaml").write_text(SMALL.replace("depth: 1", "depth: 2"))
    (note,) = latest().notes
    assert note == "`specs/small.yaml` has changed since it was built: it is taken as it is now"


def test_a_comment_in_the_spec_is_no_change() -> None:
    built()
    Path("specs/small.yaml").write_text(f"# small\n{SMALL}")
    assert latest().notes == ()


def test_what_is_not_there_any_more_is_refused() -> None:
    with pytest.raises(CompileError):
        built(weights=Path("w.safetensors"))
    assert "`w.safetensors`, which is not there any more" in (finding().why or "")
    Path("specs/small.yaml").unlink()
    assert "`specs/small.yaml`, the spec of what was built" in (finding().why or "")


def test_where_nothing_was_built_the_command_to_type_is_said() -> None:
    assert finding().why == (
        "there is no `generated/latest.json`, and no generated/*/run/best.safetensors"
    )


def test_a_training_is_taken_with_its_best_weights_and_the_spec_that_it_kept() -> None:
    best = trained()
    found = latest()
    assert (found.what, found.weights, found.out) == ("trained", best, None)
    assert (found.spec, found.overrides) == ("generated/small/spec.json", ())
    assert found.about == f"`small`, which was trained last here: {best}"


def test_a_training_that_has_not_ended_is_called_so() -> None:
    trained(ended=False)
    assert latest().about.endswith("the best so far of a training that has not ended")


@pytest.mark.parametrize(("seconds", "what"), [(60, "trained"), (-60, "built")])
def test_the_newer_of_a_training_and_a_build_is_taken(seconds: float, what: str) -> None:
    trained("generated/other", seconds=seconds)
    assert built().what == what


def test_a_training_in_another_folder_is_known_by_what_was_noted() -> None:
    best = trained("elsewhere")
    noted("elsewhere")
    found = latest()
    assert (found.weights, found.out) == (best, Path("elsewhere"))
    best.unlink()
    assert finding().why == "what was trained last left no weights in `elsewhere/run`"


def noted(folder: str, spec: str = "specs/small.yaml") -> None:
    spec_hash = compile_spec(Path("specs/small.yaml")).program.spec_hash
    remember("trained", spec=spec, spec_sha256=spec_hash, out=Path(folder))


def test_a_trained_network_is_taken_as_it_was_even_if_its_spec_was_changed() -> None:
    trained()
    noted("generated/small")
    Path("specs/small.yaml").write_text(SMALL.replace("depth: 1", "depth: 2"))
    found = latest()
    assert found.spec == "generated/small/spec.json"
    assert found.notes == (
        "`specs/small.yaml` has changed since: the network is taken as it was trained",
    )


def test_without_the_kept_spec_the_one_that_was_named_is_taken_if_it_is_the_same() -> None:
    trained()
    noted("generated/small")
    Path("generated/small/spec.json").unlink()
    assert latest().spec == "specs/small.yaml"
    Path("specs/small.yaml").write_text(SMALL.replace("depth: 1", "depth: 2"))
    assert "is gone, or another" in (finding().why or "")


def test_a_record_leads_no_files_out_of_this_folder(here: Path) -> None:
    outside = here.parent / "outside"
    found = built(out=outside)
    assert found.out is None
    assert found.notes == (
        f"its other files are in `{outside}`, and new ones go to `generated`: --out says another place",
    )
    Path("link").symlink_to(here.parent)
    assert built(out=Path("link/inside")).out is None
    assert built(out=Path("here")).out == Path("here")


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"what": "dreamt"},
        {"what": ["built"]},
        {"seed": -1},
        {"seed": True},
        {"seed": 1 << 64},
        {"spec": ""},
        {"spec": "a\0b"},
        {"spec": "x" * 5000},
        {"spec": 5},
        {"spec_sha256": "zz"},
        {"overrides": "classes=7"},
        {"overrides": [1]},
        {"overrides": ["a=1"] * 2000},
        {"weights": 1},
        {"out": None},
        {"more": 1},
    ],
    ids=str,
)
def test_a_record_that_does_not_hold_together_is_refused(change: dict[str, Any]) -> None:
    built()
    RECORD.write_text(json.dumps({**json.loads(RECORD.read_text()), **change}))
    assert (finding().why or "").startswith("`generated/latest.json` is damaged")


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, "\udcff", "null"], ids=repr)
def test_a_file_that_is_no_record_is_refused(text: str) -> None:
    RECORD.write_bytes(text[:200_000].encode("utf-8", "surrogateescape"))
    assert (finding().why or "").startswith("`generated/latest.json` is damaged")


def test_no_folder_is_made_to_note_something_and_no_error_comes_of_it(here: Path) -> None:
    RECORD.parent.rmdir()
    remember("built", spec="resnet20", spec_sha256=HASH, out=Path("out"))
    assert [item.name for item in here.iterdir()] == ["specs"]
    RECORD.mkdir(parents=True)
    remember("built", spec="resnet20", spec_sha256=HASH, out=Path("out"))
    assert [item.name for item in RECORD.parent.iterdir()] == ["latest.json"]


def test_a_training_is_noted_whatever_its_end_if_weights_came_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def launch(command: list[str], **options: object) -> int:
        trained("elsewhere")
        return 1

    monkeypatch.setattr(training, "launch", launch)
    request = TrainRequest(spec="specs/small.yaml", out=Path("elsewhere"))
    with pytest.raises(ChildExitError):
        training.train(request)
    assert json.loads(RECORD.read_text())["out"] == "elsewhere"
    assert latest().weights == Path("elsewhere/run/best.safetensors")
