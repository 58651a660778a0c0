"""The golden fixture itself: a comparison that could not fail would prove nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

Golden = Callable[[str | Path, str], None]


@pytest.fixture
def update_golden() -> bool:
    """Compare, even under --update-golden: these tests are about the comparison."""
    return False


def test_equal_text_passes(golden: Golden, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one\ntwo\n", encoding="utf-8")
    golden(file, "one\ntwo\n")


def test_a_difference_fails_with_a_unified_diff_and_the_command(
    golden: Golden, tmp_path: Path
) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one\ntwo\n", encoding="utf-8")
    with pytest.raises(pytest.fail.Exception, match="just golden") as failure:
        golden(file, "one\nthree\n")
    assert "\n-two\n+three\n" in str(failure.value)
    assert file.read_text(encoding="utf-8") == "one\ntwo\n"


def test_a_missing_file_fails_and_is_not_written(golden: Golden, tmp_path: Path) -> None:
    with pytest.raises(pytest.fail.Exception, match="is not there"):
        golden(tmp_path / "a.txt", "one\n")
    assert not (tmp_path / "a.txt").exists()


def test_a_missing_final_newline_is_a_difference(golden: Golden, tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one\n", encoding="utf-8")
    with pytest.raises(pytest.fail.Exception, match="line endings"):
        golden(file, "one")


class TestUpdating:
    @pytest.fixture
    def update_golden(self) -> bool:
        return True

    def test_a_missing_file_is_written_with_its_folders(
        self, golden: Golden, tmp_path: Path
    ) -> None:
        golden(tmp_path / "b" / "a.txt", "one\n")
        assert (tmp_path / "b" / "a.txt").read_bytes() == b"one\n"
