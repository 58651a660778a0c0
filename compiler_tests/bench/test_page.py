from pathlib import Path

import pytest

from compiler_tests.bench.run import other_sections

TABLE = "# Benchmarks\n\n| a | b |\n"
SECTION = "\n## Kills\n\nNone was felt.\n\n### Which\n"


@pytest.mark.parametrize("sections", ["", SECTION, SECTION + "\n## More\n"])
def test_what_others_have_written_on_the_page_is_kept(tmp_path: Path, sections: str) -> None:
    page = tmp_path / "page.md"
    assert other_sections(page) == ""
    page.write_text(TABLE + sections)
    assert other_sections(page) == sections
