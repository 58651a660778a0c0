"""`train --replay`: a run is repeated as its manifest says it, and whether the weights are the same decides."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from compiler_tests.commands import running
from compiler_tests.commands.running import SMALL
from resnet_dsl.commands.past_run import past_run, version_of

Call = Callable[[str], Result]
QUICK = SMALL.replace("train: digits", "train: {recipe: digits, epochs: 2, warmup: 1}")
MANIFEST = Path("out/run/manifest.json")


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(QUICK)
    return lambda text: running.call(*shlex.split(text))


@pytest.fixture
def manifest(call: Call) -> dict[str, Any]:
    """What the manifest says of a run in `out`, of which there is nothing else but its spec and its script."""
    built = json.loads(call("build small.yaml -t train --out out --json").stdout)
    said: dict[str, Any] = {
        "spec_sha256": built["spec_sha256"],
        "seed": 3,
        "end": 5,
        "data": {"train": "a" * 64, "test": "b" * 64},
        "begun_from": None,
        "surroundings": {"torch": "2", "device": "cpu", "threads": 2, "processes": 1},
        "weights_sha256": {"last": "c" * 64, "best": "d" * 64},
    }
    write(said)
    return said


def write(said: object) -> None:
    MANIFEST.parent.mkdir(exist_ok=True)
    MANIFEST.write_text(said if isinstance(said, str) else json.dumps(said))


@pytest.mark.parametrize("place", ["out", "out/run", "out/run/manifest.json"])
def test_a_run_is_found_by_its_folder_its_scripts_or_its_manifest(
    manifest: dict[str, Any], place: str
) -> None:
    run = past_run(Path(place))
    assert run.manifest == MANIFEST
    assert run.spec == Path("out/spec.json")
    assert (run.seed, run.length, run.unit) == (3, 5, "epochs")
    assert (run.device, run.threads, run.processes) == ("cpu", 2, 1)
    assert run.initial is None


def test_of_several_processes_each_had_a_gpu_of_its_own(manifest: dict[str, Any]) -> None:
    machine = {"device": "cuda:0", "processes": 8, "threads": None}
    write(manifest | {"surroundings": machine})
    run = past_run(Path("out"))
    assert (run.device, run.threads, run.processes) == ("cuda", None, 8)
    write(manifest | {"surroundings": {"device": "cuda:1", "processes": 1}})
    assert past_run(Path("out")).device == "cuda:1"
    write(manifest | {"surroundings": {"device": 7, "threads": "x", "processes": True}})
    assert past_run(Path("out")).device is None


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("", "it cannot be read"),
        ("[1]", "it cannot be read"),
        ("{}", "it does not say `spec_sha256`"),
        ({"seed": "x"}, "it does not say `seed`"),
        ({"end": None}, "it does not say `end`"),
        ({"data": 1}, "it does not say `data`"),
        ({"surroundings": []}, "it does not say `surroundings`"),
        ({"end": 0}, "its end 0"),
        ({"seed": -1}, "its seed is -1"),
        ({"spec_sha256": "0" * 64}, "`out/spec.json` is another spec"),
        ({"weights_sha256": None}, "has not ended"),
        ({"weights_sha256": {}}, "resnet-dsl train out/spec.json --out out --resume"),
        ({"begun_from": "e" * 64}, "`out/initial.safetensors` is not there"),
    ],
    ids=range(13),
)
def test_a_run_that_cannot_be_repeated_is_refused_with_its_reason(
    call: Call, tmp_path: Path, manifest: dict[str, Any], said: str | dict[str, Any], why: str
) -> None:
    write(said if isinstance(said, str) else manifest | said)
    before = sorted(tmp_path.rglob("*"))
    done = call("train --replay out")
    assert done.exit_code == 2, done.output
    assert "error[RD656]" in done.stderr
    assert why in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "there is no `out/spec.json`"),
        ("{", "`out/spec.json`: "),
        (QUICK.replace("width: 8", "width: 9"), "`out/spec.json` is another spec"),
    ],
    ids=range(3),
)
def test_a_spec_that_is_not_that_of_the_run_is_refused(
    call: Call, manifest: dict[str, Any], text: str | None, why: str
) -> None:
    Path("out/spec.json").unlink()
    if text is not None:
        Path("out/spec.json").write_text(text)
    done = call("train --replay out/run")
    assert done.exit_code == 2
    assert "error[RD656]: the spec of the run is not there" in done.stderr
    assert why in done.stderr


def test_a_fine_tuning_is_repeated_only_from_the_weights_that_it_began_with(
    manifest: dict[str, Any],
) -> None:
    weights = Path("out/initial.safetensors")
    weights.write_bytes(b"weights")
    write(manifest | {"begun_from": sha256(b"weights").hexdigest()})
    assert past_run(Path("out")).initial == weights
    weights.write_bytes(b"others")
    with pytest.raises(Exception, match="the weights that the run began with are not there"):
        past_run(Path("out"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("small.yaml", "--replay and SPEC exclude each other"),
        ("--set train.lr=1", "--replay and --set exclude each other"),
        ("--weights w.pth", "--replay and --weights exclude each other"),
        ("--processes 2", "--replay and --processes exclude each other"),
        ("--out out", "`out` is the folder of the run itself"),
        ("--out ./out/../out", "is the folder of the run itself"),
    ],
)
def test_what_would_make_it_another_run_is_refused(
    call: Call, manifest: dict[str, Any], options: str, said: str
) -> None:
    done = call(f"train --replay out {options}")
    assert done.exit_code == 2
    assert "error[RD702]" in done.stderr
    assert said in done.stderr


def test_the_version_is_read_off_the_script(tmp_path: Path, manifest: dict[str, Any]) -> None:
    from resnet_dsl import __version__

    assert version_of(Path("out/train.py")) == __version__
    assert version_of(tmp_path / "nothing.py") is None
    (tmp_path / "other.py").write_text("import this\n")
    assert version_of(tmp_path / "other.py") is None


@pytest.mark.slow
def test_a_run_is_repeated_and_judged_by_its_weights(call: Call, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    options = ("--set", "train.seed=4", "--out", "out")
    first = running.run("train", "small.yaml", *options, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    said = json.loads(MANIFEST.read_text())

    # Another version, another machine, and what must not be: other weights.
    surroundings = said["surroundings"] | {"torch": "1.0", "packages": {"numpy": "1.0"}}
    write(said | {"surroundings": surroundings, "weights_sha256": {"last": "f" * 64}})
    done = running.run("train", "--replay", "out", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "replay    torch: 1.0 then, " in done.stdout
    assert "error[RD657]: the weights are not those of the run" in done.stderr
    assert "packages numpy: 1.0 then, " in done.stderr
    again = Path("out-replay/run/last.safetensors").read_bytes()
    assert again == Path("out/run/last.safetensors").read_bytes()

    # It goes on where it was interrupted, or is at its end at once; the same weights this time.
    write(said)
    done = running.run("train", "--replay", "out", "--resume", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["replay"]
    assert found["same_weights"] is True
    assert found["differences"] == []
    assert found["weights_sha256"]["now"] == sha256(again).hexdigest()

    # Other data are found out before anything is learned.
    write(said | {"data": said["data"] | {"train": "0" * 64}, "end": 100_000})
    done = running.run("train", "--replay", "out", "--out", "other", cwd=tmp_path)
    assert done.returncode == 2
    assert "error[RD656]: the data are not those of the run" in done.stderr
    assert "of the training images was 000000000000…" in done.stderr
    assert not Path("other/run/result.json").exists()
