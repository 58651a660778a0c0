"""Reading YAML: what each value means, where it stands, and how each refusal reads."""

import math
import subprocess
import sys

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from compiler_tests.effort import grows_linearly
from resnet_dsl.errors import CompileError, Diagnostic, Position, render, render_all
from resnet_dsl.language import compose
from resnet_dsl.language.scalars import resolve
from resnet_dsl.language.source import parse_text, read

SPEC = """\
name: resnet50
input: {channels: 3, size: [224, 192]}
stages:
  - {block: 'bott''leneck', depth: 3}
  - block: "a\\tb + c"
    depth: 6
  - &last [1, 2]
  - *last
empty:
train:
  # a comment
  lr: 0.1
doc: |
  several
  lines
plain: one
  two
"""


def findings(text: str) -> tuple[Diagnostic, ...]:
    with pytest.raises(CompileError) as caught:
        parse_text(text, "spec.yaml")
    return caught.value.diagnostics


def underlined(text: str, position: Position | None) -> str:
    assert position is not None
    line = text.splitlines()[position.line - 1]
    return line[position.column - 1 : position.column - 1 + position.width]


# Values


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("True", True), ("FALSE", False), ("yes", "yes"), ("no", "no"), ("on", "on"), ("off", "off"),
        ("null", None), ("~", None), ("", None), ("nil", "nil"), ("10", 10),
        ("-3", -3), ("+7", 7), ("010", 10), ("0x10", 16), ("0o17", 15), ("1_000", "1_000"), ("0b11", "0b11"),
        ("1:30", "1:30"), ("2015-12-10", "2015-12-10"), ("١", "١"),
        ("1e-4", 1e-4), ("1E5", 1e5), ("1.", 1.0), (".5", 0.5),
        ("-1.5e+3", -1500.0), ("1e", "1e"), (".", "."), ("-", "-"),
        (".inf", math.inf), ("-.inf", -math.inf), ("inf", "inf"), ("'1'", "1"), ('"true"', "true"), ("=", "="),
    ],
)  # fmt: skip
def test_a_scalar_means_what_yaml_1_2_says(text, value):
    if text == "-":
        assert resolve(text) == value
        return
    found = parse_text(f"a: {text}\n").data["a"]
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_is_read():
    assert math.isnan(parse_text("a: .nan").data["a"])


def test_an_alias_becomes_data_of_its_own():
    data = parse_text("a: &x {b: [1]}\nc: *x\n").data
    assert data["a"] == data["c"]
    assert data["a"] is not data["c"]
    assert data["a"]["b"] is not data["c"]["b"]


def test_an_anchor_on_a_key_can_be_used_as_a_value():
    assert parse_text("&n name: 1\nb: *n\n").data == {"name": 1, "b": "name"}


def test_a_byte_order_mark_is_no_part_of_the_text():
    source = parse_text("\ufeffname: x\n")
    assert source.data == {"name": "x"}
    assert source.key_positions["name",] == Position("<text>", 1, 1, 4)


@pytest.mark.parametrize(
    "text", ["---\na: 1\n", "a: 1\n---", "a: 1\r\nb: 2\r\n", "{a: 1}", "a: 1\n...\n"]
)
def test_ordinary_forms_of_one_document_are_read(text):
    if text.endswith("---"):
        assert [item.code for item in findings(text)] == ["RD007"]
    else:
        assert parse_text(text).data["a"] == 1


# Positions


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("name",), "resnet50"),
        (("input",), "{channels: 3, size: [224, 192]}"),
        (("input", "size", 1), "192"),
        (("stages",), "-"),
        (("stages", 0, "block"), "'bott''leneck'"),
        (("stages", 1), "block"),
        (("stages", 2), "[1, 2]"),
        (("stages", 2, 0), "1"),
        (("stages", 3), "*last"),
        (("stages", 3, 1), "2"),
        (("train",), "lr"),
        (("doc",), "|"),
        (("plain",), "one"),
        (("empty",), ""),
    ],
)
def test_a_value_is_underlined(path, expected):
    source = parse_text(SPEC)
    assert underlined(SPEC, source.positions[path]) == expected


def test_every_value_and_every_key_has_a_position():
    source = parse_text(SPEC)
    paths: list[tuple[str | int, ...]] = []

    def walk(value: object, path: tuple[str | int, ...]) -> None:
        paths.append(path)
        if isinstance(value, dict):
            for key, item in value.items():
                assert underlined(SPEC, source.key_positions[(*path, key)]) == key
                walk(item, (*path, key))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                walk(item, (*path, index))

    walk(source.data, ())
    assert set(paths) == set(source.positions)


@pytest.mark.parametrize(
    ("path", "key", "expected"),
    [
        (("input", "chanels"), False, "{channels: 3, size: [224, 192]}"),
        (("stages", 1, "width"), False, "block"),
        (("train", "epochs"), False, "train"),
        (("train", "lr", "x", "y"), False, "0.1"),
        (("classes",), False, "name"),
        (("stages", 9, "block"), False, "stages"),
        (("train",), True, "train"),
        (("stages", 0, "depth"), True, "depth"),
        (("stages", 1, "width"), True, "block"),
    ],
)
def test_a_diagnostic_points_to_the_place_or_the_nearest_around_it(path, key, expected):
    found = parse_text(SPEC).diagnostic("RD101", "m", path, key=key)
    assert underlined(SPEC, found.position) == expected
    assert found.position is not None
    assert found.line_text == SPEC.splitlines()[found.position.line - 1]


@pytest.mark.parametrize(
    ("text", "offset", "length", "expected"),
    [
        ("a: width * botl", 8, 4, "botl"),
        ("a: width", 0, 2, "wi"),
        ("a: width *", 6, 5, "*"),
        ("a: width *", 7, 1, " "),
        ("a: 'it''s w'", 3, 1, "s"),
        ("a: 'it''s w'", 2, 1, "''"),
        ('a: "\\x41b\\tc"', 0, 1, "\\x41"),
        ('a: "\\x41b\\tc"', 2, 2, "\\tc"),
        ("a: &x width", 1, 2, "id"),
        ("a: width", 3, None, "th"),
        ("a: one\n  two", 6, 1, "one"),
        ("a: one", -1, 1, "one"),
    ],
)
def test_the_caret_is_narrowed_inside_a_scalar(text, offset, length, expected):
    source = parse_text(text)
    found = source.diagnostic("RD301", "m", ("a",), offset=offset, length=length)
    assert underlined(text + " ", found.position) == expected


def test_a_diagnostic_on_a_missing_key_reads_well():
    found = parse_text(SPEC, "specs/my.yaml").diagnostic(
        "RD101", "`train` needs `epochs`", ("train", "epochs"), hint="write `epochs: 90`"
    )
    assert render(found) == (
        "error[RD101]: `train` needs `epochs`\n"
        "   --> specs/my.yaml:10:1\n"
        "    |\n"
        " 10 | train:\n"
        "    | ^^^^^\n"
        "    = hint: write `epochs: 90`"
    )


# Refusals: text, code, line:column, the words

REFUSALS = [
    ("", "RD005", "1:1", "there is no spec in this file"),
    ("# only a comment\n", "RD005", "1:1", "there is no spec in this file"),
    ("---\n", "RD005", "1:1", "there is no spec in this file"),
    ("- a\n", "RD008", "1:1", "a spec is a mapping of keys to values, and this is a list"),
    ("\nword\n", "RD008", "2:1", "a spec is a mapping of keys to values, and this is a single value"),
    ("a: 1\nb: 2\na: 3\n", "RD009", "3:1", "the key `a` is given twice"),
    ("1: x\n", "RD010", "1:1", "the key `1` is a number; keys are text"),
    ("a: {true: x}\n", "RD010", "1:5", "the key `true` is a boolean; keys are text"),
    ("~: x\n", "RD010", "1:1", "the key `~` is null; keys are text"),
    (": x\n", "RD010", "1:1", "there is no key before this `:`"),
    ("? [a]\n: b\n", "RD010", "1:3", "a list or a mapping is no key; keys are text"),
    ("a: &x b\n*x : c\n", "RD010", "2:1", "the alias `*x` is no key; keys are text"),
    ("a: !!python/object:os.system {}\n", "RD011", "1:4",
     "the tag `!!python/object:os.system` is not part of the language"),
    ("a: !!int '3'\n", "RD011", "1:4", "the tag `!!int` is not part of the language"),
    ("a: !mine [1]\n", "RD011", "1:4", "the tag `!mine` is not part of the language"),
    ("a: !x!y 1\n", "RD011", "1:4", "tags are not part of the language"),
    ("a: &x {b: 1}\nc:\n  <<: *x\n", "RD012", "3:3", "`<<` is not part of the language"),
    ("a: *b\n", "RD013", "1:4", "there is no anchor `&b` above this alias"),
    ("a: &x [1, *x]\n", "RD013", "1:11", "the alias `*x` stands inside its own anchor"),
    ("a: 1\n---\nb: 2\n", "RD007", "2:1", "a second document begins here"),
    ("a: b\n...\nc\n", "RD007", "3:1", "there is text after the end of the document"),
    ("a: 1\n%YAML 1.1\n", "RD006", "2:1", "directives are not needed"),
    ("%YAML 3.0\n---\na: 1\n", "RD006", "1:1", "directives are not needed"),
    ("\ta: b\n", "RD006", "1:1", "a tab stands where YAML wants spaces"),
    ("a:\n\tb: c\n", "RD006", "2:1", "a tab stands where YAML wants spaces"),
    ("a: b: c\n", "RD006", "1:5", "this `:` does not belong here"),
    ("a\nb: c\n", "RD006", "2:2", "this `:` does not belong here"),
    ("a: 1\n  b: 2\n", "RD006", "2:4", "this `:` does not belong here"),
    ("a: [1, 2\n", "RD006", "2:1", "expected `,` or `]` in the list"),
    ("a: {b: 1\nc: 2\n", "RD006", "2:2", "expected `,` or `}` in the mapping"),
    ("a: 'x\n", "RD006", "1:4", "the quote that opens here is never closed"),
    ('a: "x\n--- y"\n', "RD006", "1:4", "the quote that opens here is never closed"),
    ('a: "\\q"\n', "RD006", "1:5", "there is no such escape inside double quotes"),
    ("a: }\n", "RD006", "1:4", "a value is missing before `}`"),
    ("a: [1,\n", "RD006", "1:4", "the list that opens here is never closed"),
    ("a: {b: [\n\n", "RD006", "1:8", "the list that opens here is never closed"),
    ("a: {b:\n", "RD006", "1:4", "the mapping that opens here is never closed"),
    ("a: [1,,2]\n", "RD006", "1:7", "a value is missing before `,`"),
    ("- a\nb: c\n", "RD006", "2:1", "a list entry begins with `-`, and this does not"),
    ("a: @x\n", "RD006", "1:4", "a value cannot begin with `@`"),
    ("a: &\n", "RD006", "1:5", "`&` and `*` need a name"),
    ("a: |x\n b\n", "RD006", "1:4", "text begins on the line after `|` or `>`"),
    ("a: - b\n", "RD006", "1:4", "a list cannot begin on the line of its key"),
    ("a:\n  b: 1\n c: 2\n", "RD006", "3:2", "this line is indented like none of the lines it could belong to"),
    ("a: [b]]\n", "RD006", "1:7", "the value before this is complete; nothing may follow it"),
    ("a: 'x' y\n", "RD006", "1:8", "the value before this is complete; nothing may follow it"),
    ("a: 1\n" + "k" * 1100 + "\nb: 2\n", "RD006", "2:1", "this line has no `:`"),
    ("a: x\nb: \x00\n", "RD003", "2:4", "the character U+0000 may not stand in a spec"),
    ("a: \x1b[31m\n", "RD003", "1:4", "the character U+001B may not stand in a spec"),
    ("a: \u2028\n", "RD003", "1:4", "the character U+2028 may not stand in a spec"),
    ("a: \ud800\n", "RD003", "1:4", "the character U+D800 may not stand in a spec"),
    ("a: " + "9" * 5000, "RD016", "1:4", "a number of 5000 digits is not a number that can be computed with"),
    ("a: 0x" + "f" * 5000, "RD016", "1:4", "a number of 5002 digits is not a number that can be computed with"),
    ("a: 1e999", "RD016", "1:4", "a number above 1.8e308 is not a number that can be computed with"),
    ("a: " + "[" * 64 + "]" * 64, "RD014", "1:67", "this is nested more than 64 levels deep"),
]  # fmt: skip


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="the columns are libyaml's")
@pytest.mark.parametrize(("text", "code", "place", "message"), REFUSALS)
def test_a_refusal_says_what_and_where(text, code, place, message):
    (found,) = findings(text)
    assert found.position is not None
    assert (found.code, f"{found.position.line}:{found.position.column}", found.message) == (
        code,
        place,
        message,
    )
    assert found.line_text is not None
    assert found.why or found.hint or code in ("RD010", "RD016")


@pytest.mark.parametrize(("text", "code", "place", "message"), REFUSALS)
def test_without_libyaml_the_same_text_is_refused(monkeypatch, text, code, place, message):
    monkeypatch.setattr(compose, "_Loader", yaml.SafeLoader)
    assert {item.code for item in findings(text)} <= {code, "RD006"}


def test_a_duplicate_key_points_to_both_places():
    text = "stages:\n  - block: basic\n    depth: 3\n    depth: 4\n"
    with pytest.raises(CompileError) as caught:
        parse_text(text, "spec.yaml")
    assert render_all(caught.value) == (
        "error[RD009]: the key `depth` is given twice\n"
        "  --> spec.yaml:4:5\n"
        "   |\n"
        " 4 |     depth: 4\n"
        "   |     ^^^^^\n"
        "  ::: spec.yaml:3:5\n"
        "   |\n"
        " 3 |     depth: 3\n"
        "   |     ----- first given here\n"
        "   = why: YAML would drop one of the two values silently\n"
        "   = hint: keep one of them\n\n"
        "1 error"
    )


def test_an_unclosed_list_points_to_its_opening():
    (found,) = findings("a:\n  b: [1, 2\nc: 3\n")
    assert [item.position.line for item in found.related] == [2]


def test_independent_findings_are_reported_together():
    text = "a: 1\na: 2\nb: {c: 1, c: 2}\n1: x\nd: !t 3\ne: *no\n<<: x\nf: 1e999\ng: 'open\n"
    codes = [item.code for item in findings(text)]
    assert codes == ["RD009", "RD009", "RD010", "RD011", "RD013", "RD012", "RD016", "RD006"]


def test_the_number_of_findings_is_bounded():
    assert len(findings("a: 1\n" * 50_000)) == 100


def test_a_misspelt_alias_gets_a_suggestion():
    (found,) = findings("a: &bottleneck {b: 1}\nc: *botleneck\n")
    assert found.hint == "did you mean `bottleneck`?"


def test_an_alias_bomb_is_refused_before_it_is_expanded():
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    for level in range(1, 30):
        text += f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]\n"
    (found,) = findings(text)
    assert found.code == "RD015"
    assert found.position is not None
    assert found.position.line == 5


def test_many_plain_values_are_refused_too():
    (found,) = findings("a: [" + "x," * 100_001 + "]")
    assert found.code == "RD015"


def test_aliases_count_towards_the_depth():
    text = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 80))
    (found,) = findings(text)
    assert found.code == "RD014"


def test_the_deepest_and_largest_that_is_allowed_is_read():
    data = parse_text("a: " + "[" * 63 + "]" * 63).data["a"]
    depth = 0
    while data is not None:
        data = data[0] if data else None
        depth += 1
    assert depth == 63
    assert len(parse_text("a: [" + "x," * 99_000 + "]").data["a"]) == 99_000


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[a,", "&a ", "!", "'", "*"])
def test_a_flood_of_one_character_is_refused_quickly(opening):
    def prepare(size: int):
        return lambda: findings("a:\n  " + opening * (size + 1))

    assert grows_linearly(prepare, 30_000)


# Files


def refusal(path) -> str:
    with pytest.raises(CompileError) as caught:
        read(path)
    return render_all(caught.value)


def test_read_keeps_extends_and_names_the_file(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("extends: b.yaml\nname: x\n", encoding="utf-8")
    source = read(str(file))
    assert source.data == {"extends": "b.yaml", "name": "x"}
    assert tuple(source.texts) == (str(file),)
    assert source.positions["name",].file == str(file)
    assert source.line(source.positions["name",]) == "name: x"
    assert source.line(Position("elsewhere", 1, 1)) is None
    assert source.line(Position(str(file), 9, 1)) is None


def test_a_missing_file_suggests_its_neighbours(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resnet50.yaml").touch()
    (tmp_path / "vgg16.yaml").touch()
    assert refusal("resnet5.yaml") == (
        "error[RD001]: there is no file `resnet5.yaml`\n"
        "  = hint: did you mean `resnet50.yaml`?\n\n1 error"
    )
    assert "= hint: in `.` there is `resnet50.yaml`, `vgg16.yaml`" in refusal("zzz.yaml")
    assert "= why: there is no folder `no`" in refusal("no/resnet50.yaml")
    assert "= why: part of its path is a file" in refusal("vgg16.yaml/x")


def test_a_folder_is_no_spec(tmp_path):
    (tmp_path / "a.yaml").touch()
    assert refusal(tmp_path).startswith(
        f"error[RD001]: `{tmp_path}` is a folder, not a file\n"
        f"  = hint: in `{tmp_path}` there is `a.yaml`"
    )


def test_bytes_that_are_not_utf_8_are_located(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_bytes(b"a: 1\nb: caf\xe9\n")
    assert refusal("a.yaml").startswith(
        "error[RD002]: the byte 0xe9 is not UTF-8 text\n  --> a.yaml:2:7\n"
    )
    (tmp_path / "a.yaml").write_bytes(b"a: 1\n\xff\n")
    assert "--> a.yaml:2:1" in refusal("a.yaml")
    (tmp_path / "a.yaml").write_bytes("a: 1".encode("utf-16"))
    assert refusal("a.yaml").startswith("error[RD002]: `a.yaml` is UTF-16")


def test_a_byte_order_mark_of_a_file_is_no_part_of_its_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text("\ufeffname: x\n", encoding="utf-8")
    source = read("a.yaml")
    assert source.data == {"name": "x"}
    assert source.key_positions["name",] == Position("a.yaml", 1, 1, 4)
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfb: caf\xe9\n")
    assert "--> a.yaml:1:7" in refusal("a.yaml")


def test_a_file_may_have_four_mebibytes(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("a: 1 #" + "x" * (4 * 1024**2 - 6), encoding="utf-8")
    assert read(file).data == {"a": 1}
    with file.open("a") as stream:
        stream.write("x")
    assert "error[RD004]" in refusal(file)


@pytest.mark.parametrize("name", ["a\0b", "y" * 5000])
def test_a_name_that_no_file_can_have_is_refused(name):
    assert "cannot be read" in refusal(name)


def test_a_file_that_may_not_be_read_is_refused(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    file = tmp_path / "a.yaml"
    monkeypatch.setattr("pathlib.Path.open", denied)
    assert f"error[RD001]: `{file}` may not be read" in refusal(file)


# Properties

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.1 leaves plain and YAML 1.2 reads as no text (`1e-4`, `0o17`)."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = all(c < "\ud800" or c > "\udfff" for c in text)
    style = None if plain and text and isinstance(_resolved(text), str) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _resolved(text: str) -> object:
    try:
        return resolve(text)
    except OverflowError:
        return None


Dumper.add_representer(str, _text)


@given(st.dictionaries(st.text(), PLAIN, max_size=5), st.booleans())
@example({"a": "1e-4", "b": "0o17", "c": "yes", "<<": "=", "": "\x00\x85\u2028"}, True)
def test_plain_data_comes_back_as_it_was_written(data, flow):
    text = yaml.dump(data, Dumper=Dumper, default_flow_style=flow, allow_unicode=False)
    assert parse_text(text).data == data


FRAGMENTS = st.lists(
    st.sampled_from(
        [*"abc:-?[]{},&*!|>'\"%@`#\\ \n\t\r~<=.0129e_", "\n  ", "\n- ", ": ", "&a ", "*a", "---", "...",
         "!!int ", "<<: ",
         "\ufeff", "\x85", "\\x41", "\\U0001F600", "\\UFFFFFFFF", "%TAG ! x:\n", "%YAML 1.2\n", "é", "名"]
    ),
    max_size=40,
).map("".join)  # fmt: skip


@pytest.mark.parametrize("loader", [compose._Loader, yaml.SafeLoader], ids=["default", "pure"])
@given(text=st.text() | FRAGMENTS)
@example(text='a: "\\UFFFFFFFF"')
@example(text="\ufeff")
@example(text="a: \ufeff")
@example(text="a: &a &b c")
@example(text="%YAML 1." + "9" * 5000)
def test_no_text_raises_anything_but_a_compile_error(loader, text):
    before, compose._Loader = compose._Loader, loader
    try:
        source = parse_text(text)
    except CompileError as error:
        found = error.diagnostics
    else:
        found = ()
        for position in [*source.positions.values(), *source.key_positions.values()]:
            assert source.line(position) is not None
    finally:
        compose._Loader = before
    assert all(item.position and item.line_text is not None and render(item) for item in found)


# Speed


def test_the_work_is_linear_in_the_length_of_the_text():
    def prepare(stages):
        line = "  - {block: bottleneck, depth: 3, width: 64, stride: 2}\n"
        return lambda: parse_text("name: x\nstages:\n" + line * stages)

    assert grows_linearly(prepare, 100)


def test_importing_costs_no_library_but_yaml():
    code = (
        "import sys; import resnet_dsl.language.source; "
        "print(*{m.split('.')[0] for m in sys.modules} & "
        "{'pydantic', 'numpy', 'rich', 'torch', 'onnx', 'typer', 'jinja2', 'difflib'})"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == ""
