"""Overrides: what they set, where their values stand, and how a wrong one is refused."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resnet_dsl.errors import CompileError, Position, render_all
from resnet_dsl.language.reading import read_spec
from resnet_dsl.language.source import load

SPEC = """\
name: x
stages:
  - {block: basic, depth: 3}
  - {block: basic, depth: 4}
norm: batch
train: {lr: 0.1, epochs: 3}
empty:
"""


@pytest.fixture(autouse=True)
def _spec(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("spec.yaml").write_text(SPEC, encoding="utf-8")


def refusal(*overrides: str) -> str:
    with pytest.raises(CompileError) as caught:
        load("spec.yaml", overrides)
    return render_all(caught.value)


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("stages.0.depth=5", ("stages", 0, "depth"), 5),
        ("stages.1={block: wide}", ("stages", 1), {"block": "wide"}),
        ("train.lr=1e-4", ("train", "lr"), 1e-4),
        ("train.decay=0.5", ("train", "decay"), 0.5),
        ("norm={group: {groups: 32}}", ("norm",), {"group": {"groups": 32}}),
        ("a.b.c=[1, two]", ("a", "b", "c"), [1, "two"]),
        ("empty.here=yes", ("empty", "here"), "yes"),
        (" train . lr = 2 ", ("train", "lr"), 2),
        ("name='a=b'", ("name",), "a=b"),
        ("name=null", ("name",), None),
        ("name=a #b", ("name",), "a"),
        ("name=--- x", ("name",), "--- x"),
    ],
)
def test_an_override_sets_one_place(override, path, value):
    source = load("spec.yaml", [override])
    found = source.data
    for key in path:
        found = found[key]
    assert found == value
    position = source.positions[path]
    assert position.file == "--set"
    assert source.line(position) == override


def test_the_rest_stays_as_it_was():
    source = load("spec.yaml", ["train.lr=5"])
    assert source.data["train"] == {"lr": 5, "epochs": 3}
    assert source.data["stages"][1] == {"block": "basic", "depth": 4}
    assert source.positions["train", "epochs"].file == "spec.yaml"
    assert source.key_positions["train",].file == "spec.yaml"


def test_a_replaced_mapping_leaves_nothing_behind():
    source = load("spec.yaml", ["train={epochs: 9}"])
    assert source.data["train"] == {"epochs": 9}
    assert ("train", "lr") not in source.positions


def test_later_overrides_win_and_each_has_its_line():
    source = load("spec.yaml", ["train.lr=1", "train={lr: 2}", "train.lr=3"])
    assert source.data["train"] == {"lr": 3}
    assert source.positions["train", "lr"] == Position("--set", 3, 10, 1)
    assert source.key_positions["train", "lr"] == Position("--set", 3, 7, 2)


def test_a_place_that_an_override_made_is_its_key():
    source = load("spec.yaml", ["a.bc.d=1"])
    assert source.key_positions["a", "bc"] == Position("--set", 1, 3, 2)


def test_an_override_applies_to_what_is_extended():
    Path("child.yaml").write_text("extends: spec.yaml\nname: y\n", encoding="utf-8")
    assert load("child.yaml", ["stages.1.depth=9"]).data["stages"][1]["depth"] == 9


def test_a_value_of_an_override_is_underlined_in_it():
    source = load("spec.yaml", ["train.lr=0.05", "norm={group: {groups: thirty}}"])
    found = source.diagnostic("RD102", "m", ("norm", "group", "groups"))
    assert found.line_text == "norm={group: {groups: thirty}}"
    assert found.position == Position("--set", 2, 23, 6)


@pytest.mark.parametrize(
    ("override", "code", "column", "message", "hint"),
    [
        ("stages", "RD030", 1, "this override has no `=`", "write the place, `=`, and the value: `train.lr=0.05`"),
        ("=1", "RD030", 1, "a key is missing before `=`", "keys stand between dots, as in `stages.0.depth=5`"),
        ("a..b=1", "RD030", 3, "a key is empty", "keys stand between dots, as in `stages.0.depth=5`"),
        ("a.=1", "RD030", 3, "a key is empty", "keys stand between dots, as in `stages.0.depth=5`"),
        ("a=", "RD030", 3, "there is no value after `=`", "write `null` if no value is meant"),
        ("a= # b", "RD030", 3, "there is no value after `=`", "write `null` if no value is meant"),
        ("a=1\nb", "RD030", 1, "an override is one line", "write lists and mappings as `[a, b]` and `{a: b}`"),
        ("extends=x", "RD030", 1, "`extends` is read before the overrides", "write it in the spec"),
        ("include=x", "RD030", 1, "`include` is read before the overrides", "write it in the spec"),
        ("a." * 64 + "b=1", "RD030", 1, "this is nested more than 64 levels deep",
         "define the inner part as a block under `blocks:` and use it by name"),
        ("stages.2.depth=1", "RD031", 8, "there is no entry 2 in `stages`", "`stages` has 2 entries, 0 to 1"),
        ("stages.99999999999=1", "RD031", 8, "there is no entry 99999999999 in `stages`",
         "`stages` has 2 entries, 0 to 1"),
        ("stages.-1=1", "RD031", 8, "`stages` is a list, and `-1` is no index", "`stages` has 2 entries, 0 to 1"),
        ("stages.depth=1", "RD031", 8, "`stages` is a list, and `depth` is no index", "`stages` has 2 entries, 0 to 1"),
        ("norm.eps=1", "RD031", 6, "`norm` is the single value `batch`, so it has no `eps`",
         "replace it as a whole, as in `norm={…}`"),
        ("train.lr.x.y=1", "RD031", 10, "`train.lr` is the single value `0.1`, so it has no `x`",
         "replace it as a whole, as in `train.lr={…}`"),
        ("empty.0=1", "RD031", 7, "there is no list `empty`", "give it as a whole: `empty=[…]`"),
        ("stage.0.depth=1", "RD031", 1, "there is no list `stage`", "did you mean `stages`?"),
        ("train.x.0=1", "RD031", 7, "there is no list `train.x`", "give it as a whole: `train.x=[…]`"),
        ("stages=[", "RD006", 8, "the list that opens here is never closed", "close it with `]`"),
        ("train={a: ", "RD006", 7, "the mapping that opens here is never closed", "close it with `}`"),
        ("a=[1", "RD006", 5, "expected `,` or `]` in the list", "close the list with `]`"),
        ("a={b: 1, b: 2}", "RD009", 10, "the key `b` is given twice", "keep one of them"),
        ("a=!!x 1", "RD011", 3, "the tag `!!x` is not part of the language",
         "leave the tag out; text that looks like a number goes in quotes"),
        ("a=\x1b[0m", "RD003", 3, "the character U+001B may not stand in a spec",
         'remove it; inside double quotes it can be written as an escape, such as "\\x1b"'),
    ],
)  # fmt: skip
def test_a_wrong_override_is_refused(override, code, column, message, hint):
    with pytest.raises(CompileError) as caught:
        load("spec.yaml", ["name=y", override])
    (found,) = caught.value.diagnostics
    assert (found.code, found.message, found.hint) == (code, message, hint)
    assert found.position is not None
    assert (found.position.file, found.position.line, found.position.column) == ("--set", 2, column)
    assert found.line_text == override


@pytest.mark.parametrize(
    ("value", "have"), [("[]", "is an empty list"), ("[7]", "has one entry, 0")]
)
def test_a_missing_entry_says_which_there_are(value, have):
    assert f"= hint: `stages` {have}" in refusal(f"stages={value}", "stages.1=3")


def test_a_refused_override_reads_well():
    assert refusal("stages.2.depth=1") == (
        "error[RD031]: there is no entry 2 in `stages`\n"
        "  --> --set:1:8\n"
        "   |\n"
        " 1 | stages.2.depth=1\n"
        "   |        ^\n"
        "   = hint: `stages` has 2 entries, 0 to 1\n\n"
        "1 error"
    )


@pytest.mark.parametrize(
    ("before", "override", "whole"),
    [
        ("norm={batch: {eps: 0.1}}", "norm.group.groups=4", "norm={group: {groups: 4}}"),
        ("stem={deep: {width: 8}}", "stem.cifar.width=3", "stem={cifar: {width: 3}}"),
    ],
)
def test_a_second_name_is_the_fault_of_the_override_that_adds_it(before, override, whole):
    section, value = before.split("=")
    rest = "input: {size: 8}\nclasses: 2\nstages: [{block: basic, depth: 1, width: 8}]\n"
    Path("spec.yaml").write_text(f"name: x\n{section}: {value}\n{rest}", encoding="utf-8")
    with pytest.raises(CompileError) as caught:
        read_spec(load("spec.yaml", [override]))
    (found,) = caught.value.diagnostics
    name = override.split(".")[1]
    assert (
        found.message
        == f"`{section}` takes one name with its settings, and `{name}` is a second one"
    )
    assert found.position == Position("--set", 1, 6, len(name))
    assert [item.position.file for item in found.related] == ["spec.yaml"]
    assert found.hint == f"give it as a whole: `{whole}`"
    read_spec(load("spec.yaml", [whole]))


def test_all_wrong_overrides_are_reported_together():
    assert refusal("a", "train.lr=1", "norm.x=2", "b=[").endswith("3 errors")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text() | st.from_regex(r"(stages|train|norm|[.0-9])+=[^a]{0,9}"), max_size=3))
def test_no_override_raises_anything_but_a_compile_error(overrides):
    try:
        source = load("spec.yaml", overrides)
    except CompileError as error:
        found = error.diagnostics
    else:
        found = ()
        assert all(source.line(position) is not None for position in source.positions.values())
    assert all(item.position and item.line_text is not None for item in found)
