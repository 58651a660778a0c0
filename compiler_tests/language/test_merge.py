"""`extends` and `include`: what comes from where, and every way in which it is refused."""

from pathlib import Path

import pytest

from resnet_dsl.errors import CompileError, Diagnostic, render_all
from resnet_dsl.language.source import load


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(**texts: str) -> None:
    """`a=...` writes a.yaml; `sub__a` writes sub/a.yaml."""
    for name, text in texts.items():
        file = Path(name.replace("__", "/") + ".yaml")
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")


def refusal(path: str, **options) -> str:
    with pytest.raises(CompileError) as caught:
        load(path, **options)
    return render_all(caught.value)


def test_mappings_merge_key_by_key_and_everything_else_replaces():
    write(
        base="name: base\nstages: [1, 2]\ntrain: {lr: 0.1, decay: {by: 10, at: [1]}}\nnorm: batch\n",
        child="extends: base.yaml\nname: child\nstages: [3]\ntrain: {decay: {at: [2]}}\nnorm: {group: {groups: 8}}\n",
    )
    source = load("child.yaml")
    assert source.data == {
        "name": "child",
        "stages": [3],
        "train": {"lr": 0.1, "decay": {"by": 10, "at": [2]}},
        "norm": {"group": {"groups": 8}},
    }
    assert list(source.data) == ["name", "stages", "train", "norm"]
    assert tuple(source.texts) == ("child.yaml", "base.yaml")


def test_settings_of_a_training_are_laid_over_a_recipe_that_is_named_alone():
    write(
        base="name: base\ntrain: digits\n",
        child="extends: base.yaml\ntrain: {seed: 3}\n",
        other="extends: child.yaml\ntrain: cifar-2015\n",
    )
    source = load("child.yaml")
    assert source.data["train"] == {"recipe": "digits", "seed": 3}
    assert source.positions["train", "recipe"].file == "base.yaml"
    assert load("other.yaml").data["train"] == "cifar-2015"


def test_each_value_keeps_the_position_it_was_written_at():
    write(
        base="name: base\ntrain:\n  lr: 0.1\n  epochs: 3\n",
        child="extends: base.yaml\ntrain:\n  lr: 0.5\n",
    )
    source = load("child.yaml")
    assert source.positions["train", "lr"].file == "child.yaml"
    assert source.positions["train", "epochs"].file == "base.yaml"
    assert source.key_positions["train", "epochs"].line == 4
    found = source.diagnostic("RD101", "m", ("train", "epochs"))
    assert found.line_text == "  epochs: 3"


def test_names_are_relative_to_the_file_that_writes_them():
    write(
        base="include: sub/blocks.yaml\nname: base\n",
        sub__child="extends: ../base.yaml\nname: child\n",
        sub__blocks="blocks: {a: 1}\n",
    )
    source = load("sub/child.yaml")
    assert source.data == {"name": "child", "blocks": {"a": 1}}
    assert tuple(source.texts) == ("sub/child.yaml", "base.yaml", "sub/blocks.yaml")


def test_a_name_that_is_no_neighbour_is_resolved():
    write(child="extends: resnet50\n", library__resnet50="name: resnet50\n")
    calls = []

    def resolve(name: str, including: Path) -> Path:
        calls.append((name, including))
        return Path("library/resnet50.yaml")

    assert load("child.yaml", resolve=resolve).data == {"name": "resnet50"}
    assert calls == [("resnet50", Path("child.yaml"))]


def test_a_neighbour_comes_before_a_name_that_is_resolved():
    write(child="extends: base.yaml\n", base="name: neighbour\n")
    assert load("child.yaml", resolve=lambda *_: Path("nowhere")).data == {"name": "neighbour"}


@pytest.mark.parametrize("error", [KeyError("x"), FileNotFoundError("x")])
def test_a_name_that_cannot_be_resolved_is_shown_where_it_stands(error):
    def resolve(name: str, including: Path) -> Path:
        raise error

    write(child="name: x\nextends: resnet5\n", resnet50="name: y\n")
    assert refusal("child.yaml", resolve=resolve) == (
        "error[RD021]: there is no file `resnet5`\n"
        "  --> child.yaml:2:10\n"
        "   |\n"
        " 2 | extends: resnet5\n"
        "   |          ^^^^^^^\n"
        "   = hint: did you mean `resnet50.yaml`?\n\n"
        "1 error"
    )


def test_what_the_resolver_says_is_shown_where_the_name_stands():
    def resolve(name: str, including: Path) -> Path:
        raise CompileError(Diagnostic("RD201", f"there is no spec `{name}`"))

    write(child="extends: nothing\n")
    assert refusal("child.yaml", resolve=resolve).startswith(
        "error[RD201]: there is no spec `nothing`\n  --> child.yaml:1:10\n"
    )


def test_a_suggestion_is_what_to_write_in_that_file():
    write(sub__child="extends: ../other/bse.yaml\n", other__base="name: x\n")
    text = refusal("sub/child.yaml")
    assert "there is no file `other/bse.yaml`" in text
    assert "did you mean `../other/base.yaml`?" in text


def test_definitions_are_added_from_included_files_and_theirs():
    write(
        child="include: [one.yaml, two.yaml]\nname: x\nblocks: {mine: {a: 0}}\n",
        one="include: three.yaml\nblocks: {first: {a: 1}}\n",
        two="include: three.yaml\nstems: {second: {a: 2}}\n",
        three="blocks: {third: {a: 3}}\nheads: {h: 1}\nshortcuts: {s: 1}\nrecipes: {r: 1}\n",
    )
    source = load("child.yaml")
    assert source.data == {
        "name": "x",
        "blocks": {"mine": {"a": 0}, "first": {"a": 1}, "third": {"a": 3}},
        "heads": {"h": 1},
        "shortcuts": {"s": 1},
        "recipes": {"r": 1},
        "stems": {"second": {"a": 2}},
    }
    assert source.positions["blocks", "third", "a"].file == "three.yaml"


def test_a_spec_may_share_an_include_with_the_spec_it_extends():
    write(
        base="include: defs.yaml\nname: base\n",
        child="extends: base.yaml\ninclude: defs.yaml\nname: child\n",
        defs="blocks: {a: 1}\n",
    )
    assert load("child.yaml").data == {"name": "child", "blocks": {"a": 1}}


def test_a_definition_given_twice_points_to_both():
    write(
        child="include: defs.yaml\nblocks:\n  bottleneck: {a: 1}\n",
        defs="blocks:\n  other: 1\n  bottleneck: 2\n",
    )
    assert refusal("child.yaml") == (
        "error[RD025]: `bottleneck` is defined twice under `blocks`\n"
        "  --> defs.yaml:3:3\n"
        "   |\n"
        " 3 |   bottleneck: 2\n"
        "   |   ^^^^^^^^^^\n"
        "  ::: child.yaml:3:3\n"
        "   |\n"
        " 3 |   bottleneck: {a: 1}\n"
        "   |   ---------- also defined here\n"
        "   = hint: rename one of them, or remove the `include`\n\n"
        "1 error"
    )


def test_two_included_files_may_not_define_the_same_name():
    write(
        child="include: [one.yaml, two.yaml]\n",
        one="heads: {h: 1, g: 1}\n",
        two="heads: {h: 2, g: 2}\n",
    )
    text = refusal("child.yaml")
    assert "--> two.yaml:1:9" in text
    assert "::: one.yaml:1:9" in text
    assert text.endswith("2 errors")


def test_an_included_file_holds_definitions_only():
    write(child="include: defs.yaml\n", defs="block: {a: 1}\nname: x\nheads: 3\n")
    text = refusal("child.yaml")
    assert "error[RD024]: `block` may not stand in an included file\n  --> defs.yaml:1:1" in text
    assert "did you mean `blocks`?" in text
    assert "error[RD024]: `name` may not stand in an included file\n  --> defs.yaml:2:1" in text
    assert "write `extends` to build on a whole spec" in text
    assert "error[RD024]: `heads` holds definitions by their names\n  --> defs.yaml:3:8" in text
    assert text.endswith("3 errors")


def test_definitions_beside_something_that_is_no_mapping_are_left_to_the_schema():
    write(child="include: defs.yaml\nblocks: 3\n", defs="blocks: {a: 1}\n")
    assert load("child.yaml").data == {"blocks": 3}


def test_a_cycle_is_refused_with_its_chain():
    write(a="extends: b.yaml\n", b="extends: c.yaml\n", c="name: x\nextends: b.yaml\n")
    assert refusal("a.yaml") == (
        "error[RD022]: `b.yaml` leads back to itself\n"
        "  --> c.yaml:2:10\n"
        "   |\n"
        " 2 | extends: b.yaml\n"
        "   |          ^^^^^^\n"
        "   = why: the cycle is `b.yaml` → `c.yaml` → `b.yaml`\n"
        "   = hint: remove one of these `extends`\n\n"
        "1 error"
    )


@pytest.mark.parametrize("verb", ["extends", "include"])
def test_a_file_that_names_itself_is_a_cycle(verb):
    write(sub__a=f"{verb}: ../sub/a.yaml\n")
    text = refusal("sub/a.yaml")
    assert "error[RD022]" in text
    assert "the cycle is `sub/a.yaml` → `sub/a.yaml`" in text


def test_a_cycle_of_includes_is_refused_with_its_chain():
    write(a="include: b.yaml\n", b="include: c.yaml\n", c="include: b.yaml\n")
    assert "the cycle is `b.yaml` → `c.yaml` → `b.yaml`" in refusal("a.yaml")


def test_a_cycle_through_extends_and_include_is_refused():
    write(a="extends: b.yaml\n", b="include: a.yaml\n")
    assert "the cycle is `a.yaml` → `b.yaml` → `a.yaml`" in refusal("a.yaml")


def test_a_cycle_through_a_link_is_refused():
    write(a="extends: b.yaml\n")
    Path("b.yaml").symlink_to("a.yaml")
    assert "error[RD022]" in refusal("a.yaml")


def test_sixteen_files_in_a_row_are_read_and_no_more():
    write(**{f"f{i}": f"extends: f{i + 1}.yaml\n" for i in range(16)}, f16="name: x\n")
    assert load("f1.yaml").data == {"name": "x"}
    text = refusal("f0.yaml")
    assert "error[RD023]: more than 16 files in a row\n  --> f15.yaml:1:10" in text


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "~/x.yaml", "http://host/x.yaml", "file:x", "C:\\x.yaml", "\\\\host\\x.yaml"],
)
@pytest.mark.parametrize("verb", ["extends", "include"])
def test_only_relative_names_are_followed(name, verb):
    write(a=f"{verb}: '{name}'\n")
    assert f"error[RD020]: `{name}` is not relative to this file\n  --> a.yaml:1:10" in refusal(
        "a.yaml"
    )


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("extends: [b.yaml]", "write `extends: base.yaml`"),
        ("extends:", "write `extends: base.yaml`"),
        ("extends: 3", "write `extends: base.yaml`"),
        ("include: {a: b}", "write `include: [blocks.yaml]`"),
        ("include: ['']", "write `include: [blocks.yaml]`"),
        ("include: [[a]]", "write `include: [blocks.yaml]`"),
    ],
)
def test_extends_and_include_take_names(text, hint):
    write(a=text)
    found = refusal("a.yaml")
    assert f"error[RD020]: `{text[:7]}` takes the name of a file" in found
    assert hint in found


def test_all_wrong_names_are_reported_together():
    write(a="include: [/x, 3, missing.yaml]\n")
    assert refusal("a.yaml").endswith("3 errors")


def test_a_file_that_cannot_be_read_is_shown_where_it_is_named():
    write(a="name: x\nextends: sub\n")
    Path("sub").mkdir()
    assert refusal("a.yaml").startswith(
        "error[RD001]: `sub` is a folder, not a file\n  --> a.yaml:2:10"
    )


def test_what_is_wrong_inside_another_file_is_shown_there():
    write(a="extends: b.yaml\n", b="x: 1\nx: 2\n")
    assert "error[RD009]: the key `x` is given twice\n  --> b.yaml:2:1" in refusal("a.yaml")


def test_a_missing_spec_has_no_position():
    write(resnet50="name: x\n")
    assert refusal("resnet5.yaml").startswith(
        "error[RD001]: there is no file `resnet5.yaml`\n  = hint: did you mean `resnet50.yaml`?"
    )
