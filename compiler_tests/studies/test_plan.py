"""The runs of a study: which they are, what they train, and what makes two of them the same."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from compiler_tests.studies.fakes import SPEC, STUDY, runs, write
from resnet_dsl.compiler import compile_spec
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.ir.ops import Add
from resnet_dsl.studies.folder import RunFolder
from resnet_dsl.studies.plan import Choice, plan
from resnet_dsl.studies.schema import STUDIES, read_study

LIBRARY = sorted(file.stem for file in STUDIES.glob("*.yaml"))


def refused(file: Path, *overrides: str, **axes: str) -> list[Diagnostic]:
    with pytest.raises(CompileError) as caught:
        runs(file, *overrides, seeds=(), **axes)
    return list(caught.value.diagnostics)


def test_the_runs_are_all_combinations_in_the_order_of_the_file(tmp_path: Path) -> None:
    assert [run.label for run in runs(write(tmp_path))] == [
        f"net={net} depth={depth} seed={seed}"
        for net in ("plain", "residual")
        for depth in (6, 10)
        for seed in (0, 1)
    ]


def test_each_run_is_the_network_that_its_values_say(tmp_path: Path) -> None:
    for run in runs(write(tmp_path)):
        at = dict(run.case.at)
        stages = run.spec["stages"]
        assert [stage["depth"] for stage in stages] == [(int(at["depth"]) - 2) // 4] * 2
        assert run.spec["train"].get("seed", 0) == run.seed
        folder = RunFolder(tmp_path / "runs", run)
        folder.prepare()
        compiled = compile_spec(folder.spec)
        assert compiled.program.spec_hash == run.spec_hash
        joins = sum(isinstance(node.op, Add) for node in compiled.graph.nodes)
        assert joins == (0 if at["net"] == "plain" else sum(stage["depth"] for stage in stages))


def test_an_id_follows_from_what_is_trained_and_from_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write(tmp_path)
    ids = [run.id for run in runs(file)]
    assert len({*ids}) == 8
    (tmp_path / "elsewhere").mkdir()
    other = write(tmp_path / "elsewhere", STUDY.replace("name: tiny", "name: another"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert [run.id for run in runs(Path(os.path.relpath(other)))] == ids
    write(tmp_path, STUDY.replace("seeds: [0, 1]", "set: {classes: 7}\nseeds: [0, 1]"))
    assert not {*ids} & {run.id for run in runs(file)}
    write(tmp_path, spec=SPEC.replace("epochs: 3", "epochs: 4"))
    assert not {*ids} & {run.id for run in runs(file)}


def test_a_list_takes_other_values_from_the_command_line_and_labels_do_not(tmp_path: Path) -> None:
    file = write(tmp_path)
    chosen = runs(file, depth="14,6", net="residual", seeds=(7,))
    assert [run.label for run in chosen] == [
        "net=residual depth=14 seed=7",
        "net=residual depth=6 seed=7",
    ]
    (found,) = refused(file, net="residul")
    assert found.message == "`residul` is no value of the axis `net`"
    assert found.hint == "did you mean `residual`?"
    (found,) = refused(file, dept="6")
    assert found.message == "there is no axis `dept` in tiny"
    assert found.hint == "did you mean `depth`?"
    (found,) = refused(file, depth="6/2")
    assert found.message == "`6/2` is no value of the axis `depth`"


def test_overrides_of_the_command_line_win_and_reach_every_entry_by_a_star(tmp_path: Path) -> None:
    for run in runs(write(tmp_path), "stages.*.depth=3", "train.epochs=9"):
        assert [stage["depth"] for stage in run.spec["stages"]] == [3, 3]
        assert run.spec["train"]["epochs"] == 9


def test_the_same_finding_of_several_cases_is_told_once(tmp_path: Path) -> None:
    file = write(tmp_path)
    (found,) = refused(file, depth="8")
    assert found.message == "net=plain depth=8 (and 1 more): `depth` must be an integer, not `1.5`"
    assert found.line_text == "stages.0.depth=1.5"
    (found,) = refused(file, "classes=x")
    assert found.message.startswith("net=plain depth=6 (and 3 more): `classes` must be an integer")


def test_what_cannot_be_trained_is_refused_before_anything_is(tmp_path: Path) -> None:
    study, source = read_study(write(tmp_path))

    def check(_: object) -> None:
        raise CompileError(Diagnostic("RD651", "no data"))

    with pytest.raises(CompileError, match=r"net=plain depth=6 \(and 3 more\): no data"):
        plan(study, source, Choice({}), check)


def test_the_cost_of_a_training_is_three_times_its_images(tmp_path: Path) -> None:
    run = runs(write(tmp_path))[0]
    assert run.case.training_macs == 3 * run.case.macs * 3 * 1437
    (run, *_) = runs(tmp_path / "tiny.yaml", "train.iterations=10", "train.warmup=0")
    assert run.case.training_macs == 3 * run.case.macs * 10 * 64
    (run, *_) = runs(tmp_path / "tiny.yaml", "train.data=folder", "train.path=x")
    assert run.case.training_macs is None


@pytest.mark.parametrize("where", ["beside", "bundled", "of a value"])
def test_a_spec_is_a_file_beside_the_study_or_a_bundled_one(tmp_path: Path, where: str) -> None:
    study = STUDY.replace("spec: small.yaml\n", "")
    file = write(tmp_path, study)
    (found, *_) = refused(file)
    assert found.message == "net=plain depth=6 (and 3 more): no spec is named"
    if where == "beside":
        file.write_text("spec: small.yaml\n" + study)
    elif where == "bundled":
        text = study.replace("seeds:", "set: {train.recipe: digits}\nseeds:")
        file.write_text("spec: digits\n" + text.replace("4}", "4, input.size: 9}"))
    else:
        file.write_text(
            study.replace("residual:", "residual: small.yaml").replace(
                "set: {short", "spec: small.yaml, set: {short"
            )
        )
    assert len(runs(file)) == 8


@pytest.mark.parametrize("name", LIBRARY)
def test_a_study_of_the_library_can_be_planned_on_any_data(name: str) -> None:
    study, source = read_study(STUDIES / f"{name}.yaml")
    assert study.name == name
    assert study.doc.endswith((".", "))."))
    planned = plan(study, source, Choice({}, (0,)), lambda _: None)
    assert len({run.id for run in planned}) == len(planned)
    digits = ("train={recipe: digits}", "input={channels: 1, size: 8}")
    other = plan(study, source, Choice({}, (0,), digits), lambda _: None)
    assert [run.case.at for run in other] == [run.case.at for run in planned]


def test_degradation_is_of_nets_of_the_depths_it_says() -> None:
    study, source = read_study(STUDIES / "degradation.yaml")
    for run in plan(study, source, Choice({}, (0,)), lambda _: None):
        blocks = sum(stage["depth"] for stage in run.spec["stages"])
        assert 2 * blocks + 2 == int(dict(run.case.at)["depth"])
        assert run.spec["name"] == dict(run.case.at)["net"]


def test_responses_are_of_the_trainings_of_degradation() -> None:
    ids = [
        [run.id for run in plan(*read_study(STUDIES / f"{name}.yaml"), Choice({}), lambda _: None)]
        for name in ("degradation", "responses")
    ]
    assert ids[0] == ids[1]


def test_a_run_s_folder_says_which_it_is(tmp_path: Path) -> None:
    run = runs(write(tmp_path))[1]
    folder = RunFolder(tmp_path / "runs", run)
    folder.prepare()
    assert folder.path.name == f"small-1-{run.spec_hash[:12]}"
    assert json.loads((folder.path / "run.json").read_text()) == {
        "axes": {"net": "plain", "depth": "6"},
        "seed": 1,
        "spec_sha256": run.spec_hash,
    }
