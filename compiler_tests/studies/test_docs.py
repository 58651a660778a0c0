"""docs/studies.md: what it shows can be typed, and it names everything that there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from compiler_tests.commands.running import call
from compiler_tests.studies.fakes import runs
from resnet_dsl.studies.outcomes import MEASURES
from resnet_dsl.studies.schema import Figure, Study, library_studies

TEXT = (Path(__file__).parents[2] / "docs" / "studies.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for block in re.findall(r"^```\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    for line in block.replace("\\\n", "").splitlines()
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_is_one(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    trains = len(command) > 1 and not {"--plan", "--table"} & {*command}
    done = call(*command, *(["--plan"] if trains else []))
    assert done.exit_code == 0, done.output
    assert list(tmp_path.iterdir()) == []


def test_the_study_is_one_and_shows_every_key(tmp_path: Path) -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    file = tmp_path / "degradation.yaml"
    file.write_text(text)
    assert len(runs(file)) == 24
    for key in Study.model_fields:
        assert f"\n{key}:" in f"\n{text}"
        assert re.search(rf"^\| .*`{key}`", TEXT, re.MULTILINE)


def test_every_study_figure_measure_and_option_is_told() -> None:
    for name in library_studies():
        assert f"| `{name}` |" in TEXT
    kinds = Figure.model_fields["kind"].annotation
    for kind in getattr(kinds, "__args__", ()):
        assert f"| `{{kind: {kind}, " in TEXT
    assert all(f"`{measure}`" in TEXT for measure in MEASURES)
    options = set(re.findall(r"--[a-z]+", call("study", "--help").stdout)) - {"--help"}
    assert len(options) > 5
    for option in options:
        assert re.search(rf"^\| .*`{option}[ `]", TEXT, re.MULTILINE), option
