"""Hostile and damaged archives are refused, and nothing is ever written to disk."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest

from compiler_tests.runtime.data_trees import small_tree, write_archive
from resnet_dsl.runtime import data_archives
from resnet_dsl.runtime.data import DataError
from resnet_dsl.runtime.data_archives import is_packed, members_of, read_range
from resnet_dsl.runtime.data_files import open_folder


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        list(members_of(path, lambda _: True))
    return str(caught.value)


def archive_with(path: Path, name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Path:
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, link
        archive.addfile(member, io.BytesIO())
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_members_are_read_in_order_with_their_places(tmp_path, mode):
    tree = small_tree() | {
        f"train/cat/{'long' * 60}.jpg": b"x" * 1024,
        "train/cat/exact.jpg": b"y" * 512,
    }
    path = write_archive(tmp_path / "a", tree, mode)
    found = list(members_of(path, lambda name: not name.startswith("test")))
    assert [member.name for member in found] == list(tree)
    for member in found:
        assert member.size == len(tree[member.name])
        assert member.content == (b"" if member.name.startswith("test") else tree[member.name])
        if mode == "w":
            assert read_range(path, member.offset, member.size) == tree[member.name]
    assert is_packed(path) == (mode == "w:gz")


@pytest.mark.parametrize("name", ["/etc/passwd", "../up.jpg", "train/../../up.jpg", "train/cat/.."])
def test_a_path_that_leads_out_of_the_archive_is_refused(tmp_path, name):
    found = refusal(archive_with(tmp_path / "a.tar", name))
    assert found == (
        f"{tmp_path / 'a.tar'} is refused: the path {name!r} leads out of it\n"
        "make the archive anew from a folder"
    )


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_are_refused(tmp_path, kind):
    found = refusal(archive_with(tmp_path / "a.tar", "train/cat/1.jpg", kind, "/etc/passwd"))
    assert (
        "train/cat/1.jpg is neither a file nor a folder but a link, a device or the like" in found
    )


def test_a_path_that_cannot_be_printed_is_refused(tmp_path):
    found = refusal(archive_with(tmp_path / "a.tar", "train/\x1b[31m/1.jpg"))
    assert "is refused: the path 'train/\\x1b[31m/1.jpg' is no printable text" in found


def test_an_absurd_size_is_refused_before_anything_is_read(tmp_path):
    member = tarfile.TarInfo("train/cat/1.jpg")
    member.size = 2**40
    path = tmp_path / "a.tar"
    path.write_bytes(member.tobuf() + bytes(1024))
    assert "train/cat/1.jpg has 1,048,576 MiB, and images have 256 at most" in refusal(path)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_of_absurd_size_is_refused_before_it_is_unpacked(tmp_path, kind):
    member = tarfile.TarInfo("train/cat/1.jpg")
    member.type, member.size = kind, 2**32
    path = tmp_path / "a.tgz"
    path.write_bytes(gzip.compress(member.tobuf() + bytes(4096)))
    assert "is refused: it has a header of more than a MiB" in refusal(path)


def test_an_archive_that_unpacks_to_absurdly_much_is_refused(tmp_path, monkeypatch):
    path = write_archive(
        tmp_path / "a.tgz", {f"{n}.jpg": bytes(100_000) for n in range(50)}, "w:gz"
    )
    assert len(list(members_of(path, lambda _: True))) == 50  # under the first GiB it may
    limit = 2_000_000 - 2**30
    monkeypatch.setattr(data_archives, "MOST_RATIO", limit / path.stat().st_size)
    passed: list[str] = []
    with pytest.raises(DataError, match="it unpacks to more than an archive of images can hold"):
        passed.extend(member.name for member in members_of(path, lambda _: True))
    assert len(passed) == 20


def test_an_archive_of_absurdly_many_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(data_archives, "MOST_MEMBERS", 5)
    path = write_archive(tmp_path / "a.tar", small_tree())
    assert "it unpacks to more than an archive of images can hold" in refusal(path)


@pytest.mark.parametrize(
    "content", [b"", b"no archive", b"\x1f\x8b", b"\x1f\x8b" + bytes(60), bytes(700)]
)
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    path = tmp_path / "a.tar"
    path.write_bytes(content)
    if content == bytes(700):  # an archive of nothing
        assert list(members_of(path, lambda _: True)) == []
    else:
        assert f"{path} cannot be read as a tar archive" in refusal(path)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_archive_that_is_cut_off_is_refused(tmp_path, mode):
    path = write_archive(tmp_path / "a", small_tree(), mode)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2 + 100])
    assert f"{path} cannot be read as a tar archive" in refusal(path)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_damaged_archive_is_refused_or_read_but_nothing_else(tmp_path, mode):
    path = write_archive(tmp_path / "a", small_tree(2, 1), mode)
    whole, draws, whole_reads = path.read_bytes(), random.Random(0), 0
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(draws.randint(1, 8)):
            damaged[draws.randrange(len(damaged))] = draws.randrange(256)
        path.write_bytes(damaged)
        with suppress(DataError):
            list(members_of(path, lambda _: True))
            whole_reads += 1
    assert 0 < whole_reads < 200


def test_a_file_that_shrinks_after_it_was_opened_is_named(tmp_path):
    path = write_archive(tmp_path / "a.tar", small_tree())
    data = open_folder(path, "train", channels=3)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(DataError, match=f"{path} ends early: it has changed"):
        data.sample(7)
    path.unlink()
    with pytest.raises(DataError, match=f"{path} cannot be read: No such file"):
        data.sample(0)
