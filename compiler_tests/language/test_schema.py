"""The schema of a spec: its defaults, its short forms, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from compiler_tests.spec_texts import BASE, FILE, changed, refusals, refused
from resnet_dsl.language.reading import read_spec
from resnet_dsl.language.schema import Spec
from resnet_dsl.language.source import parse_text

MINIMAL = """\
name: net
input: {size: 8}
classes: 2
stages:
  - {block: basic, depth: 1, width: 4}
"""


def spec(text: str) -> Spec:
    return read_spec(parse_text(text, FILE))


def dumped(text: str, *path: str) -> Any:
    value: Any = spec(text).model_dump()
    for step in path:
        value = value[step]
    return value


def test_every_default_is_that_of_the_schema() -> None:
    found = dumped(MINIMAL)
    assert found["input"] == {"channels": 3, "size": (8, 8)}
    assert found["norm"] == {"kind": "batch", "eps": 1e-5, "momentum": 0.1}
    assert found["activation"] == {"kind": "relu", "slope": None}
    assert found["init"] == {
        "conv": "he_normal",
        "mode": "fan_out",
        "linear": "uniform",
        "scale": 0.01,
        "zero_last_norm": False,
    }
    assert found["shortcut"] == {"name": "B", "arguments": {}}
    assert [found[key] for key in ("stem", "head", "skip", "trunk", "drop_path")] == [None] * 5
    assert found["stages"][0]["stride"] == found["stages"][0]["dilation"] == 1


SHORT_FORMS = {
    "size": ("size: 8", "size: [8, 8]"),
    "norm": ("classes: 2", "classes: 2\nnorm: group", "classes: 2\nnorm: {group: {}}"),
    "activation": (
        "classes: 2",
        "classes: 2\nactivation: silu",
        "classes: 2\nactivation: {silu: {}}",
    ),
    "stem": ("classes: 2", "classes: 2\nstem: cifar", "classes: 2\nstem: {cifar: {}}"),
    "block": ("block: basic", "block: basic", "block: [basic]"),
    "train": ("classes: 2", "classes: 2\ntrain: digits", "classes: 2\ntrain: {recipe: digits}"),
}


@pytest.mark.parametrize("forms", SHORT_FORMS.values(), ids=SHORT_FORMS)
def test_a_short_form_means_the_long_one(forms: tuple[str, ...]) -> None:
    place, *spellings = forms
    texts = [changed((place, spelling), text=MINIMAL) for spelling in spellings]
    found = [dumped(text) for text in ([MINIMAL] if len(texts) == 1 else []) + texts]
    assert found[0] == found[-1]


def test_a_list_of_blocks_is_its_own_depth() -> None:
    text = changed(("block: basic, depth: 1", "block: [basic, bottleneck]"), text=MINIMAL)
    assert spec(text).stages[0].depth == 2


def test_other_keys_of_a_stage_are_parameters_of_its_blocks() -> None:
    text = changed(("width: 4", "width: 4, expansion: index + 1, groups: 2"), text=MINIMAL)
    assert spec(text).stages[0].parameters == {"expansion": "index + 1", "groups": 2}


REFUSED = {
    "no name": (MINIMAL.replace("name: net\n", ""), "RD102"),
    "no stages": (MINIMAL.split("stages")[0], "RD102"),
    "an empty list of stages": (MINIMAL.split("stages")[0] + "stages: «[]»\n", "RD106"),
    "stages as a mapping": (MINIMAL.split("stages")[0] + "stages: «{a: 1}»\n", "RD105"),
    "classes as text": (changed(("classes: 2", "classes: «two»"), text=MINIMAL), "RD105"),
    "classes as a truth": (changed(("classes: 2", "classes: «true»"), text=MINIMAL), "RD105"),
    "classes as a real": (changed(("classes: 2", "classes: «2.0»"), text=MINIMAL), "RD105"),
    "no classes": (changed(("classes: 2", "classes: «0»"), text=MINIMAL), "RD106"),
    "too many classes": (changed(("classes: 2", "classes: «99999999»"), text=MINIMAL), "RD106"),
    "size of none": (changed(("size: 8", "size: «0»"), text=MINIMAL), "RD106"),
    "size of three": (changed(("size: 8", "size: «[8, 8, 8]»"), text=MINIMAL), "RD106"),
    "size as text": (changed(("size: 8", "size: «big»"), text=MINIMAL), "RD105"),
    "one of a pair": (changed(("size: 8", "size: [8, «0»]"), text=MINIMAL), "RD106"),
    "an unknown norm": (changed(("classes: 2", "classes: 2\nnorm: «bacth»"), text=MINIMAL), "RD103"),
    "two norms": (changed(("classes: 2", "classes: 2\nnorm: «{batch: {}, none: {}}»"), text=MINIMAL), "RD105"),
    "a setting of another norm": (
        changed(("classes: 2", "classes: 2\nnorm: {batch: {«groups»: 3}}"), text=MINIMAL),
        "RD101",
    ),
    "eps that is no number": (
        changed(("classes: 2", "classes: 2\nnorm: {batch: {eps: «.nan»}}"), text=MINIMAL),
        "RD106",
    ),
    "an unknown activation": (
        changed(("classes: 2", "classes: 2\nactivation: «relo»"), text=MINIMAL),
        "RD103",
    ),
    "a slope of relu": (
        changed(("classes: 2", "classes: 2\nactivation: «{relu: {slope: 0.1}}»"), text=MINIMAL),
        "RD107",
    ),
    "an unknown initialisation": (
        changed(("classes: 2", "classes: 2\ninit: {conv: «he»}"), text=MINIMAL),
        "RD103",
    ),
    "a rate of one": (changed(("classes: 2", "classes: 2\ndrop_path: {rate: «1»}"), text=MINIMAL), "RD106"),
    "depth of none": (changed(("depth: 1", "depth: «0»"), text=MINIMAL), "RD106"),
    "half a pattern": (
        changed(("{block: basic, depth: 1, width: 4}", "{block: [basic, basic], depth: «3», width: 4}"), text=MINIMAL),
        "RD107",
    ),
    "a block that is a number": (changed(("block: basic", "block: «5»"), text=MINIMAL), "RD105"),
    "a block of two names": (changed(("block: basic", "block: «{basic: {}, vgg: {}}»"), text=MINIMAL), "RD105"),
    "a parameter that is a list": (changed(("width: 4", "width: 4, groups: «[1]»"), text=MINIMAL), "RD105"),
    "width of nothing": (changed(("width: 4", "width: «null»"), text=MINIMAL), "RD105"),
    "width of none": (changed(("width: 4", "width: «0»"), text=MINIMAL), "RD106"),
    "width beyond all bounds": (changed(("width: 4", "width: «1048577»"), text=MINIMAL), "RD106"),
    "width beyond all integers": (changed(("width: 4", "width: «99999999999999999999»"), text=MINIMAL), "RD106"),
    "width as half an expression": (changed(("width: 4", "width: 4 «*»"), text=MINIMAL), "RD301"),
    "a negative learning rate": (changed(("classes: 2", "classes: 2\ntrain: {lr: «-1»}"), text=MINIMAL), "RD106"),
    "an unknown key of train": (changed(("classes: 2", "classes: 2\ntrain: {«lrr»: 1}"), text=MINIMAL), "RD101"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "code"), REFUSED.values(), ids=REFUSED)
def test_what_the_schema_refuses_is_refused_where_it_stands(text: str, code: str) -> None:
    if "«" in text:
        refused(text, code)
    else:
        assert [item.code for item in refusals(text)] == [code]


SAID = {
    "text for a number": (
        ("classes: 2", "classes: '2'"),
        "`classes` must be an integer, not the text `2`",
        "write `2` without quotes",
    ),
    "text for a truth": (
        ("classes: 2", "classes: 2\ntrain: {nesterov: 'true'}"),
        "`nesterov` must be true or false, not the text `true`",
        "write `true` without quotes",
    ),
    "text that is no number": (
        ("classes: 2", "classes: '2.5'"),
        "`classes` must be an integer, not `2.5`",
        None,
    ),
    "no entries": (
        ("stages:\n  - {block: basic, depth: 1, width: 4}", "stages: []"),
        "`stages` needs at least one entry",
        None,
    ),
    "half a pattern": (
        ("block: basic, depth: 1", "block: [basic, basic], depth: 3"),
        "a depth of 3 is not a whole number of patterns of 2 blocks",
        "write `depth: 2` or `depth: 4`",
    ),
    "less than a pattern": (
        ("block: basic", "block: [basic, basic]"),
        "a depth of 1 is not a whole number of patterns of 2 blocks",
        "write `depth: 2`",
    ),
    "a key like one that is read before the others": (
        ("classes: 2", "classes: 2\nextend: resnet18"),
        "unknown key `extend`",
        "did you mean `extends`?",
    ),
    "a name in a stage": (
        ("width: 4", "width: foo * 2"),
        "there is no `foo` here",
        "write the value itself, or work it out from `blocks`, `depth`, `index` or `number`",
    ),
    "a name in an argument of the stem": (
        ("classes: 2", "classes: 2\nstem: {cifar: {width: foo * 2}}"),
        "there is no `foo` here",
        "write the value itself",
    ),
}


@pytest.mark.parametrize(("change", "message", "hint"), SAID.values(), ids=SAID)
def test_what_is_refused_is_said_in_the_author_s_words(
    change: tuple[str, str], message: str, hint: str | None
) -> None:
    (found,) = refusals(changed(change, text=MINIMAL))
    assert (found.message, found.hint) == (message, hint)


def test_an_unknown_key_is_answered_with_every_key_there_is() -> None:
    (found,) = refusals(f"{MINIMAL}zzzzzz: 1\n")
    assert found.hint is not None
    assert found.hint.startswith("known here: name, doc, input, ")
    assert found.hint.endswith(", recipes, extends, include")


def test_a_typo_in_a_key_is_no_silent_default() -> None:
    for key in ("stem", "shortcut", "head", "name", "input", "classes", "stages"):
        codes = {item.code for item in refusals(BASE.replace(f"{key}:", f"{key}x:", 1))}
        assert "RD101" in codes, key


def test_unknown_names_are_reported_with_what_the_schema_finds() -> None:
    text = changed(("classes: 10", "classes: ten"), ("block: basic", "block: basik"))
    found = [(item.code, item.hint) for item in refusals(text)]
    assert found == [("RD105", None), ("RD201", "did you mean `basic`?")]


SECTIONS = {
    "input": ("input: {channels: 3, size: 32, zzzzzz: 1}", "channels, size"),
    "norm": ("norm: {group: {zzzzzz: 1}}", "groups, eps"),
    "init": ("init: {zzzzzz: 1}", "conv, mode"),
    "drop_path": ("drop_path: {rate: 0.1, zzzzzz: 1}", "rate, schedule"),
    "train": ("train: {zzzzzz: 1}", "data, path, download"),
    "block": ("blocks: {mine: {body: [norm], zzzzzz: 1}}", "doc, as, parameters"),
    "parameter": (
        "blocks: {mine: {parameters: {k: {default: 1, zzzzzz: 1}}, body: [norm]}}",
        "type, default",
    ),
    "operation": ("blocks: {mine: {body: [conv: {out: 4, kernel: 1, zzzzzz: 1}]}}", "out, kernel"),
    "shortcut": ("shortcuts: {mine: {body: [norm], zzzzzz: 1}}", "doc, as, parameters"),
}


@pytest.mark.parametrize(("section", "known"), SECTIONS.values(), ids=SECTIONS)
def test_an_unknown_key_of_any_section_is_answered_with_its_keys(section: str, known: str) -> None:
    text = MINIMAL
    if section.startswith("input"):
        text = "\n".join(line for line in text.splitlines() if not line.startswith("input")) + "\n"
    hints = [item.hint or "" for item in refusals(f"{text}{section}\n") if item.code == "RD101"]
    assert len(hints) == 1
    assert hints[0].startswith(f"known here: {known}")
