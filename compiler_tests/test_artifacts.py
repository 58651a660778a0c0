"""Files appear whole or not at all, alone and in groups, and what cannot be written is said clearly."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resnet_dsl.artifacts import Artifacts, Written, output_folder
from resnet_dsl.errors import CompileError


def refusal(call) -> tuple[str, str]:
    with pytest.raises(CompileError) as caught:
        call()
    (found,) = caught.value.diagnostics
    return found.code, f"{found.message}\n{found.why}\n{found.hint}"


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_text_is_written_with_its_folders_and_recorded(tmp_path):
    out = Artifacts(tmp_path / "generated" / "net")
    path = out.text("net.py", "größe = 3×3\n")
    assert path.read_bytes() == "größe = 3×3\n".encode()
    assert out.records == (Written(path, 15, "written"),)
    assert listing(path.parent) == ["net.py"]


def test_an_unchanged_text_keeps_its_time_of_change_and_is_reported_so(tmp_path):
    path = Artifacts(tmp_path).text("net.py", "x = 1\n")
    os.utime(path, (1000, 1000))
    again = Artifacts(tmp_path)
    again.text("net.py", "x = 1\n")
    assert again.records == (Written(path, 6, "unchanged"),)
    assert path.stat().st_mtime == 1000


def test_a_changed_text_of_equal_length_is_written(tmp_path):
    path = Artifacts(tmp_path).text("net.py", "x = 1\n")
    out = Artifacts(tmp_path, durable=True)
    out.text("net.py", "x = 2\n")
    assert path.read_text() == "x = 2\n"
    assert out.records[0].status == "written"


def test_a_binary_appears_when_its_block_ends_with_ordinary_permissions(tmp_path):
    out = Artifacts(tmp_path)
    with out.binary("net.onnx") as file:
        file.write(b"....")
        file.seek(0)
        file.write(b"onnx")
        assert not (tmp_path / "net.onnx").exists()
    assert (tmp_path / "net.onnx").read_bytes() == b"onnx"
    assert out.records == (Written(tmp_path / "net.onnx", 4, "written"),)
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert (tmp_path / "net.onnx").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_a_binary_that_fails_leaves_the_old_file_and_no_other(tmp_path, failure):
    (tmp_path / "net.onnx").write_bytes(b"old")
    out = Artifacts(tmp_path)

    def write() -> None:
        with out.binary("net.onnx") as file:
            file.write(b"half")
            raise failure

    with pytest.raises(failure):
        write()
    assert (tmp_path / "net.onnx").read_bytes() == b"old"
    assert listing(tmp_path) == ["net.onnx"]
    assert out.records == ()


def test_a_folder_made_for_a_file_that_fails_is_removed_again(tmp_path):
    def write() -> None:
        with Artifacts(tmp_path / "a" / "b").binary("net.onnx"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert listing(tmp_path) == []


def test_a_group_appears_together(tmp_path):
    with Artifacts(tmp_path / "net") as out:
        out.text("net.py", "new\n")
        with out.binary("net.onnx") as model, out.binary("net.onnx.data") as data:
            model.write(b"model")
            data.write(b"data")
        assert not any(not name.startswith(".") for name in listing(tmp_path / "net"))
        assert not out.records
    assert listing(tmp_path / "net") == ["net.onnx", "net.onnx.data", "net.py"]
    sizes = [(written.path.name, written.bytes) for written in out.records]
    assert sizes == [("net.py", 4), ("net.onnx.data", 4), ("net.onnx", 5)]


def test_a_group_that_fails_changes_nothing(tmp_path):
    (tmp_path / "net.py").write_text("old\n")

    def write() -> None:
        with Artifacts(tmp_path) as out:
            out.text("net.py", "new\n")
            out.text("other.py", "new\n")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    assert listing(tmp_path) == ["net.py"]
    assert (tmp_path / "net.py").read_text() == "old\n"


@pytest.mark.parametrize("links", [True, False])
def test_a_move_that_fails_in_the_middle_of_a_group_puts_the_others_back(
    tmp_path, monkeypatch, links
):
    (tmp_path / "a.py").write_text("old a\n")
    (tmp_path / "c.py").write_text("old c\n")
    replace = os.replace

    def failing(source, target) -> None:
        if Path(target).name == "c.py" and Path(source).read_text() == "new c\n":
            raise PermissionError(errno.EACCES, "Permission denied", str(target))
        replace(source, target)

    def no_link(*_args, **_options) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "replace", failing)
    if not links:
        monkeypatch.setattr(os, "link", no_link)

    def write() -> None:
        with Artifacts(tmp_path) as out:
            out.text("a.py", "new a\n")
            out.text("b.py", "new b\n")
            out.text("c.py", "new c\n")

    code, text = refusal(write)
    assert code == "RD602"
    assert "permission denied" in text
    assert listing(tmp_path) == ["a.py", "c.py"]
    assert (tmp_path / "a.py").read_text() == "old a\n"
    assert (tmp_path / "c.py").read_text() == "old c\n"


BAD_FILE_NAMES = [
    "",
    ".",
    "..",
    ".hidden",
    "a/b",
    "a\\b",
    "../up",
    "a..b",
    "/abs",
    "a\0b",
    "a\nb",
    "nul.txt",
]


@pytest.mark.parametrize("name", [*BAD_FILE_NAMES, "x" * 201])
def test_a_file_name_that_could_leave_the_folder_is_refused(tmp_path, name):
    code, text = refusal(lambda: Artifacts(tmp_path).text(name, ""))
    assert code == "RD601"
    why = (
        "on Windows it is a device"
        if name == "nul.txt"
        else "must not lead out of the output folder"
    )
    assert why in text
    assert listing(tmp_path) == []


def test_a_name_written_twice_is_a_defect_of_the_caller(tmp_path):
    out = Artifacts(tmp_path)
    out.text("net.py", "")
    with pytest.raises(ValueError, match=r"net\.py is written twice"):
        out.text("net.py", "")


@pytest.mark.parametrize("below", ["file", "file/deeper/net"])
def test_a_file_where_a_folder_should_be_is_named(tmp_path, below):
    (tmp_path / "file").write_text("mine\n")
    code, text = refusal(lambda: Artifacts(tmp_path / below).text("net.py", ""))
    assert code == "RD602"
    assert f"`{tmp_path / 'file'}` is a file, and a folder should be there" in text
    assert "--out DIR" in text
    assert (tmp_path / "file").read_text() == "mine\n"


def test_a_folder_where_the_file_should_be_is_refused(tmp_path):
    (tmp_path / "net.py").mkdir()
    code, text = refusal(lambda: Artifacts(tmp_path).text("net.py", ""))
    assert code == "RD602"
    assert "there is a folder where the file should be" in text


def test_a_folder_that_may_not_be_written_is_refused(tmp_path, monkeypatch):
    # Root may write anywhere, so the refusal of the system is put in by hand
    def denied(path, *_args, **_options):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("builtins.open", denied)
    code, text = refusal(lambda: Artifacts(tmp_path).text("net.py", "x"))
    assert code == "RD602"
    assert "permission denied" in text


@pytest.mark.skipif(sys.platform == "win32", reason="resource limits are POSIX")
def test_a_full_disk_is_reported_and_leaves_the_old_file(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"old")
    # A limit on file sizes stands in for a full disk: the same call fails, in the middle of a write
    code = f"""
import resource, signal
from pathlib import Path
from resnet_dsl.artifacts import Artifacts
from resnet_dsl.errors import CompileError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
try:
    with Artifacts(Path({str(tmp_path)!r})).binary("net.onnx") as file:
        for _ in range(64):
            file.write(bytes(100_000))
except CompileError as error:
    print(error.diagnostics[0].code, error, error.diagnostics[0].why)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.startswith("RD603")
    assert "does not fit on the disk" in done.stdout
    assert (tmp_path / "net.onnx").read_bytes() == b"old"
    assert listing(tmp_path) == ["net.onnx"]


def test_an_error_about_another_file_is_left_to_whoever_opened_it(tmp_path):
    def write() -> None:
        with Artifacts(tmp_path).binary("net.onnx"):
            (tmp_path / "weights.pth").read_bytes()

    with pytest.raises(FileNotFoundError, match=r"weights\.pth"):
        write()


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is POSIX")
def test_a_kill_in_the_middle_of_a_write_leaves_the_old_file(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"old")
    code = f"""
import sys, time
from pathlib import Path
from resnet_dsl.artifacts import Artifacts
with Artifacts(Path({str(tmp_path)!r})).binary("net.onnx") as file:
    file.write(bytes(1 << 20)); file.flush()
    print("half", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert (tmp_path / "net.onnx").read_bytes() == b"old"
    (left,) = [path for path in tmp_path.iterdir() if path.name != "net.onnx"]
    assert left.name.endswith(".part")

    with Artifacts(tmp_path).binary("net.onnx") as file:  # fresh: it may be another run's, at work
        file.write(b"new")
    assert left.exists()
    hours_ago = time.time() - 2 * 3600
    os.utime(left, (hours_ago, hours_ago))
    with Artifacts(tmp_path).binary("net.onnx") as file:
        file.write(b"newer")
    assert listing(tmp_path) == ["net.onnx"]


def test_the_output_folder_is_the_given_one_or_that_of_the_name(tmp_path):
    assert output_folder(None, "resnet50_32x4d") == Path("generated/resnet50_32x4d")
    assert output_folder(tmp_path, "resnet50") == tmp_path


@pytest.mark.parametrize(
    "name", ["", "..", "../x", "a/b", "a.b", "1net", "a b", "naïve", "con", "x\n", "x" * 101]
)
def test_a_network_name_that_is_no_identifier_is_refused(name):
    code, text = refusal(lambda: output_folder(None, name))
    assert code == "RD601"
    assert "cannot be the name of a network" in text
    assert ("on Windows it is a device" in text) == (name == "con")


ROOT = Path(__file__).parents[1]
