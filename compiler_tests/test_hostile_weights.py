"""Checkpoints from someone who means ill: nothing in them is run, and what they claim is not believed."""

from __future__ import annotations

import json
import os
import pickle
import random
import struct
import subprocess
import sys
import time
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from compiler_tests.commands.running import call
from resnet_dsl.errors import CompileError, render_all
from resnet_dsl.weights import load as load_module
from resnet_dsl.weights.load import load

Header = dict[str, Any]


def refused(path: Path, *codes: str) -> str:
    """What is said of a file that is refused with one of the codes."""
    with pytest.raises(CompileError) as caught:
        load(path)
    (found,) = caught.value.diagnostics
    assert found.code in codes, found
    said = render_all(caught.value)
    assert len(said) < 3000
    assert all(character.isprintable() or character == "\n" for character in said)
    return said


# safetensors


def write(path: Path, header: Header | bytes, body: bytes = bytes(8), length: int = -1) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length < 0 else length) + text + body)
    return path


def tensor(shape: list[int], begin: int = 0, end: int = 8, dtype: str = "F32") -> Header:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


LIES: dict[str, tuple[Header | bytes, bytes]] = {
    "a huge offset": ({"a": tensor([2], 0, 2**62)}, bytes(8)),
    "a petabyte": ({"a": tensor([2**50], 0, 2**52)}, bytes(8)),
    "overlapping tensors": ({"a": tensor([2]), "b": tensor([2])}, bytes(8)),
    "a gap": ({"a": tensor([2], 8, 16)}, bytes(16)),
    "a negative extent": ({"a": tensor([-2])}, bytes(8)),
    "offsets in reverse": ({"a": tensor([2], 8, 0)}, bytes(8)),
    "an overflow": ({"a": tensor([2**33, 2**33], 0, 0)}, b""),
    "a hundred dimensions": ({"a": tensor([1] * 100, 0, 4)}, bytes(4)),
    "more than its length": ({"a": tensor([2])}, bytes(4)),
    "text behind it": ({"a": tensor([2])}, bytes(80)),
    "nested brackets": (b'{"a":' + b"[" * 200_000, bytes(8)),
    "a number for a tensor": (b'{"a":3}', bytes(8)),
    "a lone surrogate": (b'{"a\\ud800":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', bytes(8)),
    "a name of a million letters": ({"k" * 1_000_000: tensor([2])}, bytes(8)),
}  # fmt: skip


@pytest.mark.parametrize("label", LIES)
def test_a_header_that_lies_is_refused(tmp_path: Path, label: str) -> None:
    refused(write(tmp_path / "w", *LIES[label]), "RD503")


def test_a_header_that_is_said_to_be_longer_than_the_file_is_refused(tmp_path: Path) -> None:
    refused(write(tmp_path / "w", b"{}", length=99_999_999), "RD503")
    refused(write(tmp_path / "w", b"{}", length=2**63), "RD502", "RD503")


def test_names_are_printed_and_not_obeyed(tmp_path: Path) -> None:
    name = "conv1\x1b[2J\n\u202e.weight"
    file = write(tmp_path / "w", {name: tensor([2])})
    assert list(load(file)) == [name]


# torch


class Evil:
    """Unpickling this makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def archive(path: Path, pickled: bytes, **members: bytes) -> Path:
    """A zip file as torch.save writes it."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in {"data.pkl": pickled, "version": b"3\n", **members}.items():
            file.writestr(f"a/{name}", content)
    return path


def number(value: int) -> bytes:
    """An integer in pickle's words."""
    if -(2**31) <= value < 2**31:
        return b"J" + struct.pack("<i", value)
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def claim(
    path: Path,
    size: tuple[int, ...],
    stride: tuple[int, ...] = (1,),
    numel: int = 4,
    offset: int = 0,
    times: int = 1,
) -> Path:
    """A checkpoint of tensors that are said to be so large, over 16 bytes of data."""
    out = b"\x80\x02ccollections\nOrderedDict\n)R("
    for index in range(times):
        key = f"conv{index}.weight".encode()
        out += b"X" + struct.pack("<I", len(key)) + key + b"ctorch._utils\n_rebuild_tensor_v2\n(("
        out += b"X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpu"
        out += number(numel) + b"tQ" + number(offset)
        out += b"(" + b"".join(map(number, size)) + b"t(" + b"".join(map(number, stride))
        out += b"t\x89ccollections\nOrderedDict\n)RtR"
    return archive(path, out + b"u.", **{"data/0": bytes(16), "byteorder": b"little"})


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch")


def test_what_the_tests_below_write_is_read_where_it_is_honest(tmp_path: Path, torch: Any) -> None:
    assert load(claim(tmp_path / "w", (4,)))["conv0.weight"].shape == (4,)
    repeated = load(claim(tmp_path / "w", (4, 100), stride=(1, 0)))["conv0.weight"]
    assert repeated.shape == (4, 100)


@pytest.mark.parametrize(
    "claims",
    [
        {"size": (2**48,), "numel": 2**48},
        {"size": (100,)},
        {"size": (100,), "numel": 100},
        {"size": (4,), "offset": 1000},
        {"size": (4,), "offset": -4},
        {"size": (4,), "stride": (-1,)},
        {"size": (-4,)},
        {"size": (2**40,), "stride": (0,)},
        {"size": (2**30, 2**10), "stride": (0, 0)},
        {"size": (2**20,), "stride": (0,), "times": 1000},
        {"size": (2**62,), "stride": (0,)},
    ],
    ids=str,
)
def test_a_tensor_beyond_what_the_file_holds_is_refused(
    tmp_path: Path, torch: Any, claims: dict[str, Any]
) -> None:
    begun = time.process_time()
    refused(claim(tmp_path / "w", **claims), "RD503", "RD504")
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_code_in_a_checkpoint_is_not_run(
    tmp_path: Path, torch: Any, options: dict[str, bool]
) -> None:
    trace = tmp_path / "was run"
    for content in (Evil(trace), {"state_dict": {"a": Evil(trace)}}, {Evil(trace): torch.zeros(1)}):
        torch.save(content, tmp_path / "w", **options)
        refused(tmp_path / "w", "RD504")
    (tmp_path / "w").write_bytes(pickle.dumps(Evil(trace), protocol=2))
    refused(tmp_path / "w", "RD502")
    archive(tmp_path / "w", b"cos\nsystem\n(S'touch " + os.fsencode(trace) + b"'\ntR.")
    refused(tmp_path / "w", "RD504")
    assert not trace.exists()


def lists(level: int) -> bytes:
    """A list of a hundred times the list before it."""
    return b"]q" + bytes([level + 1]) + b"(" + (b"h" + bytes([level])) * 100 + b"e"


PICKLES: dict[str, bytes] = {
    "lists of lists": b"\x80\x02]q\0" + b"".join(map(lists, range(20))) + b".",
    "deep tuples": b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".",
    "deep lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "two gigabytes": b"\x80\x02\x8b\xff\xff\xff\x7f",
    "itself": b"\x80\x02}q\0X\x05\0\0\0modelh\0s.",
    "numbers for names": b"\x80\x02}K\x01K\x02s.",
    "nothing": b"",
    "an end": b".",
    "an empty stack": b"\x80\x020000.",
    "a memo of 2^31": b"\x80\x02}r\xff\xff\xff\x7f.",
}  # fmt: skip


@pytest.mark.parametrize("label", PICKLES)
def test_a_pickle_that_grows_or_breaks_is_refused(tmp_path: Path, torch: Any, label: str) -> None:
    refused(archive(tmp_path / "w", PICKLES[label]), "RD503", "RD504", "RD506")


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "w"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a/data.pkl", bytes(50_000_000))
        zipped.writestr("a/version", "3")
    assert "compressed" in refused(file, "RD502")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy"])
def test_a_damaged_file_is_refused_or_read_whatever_is_damaged(
    tmp_path: Path, torch: Any, form: str
) -> None:
    state = OrderedDict(
        {"conv1.weight": torch.randn(4, 3, 3, 3), "bn1.running_var": torch.ones(4).half()}
    )
    whole = tmp_path / "whole"
    if form == "safetensors":
        save_file({key: value.numpy() for key, value in state.items()}, whole)
    else:
        torch.save(state, whole, _use_new_zipfile_serialization=form == "zip")
    content, draws = whole.read_bytes(), random.Random(form)
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(draws.choice([1, 2, 10])):
            place = draws.randrange(min(len(damaged), draws.choice([300, 1000, 100_000])))
            match draws.randrange(3):
                case 0:
                    damaged[place] = draws.randrange(256)
                case 1:
                    del damaged[place : place + draws.randrange(1, 9)]
                case _:
                    damaged[place:place] = draws.randbytes(draws.randrange(1, 9))
        (tmp_path / "w").write_bytes(damaged)
        try:
            load(tmp_path / "w")
        except CompileError as error:
            assert error.diagnostics[0].code.startswith("RD50"), error  # noqa: PT017


# Files that are none, and files that change


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a pipe in the file system")
def test_pipes_and_devices_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/null")):
        assert "a device or a pipe" in refused(path, "RD501")


@pytest.mark.parametrize("name", ["loop", "a" * 5000, "a/" * 3000, "nul\0", "", "w/inside"])
def test_a_path_that_leads_nowhere_is_unreadable(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "w").write_text("")
    with pytest.raises(CompileError) as caught:
        load(tmp_path / name)
    assert caught.value.diagnostics[0].code == "RD501"


def test_a_link_to_weights_is_read(tmp_path: Path) -> None:
    save_file({"a": np.ones(3, np.float32)}, tmp_path / "w")
    (tmp_path / "link").symlink_to(tmp_path / "w")
    assert load(tmp_path / "link")["a"].sum() == 3


def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "w"
    save_file({"a": np.ones(3, np.float32)}, file)
    stamps = iter([(1, 2, 3), (1, 2, 4)])
    monkeypatch.setattr(load_module, "_stamp", lambda path: next(stamps))
    assert "changed while it was read" in refused(file, "RD503")


# Numbers


@pytest.fixture
def state(spec: Path) -> dict[str, np.ndarray[Any, Any]]:
    folder = spec.parent
    assert call("build", spec, "--write-weights", "--out", folder, "--json").exit_code == 0
    return load_file(folder / "small.safetensors")


def build(spec: Path, state: dict[str, Any], *options: str) -> list[dict[str, Any]]:
    """The errors of a build from such weights."""
    out, weights = spec.parent / "out", spec.parent / "changed.safetensors"
    save_file(state, weights)
    done = call("build", spec, "-t", "onnx", "--weights", weights, "--out", out, *options, "--json")
    errors: list[dict[str, Any]] = json.loads(done.stdout).get("errors", [])
    # What was seen of the values is kept, whatever becomes of the graph.
    written = [file for file in out.glob("*") if not file.name.startswith("calibration.")]
    assert (done.exit_code == 0) == bool(written) == (not errors)
    return errors


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("options", [(), ("--no-fold",), ("--precision", "fp16")], ids=str)
def test_weights_that_are_no_numbers_are_refused(
    spec: Path, state: dict[str, Any], value: float, options: tuple[str, ...]
) -> None:
    state["layer1.0.conv1.weight"][0, 0, 0, 0] = value
    (found,) = build(spec, state, *options)
    assert found["code"] == "RD513"
    assert "layer1.0.conv1.weight" in found["message"]


@pytest.mark.parametrize("options", [(), ("--no-fold",)], ids=str)
def test_a_negative_variance_is_refused(
    spec: Path, state: dict[str, Any], options: tuple[str, ...]
) -> None:
    state["bn1.running_var"][3] = -1
    (found,) = build(spec, state, *options)
    assert found["code"] == "RD512"
    assert "bn1.running_var" in found["message"]


def test_a_double_beyond_float32_is_refused(spec: Path, state: dict[str, Any]) -> None:
    state["fc.weight"] = np.full(state["fc.weight"].shape, 1e300)
    (found,) = build(spec, state)
    assert found["code"] == "RD513"


def test_weights_that_folding_takes_beyond_float32_are_refused(
    spec: Path, state: dict[str, Any]
) -> None:
    state["bn1.weight"][:] = 1e38
    state["bn1.running_var"][:] = 0
    (found,) = build(spec, state)
    assert found["code"] == "RD511"
    assert "--no-fold" in found["hint"]
    assert build(spec, state, "--no-fold") == []


@pytest.mark.parametrize(("precision", "value"), [("fp16", 1e5), ("bf16", 3.4028e38)])
def test_a_weight_beyond_the_precision_is_refused(
    spec: Path, state: dict[str, Any], precision: str, value: float
) -> None:
    state["fc.weight"][0, 0] = value
    (found,) = build(spec, state, "--precision", precision)
    assert found["code"] == "RD511"


# Reports


def test_a_file_of_very_many_tensors_is_answered_in_a_moment(tmp_path: Path) -> None:
    from resnet_dsl.weights.match import Expected, match

    found = {f"layer1.{i}.conv1.weight": np.zeros((), np.float32) for i in range(50_000)}
    begun = time.process_time()
    with pytest.raises(CompileError) as caught:
        match([Expected("conv1.weight", (4, 3, 3, 3))], found)
    assert time.process_time() - begun < 5
    assert len(render_all(caught.value)) < 3000


def test_the_command_in_a_refusal_is_quoted_for_a_shell(tmp_path: Path, torch: Any) -> None:
    import shlex

    file = tmp_path / "$(touch pwned) `touch pwned` ' \" .pth"
    torch.save({"a": Evil(tmp_path / "trace")}, file)
    with pytest.raises(CompileError) as caught:
        load(file)
    hint = caught.value.diagnostics[0].hint or ""
    words = shlex.split(hint[hint.index("python -c") :])
    assert words[:2] == ["python", "-c"]
    assert len(words) == 3
    code = "import sys; compile(sys.argv[1], 'hint', 'exec')"
    subprocess.run([sys.executable, "-c", code, words[2]], check=True)
    assert json.dumps(str(file)) in words[2]
