"""Every option of `train` that is wrong is refused with a sentence, before anything is written."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from compiler_tests.commands import running
from compiler_tests.commands.running import SMALL

Call = Callable[[str], Result]
FOLDER = SMALL.replace("train: digits", "train: {recipe: digits, data: folder, path: pictures}")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "folder.yaml").write_text(FOLDER)
    return lambda text: running.call(*shlex.split(text))


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ("--device nonsense", "RD655", "`nonsense` is no device"),
        ("--device ''", "RD655", "`` is no device"),
        ("--device cuda:", "RD655", "--device cuda:1"),
        ("--device cuda:x", "RD655", "no device"),
        ("--device CPU", "RD655", "no device"),
        ("--device mps", "RD655", "no device"),
        ("--device cpu:1", "RD655", "no device"),
        ("--device cuda:٣", "RD655", "no device"),
        ("--data pictures", "RD702", "the data `digits` come with scikit-learn"),
        ("--data x --set train.data=fake", "RD702", "the data `fake` are made up"),
        ("--resume --weights w.pth", "RD702", "--resume and --weights exclude each other"),
        ("--processes 2 --device cuda:1", "RD702", "--device cuda:1 is one GPU"),
        ("--processes 3", "RD702", "a batch of 64 cannot be divided among 3 processes"),
        ("--processes 100", "RD702", "train.batch_size=100"),
        ("--processes 8 --set train.accumulate=16", "RD702", "8 processes × 16 micro-batches"),
        ("--processes 64 --set train.mixup=0.2", "RD702", "among 64 processes in pairs"),
        ("--processes 100000", "RD702", "is more than one machine runs"),
        ("--weights nothing.pth", "RD501", "nothing.pth"),
        ("--weights small.yaml", "RD502", "small.yaml"),
        ("--set train.freeze=[layer9]", "RD652", "layer9"),
        ("--set train.optimiser=adam", "RD103", "adam"),
        ("--set train.batch_size=100000", "RD651", "100000"),
        ("--out small.yaml", "RD602", "`small.yaml` is a file"),
        ("--replay nothing", "RD656", "nothing"),
        ("--replay .", "RD656", "is no run"),
        ("--replay small.yaml", "RD656", "small.yaml"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_written(
    call: Call, tmp_path: Path, options: str, code: str, said: str
) -> None:
    pytest.importorskip("torch")
    before = sorted(tmp_path.iterdir())
    spec = "" if "--replay" in options else "small.yaml"
    done = call(f"train {spec} {options}")
    assert done.exit_code == 2, done.output
    assert f"error[{code}]" in done.stderr
    assert said in done.stderr
    assert sorted(tmp_path.iterdir()) == before

    (found,) = json.loads(call(f"train {spec} {options} --json").stdout)["errors"]
    assert found["code"] == code
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("processes", ["0", "-1", "two"])
def test_a_number_of_processes_that_is_none_is_refused(tmp_path: Path, processes: str) -> None:
    done = running.run("train", f"--processes={processes}", cwd=tmp_path)
    assert done.returncode == 2
    assert "error[RD701]" in done.stderr
    assert "--processes" in done.stderr


def test_every_wrong_option_is_told_at_once(call: Call) -> None:
    pytest.importorskip("torch")
    done = call(
        "train small.yaml --device cuda:1 --processes 3 --data x --resume --weights w --json"
    )
    assert len(json.loads(done.stdout)["errors"]) == 4


@pytest.mark.parametrize(
    ("arguments", "where", "hint"),
    [
        (["folder.yaml"], "`train.path` says", "a folder with train/ and test/"),
        (["folder.yaml", "--data", "elsewhere"], "--data says", "--data PLACE"),
        (["resnet20", "--set", "train.download=false"], "`train.path` says", "train.download=true"),
        (
            ["resnet20", "--set", "train.download=false", "--data", "x"],
            "--data says",
            "cifar-10-python.tar.gz",
        ),
        (
            [
                "resnet20",
                "--set",
                "classes=100",
                "--set",
                "train={recipe: fast-cifar, data: cifar100, download: false}",
            ],
            "`train.path` says",
            "cifar-100-python",
        ),
    ],
    ids=range(5),
)
def test_data_that_are_not_where_they_should_be_are_asked_for(
    call: Call, tmp_path: Path, arguments: list[str], where: str, hint: str
) -> None:
    before = sorted(tmp_path.iterdir())
    done = running.call("train", *arguments)
    assert done.exit_code == 2, done.output
    assert "error[RD654]: there is nothing at" in done.stderr
    assert where in done.stderr
    assert hint in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_the_place_of_the_images_may_be_said_by_the_option_alone(call: Call) -> None:
    Path("small.yaml").write_text(
        SMALL.replace("train: digits", "train: {recipe: digits, data: folder}")
    )
    assert "does not say where the data `folder` lie" in call("train small.yaml").stderr
    done = call('train small.yaml --data "it\'s here"')
    assert "there is nothing at `it's here`" in done.stderr
