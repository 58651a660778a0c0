"""What `compile` shows while an engine is built, with small programs in the builder's place."""

from __future__ import annotations

import io
import json
import sys
from functools import partial
from pathlib import Path

import pytest

from compiler_tests.backends.tensorrt.workers import ENGINE, RESULT, START
from compiler_tests.commands.running import SMALL
from resnet_dsl.backends.tensorrt import products
from resnet_dsl.backends.tensorrt.builder import build_engines
from resnet_dsl.calibrate.wish import Wish
from resnet_dsl.commands import engine
from resnet_dsl.commands.engine import EngineRequest, compile_engine
from resnet_dsl.errors import CompileError

CLEAR = "\r\033[K"
BUILT = f"""
say("stage", name="build")
say("progress", fraction=0.4)
say("progress", fraction=1.0)
say("stage", name="write")
open(request["output"], "wb").write({ENGINE!r})
say("done", result=json.loads({json.dumps(RESULT)!r}))
"""
REFUSED = """
say("stage", name="build")
say("progress", fraction=0.4)
say("error", diagnostics=[{"code": "RD627", "message": "refused", "why": None, "hint": None}])
"""


class Stream(io.StringIO):
    """A standard error that is a terminal, or is not."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def shown(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str,
    *,
    terminal: bool = True,
    quiet: bool = False,
) -> str:
    """What standard error gets from `compile`, whether that ends well or not."""
    spec = folder / "small.yaml"
    spec.write_text(SMALL)
    request = EngineRequest(str(spec), folder / "out", batch="8")
    stream = Stream(terminal=terminal)
    worker = (sys.executable, "-c", START + program)
    monkeypatch.setattr(products, "_installed", lambda module: module == "tensorrt_rtx")
    monkeypatch.setattr(engine, "build_engines", partial(build_engines, worker=worker))
    monkeypatch.setattr(sys, "stderr", stream)
    if program is REFUSED:
        with pytest.raises(CompileError, match="refused"):
            compile_engine(request, quiet=quiet)
    else:
        compile_engine(request, quiet=quiet)
        assert (folder / "out/small.fp16.engine").read_bytes() == ENGINE
    return stream.getvalue()


@pytest.mark.parametrize(
    ("program", "lines"),
    [
        (BUILT, ["build", "build 40%", "build 100%", "write"]),
        (REFUSED, ["build", "build 40%"]),
    ],
    ids=["built", "refused"],
)
def test_progress_on_a_terminal_is_one_line_that_is_empty_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, lines: list[str]
) -> None:
    said = shown(tmp_path, monkeypatch, program)
    assert said == "".join(f"{CLEAR}engine    {line}" for line in lines) + CLEAR


@pytest.mark.parametrize("program", [BUILT, REFUSED], ids=["built", "refused"])
def test_progress_is_for_a_terminal_and_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    assert shown(tmp_path, monkeypatch, program, terminal=False) == ""
    assert shown(tmp_path, monkeypatch, program, quiet=True) == ""


def test_a_terminal_that_has_gone_hides_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: Stream, text: str) -> int:
        if text == CLEAR:
            raise OSError(5, "Input/output error")
        return io.StringIO.write(self, text)

    monkeypatch.setattr(Stream, "write", gone)
    assert "build 40%" in shown(tmp_path, monkeypatch, REFUSED)


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"\x08\x08\x12", "an ONNX graph"),
        (b"vtrt\0\0", "a TensorRT engine"),
        (b"PK\3\4", "a checkpoint"),
    ],
)
@pytest.mark.parametrize("size", [100, 5 << 20])
def test_what_is_no_spec_is_named(start: bytes, what: str, size: int, tmp_path: Path) -> None:
    file = tmp_path / "my net.onnx"
    file.write_bytes(start + b"\xff" * size)
    with pytest.raises(CompileError) as refused:
        compile_engine(EngineRequest(str(file), tmp_path / "out"))
    (finding,) = refused.value.diagnostics
    assert what in finding.message
    assert "and no spec" in finding.message
    assert f"`resnet-dsl inspect '{file}'`" in (finding.hint or "")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(products.RTX not in products.available(), reason="tensorrt_rtx is missing")
def test_noise_says_nothing_of_how_images_are_prepared(tmp_path: Path):
    spec = tmp_path / "small.yaml"
    spec.write_text(SMALL)
    found = []
    for wish in (
        Wish("fp16", engine=True),
        Wish("int8", place="fake", images=2, placement="tensorrt", engine=True),
    ):
        compile_engine(EngineRequest(str(spec), tmp_path, wish=wish), quiet=True)
        manifest = json.loads((tmp_path / f"small.{wish.precision}.engine.json").read_text())
        found.append((manifest["preprocessing"], manifest["class_names"]))
        assert manifest["spec"]["file"] == str(spec)
    assert found[0] == found[1]


@pytest.mark.skipif(products.RTX not in products.available(), reason="tensorrt_rtx is missing")
def test_each_profile_has_a_report_of_its_own(tmp_path: Path):
    spec = tmp_path / "small.yaml"
    spec.write_text(SMALL)
    made = compile_engine(
        EngineRequest(str(spec), tmp_path / "out", profiles=("batch=1", "batch=1/8/64")), quiet=True
    )
    said = [line for line in made.lines if line.startswith("profile")]
    assert said == ["profile   batch 1/1/1", "profile   batch 1/8/64"]
    first, second = made.data["kernels"]
    manifest = json.loads((tmp_path / "out/small.fp16.engine.json").read_text())
    assert manifest["engine"]["kernels"] == first["totals"]["kernels"]
    for name, report in (("", first), (".profile1", second)):
        written = (tmp_path / f"out/small.fp16{name}.kernels.json").read_text()
        assert json.loads(written) == json.loads(json.dumps(report))
        assert f"small.fp16{name}.kernels.svg" in manifest["beside"]
    assert first["kernels"][-1]["computes"] == second["kernels"][-1]["computes"]
