"""Studies that are wrong: what is said, where it points, and what to write instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler_tests.studies.fakes import STUDY, runs, write
from resnet_dsl.errors import CODES, CompileError
from resnet_dsl.studies.schema import find_study, library_studies, read_study

AXIS = "values: [6, 10]"
SET = "{stages.*.depth: (depth - 2) / 4}"
FIGURE = "figure: {kind: curves, groups: net, lines: depth}"

WRONG = {
    "unknown key": ("seeds:", "sedes:", "RD101", "unknown key `sedes`", "seeds"),
    "no seeds": ("seeds: [0, 1]\n", "", "RD102", "`seeds` is missing", "add `seeds: …`"),
    "empty seeds": ("[0, 1]", "[]", "RD106", "`seeds` needs at least one entry", None),
    "a seed below 0": ("[0, 1]", "[0, -1]", "RD106", "`seeds` is out of range", None),
    "a seed twice": ("[0, 1]", "[1, 1]", "RD107", "a seed is there twice", None),
    "seed as text": ("[0, 1]", "[0, a]", "RD105", "`seeds` must be an integer", None),
    "values that are one": (AXIS, "values: 6", "RD107", "are a list, or a mapping", "[8, 14, 20]"),
    "no values": (AXIS, "values: []", "RD107", "are a list, or a mapping", "[8, 14, 20]"),
    "a value twice": (AXIS, "values: [6, 6]", "RD107", "a value is there twice", None),
    "a strange value": (AXIS, "values: [6, 'a b']", "RD107", "`a b` cannot be a value", "letters"),
    "a list in a list": (AXIS, "values: [6, [7]]", "RD105", "must be a number, true, false or text", None),
    "a strange axis": ("  depth:", "  dep-th:", "RD104", "`dep-th` is no identifier", "letters"),
    "unknown key of an axis": (AXIS, f"{AXIS}\n    ste: {{}}", "RD101", "`ste`", "`set`"),
    "unknown key of a value": ("{set: {short", "{st: {short", "RD107", "key `st`", "`set`"),
    "unknown measure": ("columns: net", "measure: last", "RD103", "`last` is not", "last_error"),
    "unknown columns": ("columns: net", "columns: nett", "RD107", "`columns: nett`", "`net`"),
    "unknown figure": ("kind: curves", "kind: curve", "RD103", "`curve` is not", "curves"),
    "a figure of no axis": ("lines: depth", "lines: dep", "RD107", "`lines: dep`", "`depth`"),
    "a figure without lines": (", lines: depth", "", "RD107", "an axis for `lines`", "`lines: …`"),
    "a figure with x": ("lines: depth", "x: depth, lines: depth", "RD107", "no `x`", "remove it"),
    "a hidden axis": ("groups: net, ", "", "RD107", "does not show the axis `net`", "one place"),
    "an axis shown twice": ("groups: net", "groups: depth", "RD107", "the axis `net`", "one place"),
    "errors without x": (FIGURE, "figure: {kind: errors, lines: net}", "RD107", "for `x`", "x: …"),
    "errors with groups": (
        FIGURE, "figure: {kind: errors, x: net, groups: depth}", "RD107", "no `groups`", "remove",
    ),
    "a figure's name alone": (FIGURE, "figure: curves", "RD105", "must be a mapping", None),
    "settings that are a list": (SET, "[stages.0.depth=1]", "RD105", "`set` must be a mapping", None),
    "an expression cut short": (SET, "{classes: (depth - 2}", "RD301", "", None),
    "an unknown name": (SET, "{classes: dept - 2}", "RD304", "unknown name `dept`", "`depth`"),
    "a division by zero": (SET, "{classes: 1 // (depth - 6)}", "RD304", "by zero", None),
    "a star of no list": (SET, "{stage.*.depth: 1}", "RD661", "stands for the entries", "stages.*"),
    "a star in a word": (SET, "{stages*.depth: 1}", "RD661", "stands for the entries", "stages.*"),
    "a seed in the settings": (SET, "{train.seed: 1}", "RD661", "from the study's seeds", "seeds:"),
    "a place that is none": (SET, "{stages.7.depth: 1}", "RD031", "no entry 7", None),
    "an unknown spec": ("spec: small.yaml", "spec: resnet21", "RD206", "`resnet21`", "resnet"),
    "an unknown base": ("name: tiny", "extends: tny\nname: tiny", "RD021", "there is no file", None),
    "a device's name": ("name: tiny", "name: con", "RD107", "`con` is a device", None),
    "a name that is none": ("name: tiny", "name: a/b", "RD104", "`a/b` is no identifier", None),
}  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "code", "message", "hint"), WRONG.values(), ids=WRONG.keys()
)
def test_a_wrong_study_is_refused_at_its_place(
    tmp_path: Path, old: str, new: str, code: str, message: str, hint: str | None
) -> None:
    assert old in STUDY
    file = write(tmp_path, STUDY.replace(old, new))
    with pytest.raises(CompileError) as caught:
        runs(file)
    found = next(item for item in caught.value.diagnostics if item.code == code)
    assert code in CODES
    assert message in found.message
    assert found.position is not None or "*" in new
    assert hint is None or hint in (found.hint or "")


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "there is no study in this file"), ("- a\n", "a study is a mapping of keys to values")],
)
def test_what_is_no_study_is_told_so(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text(text)
    with pytest.raises(CompileError, match=said) as caught:
        read_study(file)
    assert "resnet-dsl study" in (caught.value.diagnostics[0].hint or "")


def test_a_study_is_found_by_its_name_or_its_file(tmp_path: Path) -> None:
    assert read_study(find_study("degradation"))[0].name == "degradation"
    assert find_study(str(write(tmp_path))) == tmp_path / "tiny.yaml"
    with pytest.raises(CompileError, match="there is no study `degredation`") as caught:
        find_study("degredation")
    assert caught.value.diagnostics[0].hint == "did you mean `degradation`?"
    with pytest.raises(CompileError, match="there is no file"):
        read_study(find_study(str(tmp_path / "absent.yaml")))


def test_the_paper_s_experiments_are_in_the_library() -> None:
    names = ["degradation", "recursive", "responses", "shortcuts", "skip"]
    assert list(library_studies()) == names
    assert all(library_studies().values())


def test_a_study_can_build_on_one_of_the_library(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: degradation\nname: mine\naxes: {depth: {values: [20]}}\n")
    assert [dict(run.case.at)["depth"] for run in runs(file, seeds=(0,))] == ["20", "20"]
