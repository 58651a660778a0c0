"""Files that are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from resnet_dsl.runtime.checkpoints import (
    LONGEST_HEADER,
    StateError,
    digest,
    has_state,
    load_state,
    put_state_aside,
    read_header,
    save_state,
    write,
)


def test_a_file_is_replaced_as_a_whole_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "last.safetensors"
    write(path, b"one")
    write(path, b"two", memoryview(b" three"))
    assert path.read_bytes() == b"two three"
    assert digest(path) == "1ab23de9e6639bc8bc31b239f7b384ff879f3b31672ed7dcc604944aae4b2fc7"
    assert os.listdir(tmp_path) == ["last.safetensors"]


def full_disk(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_write_that_fails_leaves_the_old_file_and_no_part(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write(path, b"old")
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write(path, b"new", old=tmp_path / "older")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_that_a_folder_stands_in_the_way_of_leaves_no_part(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="directory"):
        write(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == ["file"]


STATE: dict[str, Any] = {
    "model": {"weight": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(3)},
    "half": torch.ones(2, dtype=torch.bfloat16),
    "history": [{"epoch": 1, "loss": 0.5}],
    "random": torch.get_rng_state(),
    "none": None,
}


def saved(folder: Path, *numbers: int) -> None:
    for number in numbers:
        save_state(folder, {"spec": "abc", "epoch": number}, {**STATE, "epoch": number})


def test_a_state_is_read_as_it_was_saved(tmp_path):
    saved(tmp_path, 1)
    header, state, notes = load_state(tmp_path)
    assert notes == []
    assert header["spec"] == "abc"
    assert header["epoch"] == state["epoch"] == 1
    assert torch.equal(state["model"]["weight"], STATE["model"]["weight"])
    assert state["half"].dtype == torch.bfloat16
    assert state["history"] == STATE["history"]


def test_the_first_line_is_json_that_needs_no_torch(tmp_path):
    saved(tmp_path, 1)
    with (tmp_path / "state.pt").open("rb") as file:
        header = json.loads(file.readline(LONGEST_HEADER))
    assert header == {"format": 1, "sha256": header["sha256"], "spec": "abc", "epoch": 1}
    assert read_header(tmp_path / "state.pt") == header


def test_the_same_state_gives_the_same_bytes(tmp_path):
    saved(tmp_path, 1, 1)
    assert digest(tmp_path / "state.pt") == digest(tmp_path / "state.previous.pt")


def test_the_state_before_is_kept(tmp_path):
    saved(tmp_path, 1, 2, 3)
    assert sorted(os.listdir(tmp_path)) == ["state.previous.pt", "state.pt"]
    assert read_header(tmp_path / "state.pt")["epoch"] == 3
    assert read_header(tmp_path / "state.previous.pt")["epoch"] == 2


def truncated(data: bytes) -> bytes:
    return data[:-1]


def emptied(_: bytes) -> bytes:
    return b""


def another_payload(data: bytes) -> bytes:
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


def another_header(data: bytes) -> bytes:
    return data.replace(b'"epoch": 2', b'"epoch": 9', 1)


def another_format(data: bytes) -> bytes:
    return data.replace(b'"format": 1', b'"format": 2', 1)


def no_line(data: bytes) -> bytes:
    return data.replace(b"\n", b" ")


DAMAGES = {
    truncated: "is damaged: its hash is not that of what was written",
    emptied: "is damaged, or no state of a run",
    another_payload: "is damaged: its hash is not that of what was written",
    another_header: "is damaged: its hash is not that of what was written",
    another_format: "has format 2, and this reads format 1",
    no_line: "is damaged, or no state of a run",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_state_is_told_and_the_one_before_taken(tmp_path, damage):
    saved(tmp_path, 1, 2)
    path = tmp_path / "state.pt"
    path.write_bytes(damage(path.read_bytes()))
    header, state, notes = load_state(tmp_path)
    assert header["epoch"] == state["epoch"] == 1
    assert notes[0].startswith(f"{path} {DAMAGES[damage]}")
    assert notes[1] == f"going on from the state before it, {tmp_path / 'state.previous.pt'}"


@given(st.integers(0, 10**9), st.integers(1, 255))
def test_no_changed_byte_goes_unseen(tmp_path_factory, at, change):
    folder = tmp_path_factory.mktemp("run")
    saved(folder, 1)
    data = bytearray((folder / "state.pt").read_bytes())
    data[at % len(data)] ^= change
    header = read_header(folder / "state.pt")
    (folder / "state.pt").write_bytes(data)
    with suppress(StateError):
        assert load_state(folder)[0] == header  # a space of the first line may have become a tab


def test_a_missing_state_is_told_and_the_one_before_taken(tmp_path):
    saved(tmp_path, 1, 2)
    (tmp_path / "state.pt").unlink()
    assert has_state(tmp_path)
    header, _, notes = load_state(tmp_path)
    assert header["epoch"] == 1
    assert notes[0] == f"there is no {tmp_path / 'state.pt'}"


def test_a_damaged_state_does_not_take_the_place_of_the_one_before(tmp_path):
    saved(tmp_path, 1, 2)
    (tmp_path / "state.pt").write_bytes(b"damaged")
    saved(tmp_path, 3)
    assert read_header(tmp_path / "state.pt")["epoch"] == 3
    assert read_header(tmp_path / "state.previous.pt")["epoch"] == 1


def test_without_a_whole_state_both_are_told(tmp_path):
    assert not has_state(tmp_path)
    with pytest.raises(
        StateError, match=r"there is no .*state\.pt; there is no .*state\.previous\.pt"
    ):
        load_state(tmp_path)
    saved(tmp_path, 1, 2)
    for name in ("state.pt", "state.previous.pt"):
        (tmp_path / name).write_bytes(b"{}\n")
    with pytest.raises(
        StateError, match=r"state\.pt is damaged.*; .*state\.previous\.pt is damaged"
    ):
        load_state(tmp_path)


def test_a_state_that_cannot_be_opened_is_told(tmp_path):
    (tmp_path / "state.pt").mkdir()
    with pytest.raises(StateError, match=r"state\.pt cannot be read: Is a directory"):
        load_state(tmp_path)


class Trap:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("trap",)


def test_a_state_that_would_run_code_is_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "save", lambda state, file: file.write(pickle.dumps(Trap(), 2)))
    saved(tmp_path, 1)
    with pytest.raises(StateError, match=r"is whole, and torch .* cannot read it"):
        load_state(tmp_path)
    assert not (tmp_path / "trap").exists()


def test_a_header_longer_than_its_readers_take_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"the header of a state has .* bytes, more than fit"):
        save_state(tmp_path, {"long": "x" * LONGEST_HEADER}, {})
    assert os.listdir(tmp_path) == []


def snapshots(
    folder: Path, copies: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[Path]]:
    """From now on, a copy of the folder before and after each step that changes what is on the disk: what a kill at
    that moment leaves. The buffer of an open file is lost with its process."""
    taken: list[Path] = []

    def take() -> None:
        taken.append(copies / str(len(taken)))
        shutil.copytree(folder, taken[-1])

    def around(owner: Any, name: str) -> None:
        step = getattr(owner, name)

        def stepped(*arguments: Any, **options: Any) -> Any:
            take()
            result = step(*arguments, **options)
            take()
            return result

        monkeypatch.setattr(owner, name, stepped)

    for name in ("open", "replace", "unlink"):
        around(Path, name)
    around(os, "fsync")
    return lambda: taken


def test_at_every_moment_of_saving_there_is_a_whole_state(tmp_path, monkeypatch):
    run = tmp_path / "run"
    run.mkdir()
    saved(run, 1, 2)
    with monkeypatch.context() as patch:
        taken = snapshots(run, tmp_path, patch)
        saved(run, 3)
        moments = taken()
    found = [load_state(moment)[0]["epoch"] for moment in moments]
    # Until the new one is in place, the one before it is; between two renames it has its second name.
    assert found == sorted(found)
    assert found[0] == 2
    assert found[-1] == 3
    assert any(not (moment / "state.pt").exists() for moment in moments)


def test_a_disk_that_is_full_leaves_both_states(tmp_path, monkeypatch):
    saved(tmp_path, 1, 2)
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        saved(tmp_path, 3)
    assert sorted(os.listdir(tmp_path)) == ["state.previous.pt", "state.pt"]
    assert load_state(tmp_path)[0]["epoch"] == 2


def test_another_run_puts_the_state_aside(tmp_path):
    assert put_state_aside(tmp_path) is None
    saved(tmp_path, 1, 2)
    assert put_state_aside(tmp_path) == tmp_path / "state.old.pt"
    assert not has_state(tmp_path)
    assert read_header(tmp_path / "state.old.pt")["epoch"] == 2
    saved(tmp_path, 3, 4)
    (tmp_path / "state.pt").unlink()
    put_state_aside(tmp_path)
    assert os.listdir(tmp_path) == ["state.old.pt"]
    assert read_header(tmp_path / "state.old.pt")["epoch"] == 3
