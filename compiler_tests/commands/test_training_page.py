"""The commands of docs/training.md are what can be typed."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import Result

from compiler_tests.commands import running
from compiler_tests.commands.running import REPOSITORY, SMALL
from resnet_dsl.commands.run import FILES, INITIAL, RESOLVED

PAGE = (REPOSITORY / "docs/training.md").read_text(encoding="utf-8")
TRAIN = [
    line.partition(" #")[0]
    for block in re.findall(r"```\n(.*?)```", PAGE, re.S)
    for line in block.replace("\\\n", "").splitlines()
    if line.startswith("resnet-dsl train")
]


def spec_and_settings(words: list[str]) -> list[str]:
    """The words of a command that say what is trained."""
    kept = [word for word in words[2:3] if not word.startswith("--")] or ["digits"]
    return kept + [
        part for name, value in pairwise(words) if name == "--set" for part in (name, value)
    ]


def test_the_page_has_commands() -> None:
    assert len(TRAIN) > 12


@pytest.mark.parametrize("line", [line for line in TRAIN if "--replay" not in line])
def test_what_the_page_trains_can_be_trained(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(SMALL)
    words = shlex.split(line)
    place = ["--set", "train.path=photos"] if "--data" in words else []
    done: Result = running.call("check", *spec_and_settings(words), *place)
    assert done.exit_code == 0, done.output


def test_every_option_on_the_page_is_one_and_every_one_is_on_it() -> None:
    shown = running.call("train", "--help").stdout
    options = set(re.findall(r"--[a-z]+", shown)) - {"--help", "--set", "--json", "--out"}
    used = {word.partition("=")[0] for line in TRAIN for word in shlex.split(line)}
    assert {word for word in used if word.startswith("--")} - {"--set"} <= options
    assert all(option in PAGE for option in options)


def test_every_file_of_a_run_is_on_the_page() -> None:
    for name in (*FILES, INITIAL, RESOLVED):
        assert (name if not name.endswith(".png") else ".png") in PAGE
