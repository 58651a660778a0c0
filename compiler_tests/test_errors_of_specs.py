"""Wrong specs through the command line: what is said, where it points, and that nothing is written.

Each text marks the place that the error has to point to with « and ».
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from compiler_tests.commands.running import call, run
from compiler_tests.spec_texts import changed, marked, with_block

STAGE = "block: basic, depth: 2, width: 16"


@dataclass(frozen=True)
class Case:
    """A wrong spec, the code of its error, what the message says, and what the hint says."""

    text: str
    code: str
    message: str
    hint: str | None


CASES = {
    "unknown key": Case(
        changed(("classes: 10", "classes: 10\n«acivation»: relu")),
        "RD101",
        "unknown key `acivation`",
        "did you mean `activation`?",
    ),
    "unknown key in a section": Case(
        changed(("channels: 3, size: 32", "chanels: 3, size: 32")).replace("chanels", "«chanels»"),
        "RD101",
        "unknown key `chanels`",
        "did you mean `channels`?",
    ),
    "unknown block": Case(
        changed((STAGE, "block: «botleneck», depth: 2, width: 16")),
        "RD201",
        "there is no block `botleneck`",
        "did you mean `bottleneck`?",
    ),
    "unknown shortcut": Case(
        changed(("shortcut: B", "shortcut: «E»")),
        "RD201",
        "there is no shortcut `E`",
        "known: A, B, C, D, gate, identity, matching, none",
    ),
    "unknown parameter": Case(
        changed((STAGE, "block: bottleneck, depth: 2, width: 16, «group»: 2")),
        "RD203",
        "the block `bottleneck` has no parameter `group`",
        "did you mean `groups`?",
    ),
    "misspelt key of a stage": Case(
        changed((STAGE, f"{STAGE}, «strid»: 2")),
        "RD203",
        "the block `basic` has no parameter `strid`",
        "did you mean `stride`?",
    ),
    "wrong type": Case(
        changed(("classes: 10", "classes: «ten»")),
        "RD105",
        "`classes` must be an integer, not `ten`",
        None,
    ),
    "wrong type of a parameter": Case(
        changed((STAGE, "block: bottleneck, depth: 2, width: 16, groups: «2.5»")),
        "RD105",
        "`groups: 2.5` is no int",
        None,
    ),
    "out of range": Case(
        changed((STAGE, "block: basic, depth: «0», width: 16")),
        "RD106",
        "`depth` is out of range: it should be at least 1",
        None,
    ),
    "a choice that is none": Case(
        changed((STAGE, "block: bottleneck, depth: 2, width: 16, stride_in: «conv3»")),
        "RD103",
        "`stride_in: conv3` is none of conv1, conv2",
        "did you mean `conv2`?",
    ),
    "something is missing": Case(
        changed(("- {block: basic, depth: 2, width: 16}", "- «{block: basic, depth: 2}»")),
        "RD102",
        "`width` is missing",
        "add `width: …`",
    ),
    "shapes at a join of the library": Case(
        changed(
            ("shortcut: B", "shortcut: identity"),
            ("{block: basic, depth: 2, width: 32", "{block: «basic», depth: 2, width: 32"),
        ),
        "RD402",
        "the residual gives 32 × 16 × 16 and its shortcut `identity` 16 × 32 × 32",
        "shortcut `A`, `B`, `C` or `D` would give 32 × 16 × 16",
    ),
    "shapes at the join of an own block": Case(
        with_block(
            "residual:\n  - conv: {out: width, kernel: 3, stride: 2}\n",
            "block: «mine», depth: 1, width: 16",
        ),
        "RD402",
        "the residual gives 16 × 16 × 16 and its shortcut `B` 16 × 32 × 32",
        None,
    ),
    "shapes at a join inside of a body": Case(
        with_block(
            "body:\n"
            "  - «residual»:\n"
            "      - conv: {out: 2 * in, kernel: 3}\n"
            "  - conv: {out: width, kernel: 1}\n"
        ),
        "RD402",
        "the residual gives 32 × 32 × 32 and its shortcut `identity` 16 × 32 × 32",
        "shortcut `A`, `B`, `C` or `D` would give 32 × 32 × 32",
    ),
    "groups that do not divide": Case(
        changed((STAGE, "block: bottleneck, depth: 2, width: 16, groups: «3»")),
        "RD401",
        "3 groups do not divide 16 input channels",
        "the nearest number below that divides both ends is 2",
    ),
    "groups of the norm that do not divide": Case(
        changed(
            ("stem: cifar", "stem: «cifar»"), ("classes: 10", "classes: 10\nnorm: {group: {}}")
        ),
        "RD401",
        "32 groups do not divide 16 channels",
        "choose `norm: {group: {groups: …}}` so that it divides every width",
    ),
    "an expression that cannot be read": Case(
        changed((STAGE, "block: basic, depth: 2, width: 16 «+» * 2")),
        "RD301",
        "expected a value after `+`",
        None,
    ),
    "an unknown name in an expression": Case(
        changed((STAGE, "block: basic, depth: 2, width: 16 + «numbr»")),
        "RD302",
        "there is no `numbr` here",
        "did you mean `number`?",
    ),
    "an unknown name whose letters stand in a function's name before it": Case(
        changed((STAGE, 'block: bottleneck, depth: 2, width: 16, expansion: "max(«x», 1)"')),
        "RD302",
        "there is no `x` here",
        None,
    ),
    "an expression of the wrong type": Case(
        changed((STAGE, "block: basic, depth: 2, width: «32 / 2»")),
        "RD303",
        "this must be of type int, and is of type float",
        "write `a // b` for a whole quotient, or `int(a)`",
    ),
    "an expression without a value": Case(
        changed((STAGE, "block: basic, depth: 2, width: 1 + «16 // index»")),
        "RD304",
        "`16 // index` divides by zero",
        None,
    ),
    "a key given twice": Case(
        changed(("classes: 10", "classes: 10\n«classes»: 20")),
        "RD009",
        "`classes` is given twice",
        "keep one of them",
    ),
    "a name that is no identifier": Case(
        changed(("name: net", "name: «my-net»")),
        "RD104",
        "`my-net` is no identifier",
        "use letters, digits and underscores, a letter first, at most 64",
    ),
    "a name that would leave the output folder": Case(
        changed(("name: net", "name: «../../net»")),
        "RD104",
        "`../../net` is no identifier",
        "use letters, digits and underscores, a letter first, at most 64",
    ),
    "a name that is a word of Python": Case(
        changed(("name: net", "name: «class»")),
        "RD108",
        "`class` is a name that is taken",
        "choose another name",
    ),
    "a name that would hide torch": Case(
        changed(("name: net", "name: «torch»")),
        "RD108",
        "`torch` is a name that is taken",
        "choose another name",
    ),
    "a stage named as an attribute of modules": Case(
        changed((STAGE, f"{STAGE}, name: «forward»")),
        "RD108",
        "`forward` is a name that is taken",
        "choose another name",
    ),
    "a stage named as a module of the stem": Case(
        changed((STAGE, f"{STAGE}, name: «conv1»")),
        "RD109",
        "two modules here are named `conv1`",
        "choose another `name`",
    ),
    "a block that calls itself": Case(
        with_block("body:\n  - conv: {out: width, kernel: 1}\n  - «mine»\n"),
        "RD205",
        "the block `mine` calls itself: mine → mine",
        None,
    ),
    "an operation that is misspelt": Case(
        with_block("body:\n  - «convv»: {out: width, kernel: 1}\n"),
        "RD201",
        "there is no operation or block `convv`",
        "did you mean `conv`?",
    ),
    "a flat trunk with shortcuts": Case(
        changed(
            ("shortcut: B", "shortcut: B\ntrunk: features"),
            (STAGE, STAGE.replace("basic", "«basic»")),
        ),
        "RD404",
        "this needs two paths, and a sequence has one",
        "move the residual or the branches into a block of their own",
    ),
    "stochastic depth without a residual": Case(
        changed(("shortcut: B", "shortcut: none\ndrop_path: «{rate: 0.5}»")),
        "RD107",
        "there is no residual that could be dropped",
        "remove `drop_path`, or choose a shortcut such as `B`",
    ),
    "more rounds than there may be": Case(
        with_block("body:\n  - repeat: «1000 * 1000 * 1000»\n    body: [relu]\n"),
        "RD106",
        "`repeat` is out of range: 1,000,000,000 is not within 0 and 4,096",
        None,
    ),
    "an output width that is too large": Case(
        with_block("body:\n  - conv: {out: «2000000», kernel: 1}\n"),
        "RD106",
        "`out` is out of range: 2,000,000 is not within 1 and 1,048,576",
        None,
    ),
    "more weights than there may be": Case(
        with_block(
            "body:\n"
            "  - conv: {out: 1000 * 1000, kernel: 1}\n"
            "  - conv: «{out: 1000 * 1000, kernel: 5}»\n"
        ),
        "RD406",
        "a network of more than 1,099,511,627,776 weights",
        None,
    ),
}


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_wrong_spec_is_refused_with_code_place_and_hint(case: Case, tmp_path: Path) -> None:
    text, marks = marked(case.text)
    file = tmp_path / "my.yaml"
    file.write_text(text, encoding="utf-8")
    before = files(tmp_path)
    done = call("build", file, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert files(tmp_path) == before
    assert "Traceback" not in done.output
    first, place, *rest = done.output.splitlines()
    assert first.startswith(f"error[{case.code}]: ")
    assert case.message in first
    assert place.strip() == f"--> {file}:{marks.line}:{marks.column}"
    caret = next(row for row in rest if "^" in row)
    assert caret.count("^") == marks.width
    if case.hint is not None:
        assert f"= hint: {case.hint}" in done.output
    assert done.output.rstrip().endswith("1 error")


WHOLE_FILES = {
    "an empty file": ("", "RD005", 1),
    "a file of comments": ("# nothing yet\n", "RD005", 1),
    "no YAML": ("name: [net\nclasses: 3\n", "RD006", None),
    "a list": ("- name: net\n", "RD008", 1),
    "a single value": ("net\n", "RD008", 1),
    "a tag": ("name: !!python/object/apply:os.system [ls]\n", "RD011", 1),
    "an anchor inside of itself": ("stages: &a [*a]\n", "RD013", 1),
    "an alias bomb": (
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(
            f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
            for old, new in zip("abcdefghij", "bcdefghijk", strict=True)
        ),
        "RD015",
        None,
    ),
}


@pytest.mark.parametrize(("text", "code", "line"), WHOLE_FILES.values(), ids=WHOLE_FILES)
def test_a_file_that_is_no_spec_is_refused(
    text: str, code: str, line: int | None, tmp_path: Path
) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(text, encoding="utf-8")
    done = call("check", file)
    assert done.exit_code == 2
    assert done.output.startswith(f"error[{code}]: ")
    assert f"--> {file}:{'' if line is None else line}" in done.output
    assert "Traceback" not in done.output


def test_a_cycle_of_includes_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("include: [b.yaml]\nblocks: {}\n", encoding="utf-8")
    (tmp_path / "b.yaml").write_text("include: [a.yaml]\nblocks: {}\n", encoding="utf-8")
    file = tmp_path / "my.yaml"
    file.write_text("include: [a.yaml]\n" + changed(), encoding="utf-8")
    done = call("check", file)
    assert done.exit_code == 2
    assert done.output.startswith("error[RD022]: ")
    assert f"--> {tmp_path / 'b.yaml'}:1:11" in done.output
    assert "^^^^^^" in done.output


def test_errors_of_several_kinds_are_reported_together(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(
        "name: my-net\n"
        "input: {size: 0}\n"
        "classes: ten\n"
        "stem: cifer\n"
        "stages:\n"
        "  - {block: basik, depth: 2, width: 16 +}\n",
        encoding="utf-8",
    )
    done = call("check", file)
    assert done.exit_code == 2
    codes = re.findall(r"error\[(RD\d+)\]", done.output)
    places = re.findall(r"--> .*:(\d+):(\d+)$", done.output, re.MULTILINE)
    assert codes == ["RD104", "RD106", "RD105", "RD201", "RD201", "RD301"]
    assert places == [("1", "7"), ("2", "15"), ("3", "10"), ("4", "7"), ("6", "13"), ("6", "40")]
    assert done.output.rstrip().endswith("6 errors")


def test_errors_in_definitions_stages_and_ends_are_reported_together(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(
        changed(
            (STAGE, "block: bottleneck, depth: 2, width: 16, groups: 0"),
            ("width: 32", "width: 32, layers: 3"),
            ("head: classifier", "head: {classifier: {dropout: 2}}"),
        ),
        encoding="utf-8",
    )
    done = call("check", file)
    assert done.exit_code == 2
    assert re.findall(r"error\[(RD\d+)\]", done.output) == ["RD106", "RD203", "RD106"]


def test_all_unknown_things_of_own_definitions_are_found_though_nothing_calls_them(
    tmp_path: Path,
) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(
        changed()
        + "blocks:\n"
        + "  one: {body: [{conv: {out: widht, kernel: 3}}, sqeeze_excite]}\n"
        + "  two: {body: [{one: {n: 3}}], let: {x: in / 'a'}}\n",
        encoding="utf-8",
    )
    done = call("check", file)
    assert done.exit_code == 2
    assert re.findall(r"error\[(RD\d+)\]", done.output) == ["RD302", "RD201", "RD203", "RD303"]
    assert "did you mean `width`?" in done.output


def test_an_error_in_the_library_is_shown_at_the_stage_and_in_the_library(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    text, _ = marked(CASES["groups that do not divide"].text)
    file.write_text(text, encoding="utf-8")
    output = call("check", file).output
    assert f"--> {file}:7:54" in output
    assert re.search(r"::: .*library/blocks/bottleneck\.yaml:\d+:\d+", output)
    assert "------ here, in the block `bottleneck`" in output


def test_several_specs_are_checked_in_one_run(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(changed(), encoding="utf-8")
    bad.write_text(changed(("classes: 10", "classes: 0")), encoding="utf-8")
    done = call("check", bad, good)
    assert done.exit_code == 2
    assert f"--> {bad}:3:10" in done.output


def test_the_program_ends_with_status_2_and_speaks_on_standard_error(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(changed(("shortcut: B", "shortcut: Z")), encoding="utf-8")
    done = run("check", file, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "error[RD201]" in done.stderr
    assert "Traceback" not in done.stderr
