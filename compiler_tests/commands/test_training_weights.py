"""What a fine-tuning begins with: a file's weights under the network's names, and a new head where there has to be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from compiler_tests.commands.running import SMALL, call
from resnet_dsl.artifacts import Artifacts
from resnet_dsl.commands.initial import initial_weights
from resnet_dsl.commands.run import INITIAL
from resnet_dsl.compiler import compile_spec
from resnet_dsl.errors import CompileError
from resnet_dsl.weights.state import entries
from resnet_dsl.weights.store import SeededWeights

Tensors = dict[str, NDArray[Any]]
Begin = Callable[..., tuple[Tensors, str]]


def seeded(spec: Path, *overrides: str, seed: int = 5) -> Tensors:
    """The state dict of a spec, drawn from a seed."""
    graph = compile_spec(spec, overrides).graph
    return {item.name: item.load() for item in entries(graph, SeededWeights(seed))}


@pytest.fixture
def begin(spec: Path) -> Begin:
    """The state dict that small.yaml, changed by overrides, begins with, given these tensors; and what is said."""

    def begin(tensors: Tensors, *overrides: str, seed: int = 1) -> tuple[Tensors, str]:
        file = spec.with_name("given.safetensors")
        save_file(tensors, file)
        found = initial_weights(compile_spec(spec, overrides), file, seed)
        with Artifacts(spec.parent / "out") as artifacts:
            found.write(artifacts)
        return load_file(spec.parent / "out" / INITIAL), "\n".join(found.notes)

    return begin


def same(one: Tensors, other: Tensors, names: set[str]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in names)


HEAD = {"fc.weight", "fc.bias"}


def test_the_weights_of_the_same_network_are_taken_as_they_are(begin: Begin, spec: Path) -> None:
    given = seeded(spec)
    found, said = begin(given)
    assert found.keys() == given.keys()
    assert same(found, given, set(given))
    assert said == f"{len(given)} of {len(given)} tensors: {len(given)} by name"


def test_a_head_for_another_number_of_classes_is_new_and_that_is_said(
    begin: Begin, spec: Path
) -> None:
    given = seeded(spec, "classes=100")
    found, said = begin(given)
    assert same(found, given, set(given) - HEAD)
    assert same(found, seeded(spec, seed=1), HEAD)
    assert not same(found, begin(given, seed=2)[0], {"fc.weight"})
    assert "`fc` is new, drawn from seed 1: the file's tells 100 classes apart, and the network 10" in said  # fmt: skip


def test_the_names_of_another_project_are_understood_with_another_head_too(
    begin: Begin, spec: Path
) -> None:
    given = seeded(spec, "classes=7")
    renamed = {f"module.{name.replace('fc.', 'linear.')}": array for name, array in given.items()}
    found, said = begin(renamed)
    assert same(found, given, set(given) - HEAD)
    assert "stripped `module.` from every name" in said
    assert "linear → fc" in said
    assert "7 classes apart" in said


def test_weights_without_a_head_get_one(begin: Begin, spec: Path) -> None:
    given = {name: array for name, array in seeded(spec).items() if name not in HEAD}
    found, said = begin(given)
    assert same(found, given, set(given))
    assert same(found, seeded(spec, seed=1), HEAD)
    assert "`fc` is new, drawn from seed 1: the file has none" in said


def test_a_head_of_another_kind_is_found_by_what_depends_on_the_classes(
    begin: Begin, spec: Path
) -> None:
    """A hidden layer, which is kept, and a convolution in the place of the linear layer."""
    spec.write_text(
        SMALL.replace("head: classifier", "head: dense")
        + """\
heads:
  dense:
    body:
      - conv: {out: 24, kernel: 1}
        name: hidden
      - act
      - conv: {out: classes, kernel: 1, bias: true}
        name: scores
      - global_avg_pool
      - flatten
"""
    )
    given = seeded(spec, "classes=6")
    found, said = begin(given)
    assert same(found, given, set(given) - {"scores.weight", "scores.bias"})
    assert "`scores` is new" in said
    assert "6 classes apart" in said


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("stages.0.depth=3",), "1 blocks, the file's have 3"),
        (("stages.0.depth=3", "classes=100"), "1 blocks, the file's have 3"),
        (("stages.0.width=16", "classes=100"), "misshaped"),
        (("input.channels=3",), "misshaped"),
    ],
    ids=range(4),
)
def test_another_network_is_refused_whatever_its_head_is(
    begin: Begin, spec: Path, overrides: tuple[str, ...], said: str
) -> None:
    given = seeded(spec, *overrides)
    with pytest.raises(CompileError) as refused:
        begin(given)
    (found,) = refused.value.diagnostics
    assert found.code == "RD507"
    assert said in f"{found.message} {found.why} {found.hint}"
    assert not (spec.parent / "out").exists()


def test_weights_that_are_no_numbers_are_refused(begin: Begin, spec: Path) -> None:
    given = seeded(spec)
    given["conv1.weight"][0, 0, 0, 0] = np.nan
    with pytest.raises(CompileError) as refused:
        begin(given)
    assert refused.value.diagnostics[0].code == "RD513"


def test_a_new_head_may_hold_what_the_old_one_could_not(begin: Begin, spec: Path) -> None:
    given = seeded(spec, "classes=3")
    given["fc.weight"][0, 0] = np.inf
    found, _ = begin(given)
    assert np.isfinite(found["fc.weight"]).all()


def test_strides_that_other_projects_have_elsewhere_are_warned_of(
    spec: Path, tmp_path: Path
) -> None:
    spec.write_text(SMALL.replace("block: basic", "block: bottleneck, stride: 2, stride_in: conv1"))
    save_file(seeded(spec), tmp_path / "given.safetensors")
    notes = initial_weights(compile_spec(spec), tmp_path / "given.safetensors", 0).notes
    assert any("(the paper's v1)" in note for note in notes)


def test_the_wrong_weights_are_refused_by_the_command_with_nothing_written(
    spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    save_file(seeded(spec, "stages.0.depth=2"), tmp_path / "given.safetensors")
    done = call("train", spec, "--weights", "given.safetensors", "--out", "out")
    assert done.exit_code == 2
    assert "error[RD507]: `given.safetensors` does not fit" in done.stderr
    assert not (tmp_path / "out").exists()
