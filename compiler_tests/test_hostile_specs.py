"""Specs from someone who means ill: their strings stay data, their names clash with nothing, their size is bounded."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from resnet_dsl.analysis.summary import describe
from resnet_dsl.backends.torch.prose import docstring, paragraphs
from resnet_dsl.backends.trainer.emit import emit as emit_trainer
from resnet_dsl.commands.settings import checked_settings, settings_of
from resnet_dsl.compiler import Stop, compile_spec, stop_after, torch_source
from resnet_dsl.errors import CompileError, as_json, render_all
from resnet_dsl.report import table

Spec = dict[str, Any]
Put = Callable[[Spec, str], None]

RUN = "__import__('resnet_dsl').PWNED = True"


def network(**changes: Any) -> Spec:
    """A spec that defines a block, a stem and a shortcut of its own."""
    block = {
        "doc": "A block.",
        "parameters": {"mode": {"type": "str", "default": "plain", "doc": "How."}},
        "residual": [
            {"conv": {"out": "out", "kernel": 3, "stride": "stride"}},
            "norm",
            "act",
            {"conv": {"out": "out", "kernel": 3}},
            "norm",
        ],
        "after": ["act"],
    }
    project = {"conv": {"out": "out", "kernel": 1, "stride": "stride"}, "when": "transition"}
    return {
        "name": "net",
        "doc": "A net.",
        "input": {"channels": 1, "size": 8},
        "classes": 10,
        "stem": "own_stem",
        "shortcut": "own_shortcut",
        "stages": [
            {"block": "own", "depth": 2, "width": 8},
            {"block": "own", "depth": 2, "width": 16, "stride": 2},
        ],
        "head": "classifier",
        "train": {"recipe": "digits"},
        "blocks": {"own": block},
        "stems": {"own_stem": {"doc": "A stem.", "body": [{"conv": {"out": 8, "kernel": 3}}]}},
        "shortcuts": {"own_shortcut": {"doc": "A shortcut.", "body": [project]}},
        **changes,
    }


def at(*path: str | int) -> Put:
    """Puts a string at a place of a spec."""

    def put(spec: Spec, text: str) -> None:
        here: Any = spec
        for step in path[:-1]:
            here = here[step]
        here[path[-1]] = text

    return put


def documented(spec: Spec, text: str) -> None:
    spec["doc"] = text
    for section, name in (("blocks", "own"), ("stems", "own_stem"), ("shortcuts", "own_shortcut")):
        spec[section][name]["doc"] = text
    spec["blocks"]["own"]["parameters"]["mode"]["doc"] = text


def compared(spec: Spec, text: str) -> None:
    spec["blocks"]["own"]["residual"][2] = {"act": None, "when": f"mode == '{text}' or true"}


def keyed(section: str, name: str) -> Put:
    def put(spec: Spec, text: str) -> None:
        spec[section][text] = spec[section][name]

    return put


def as_recipe(spec: Spec, text: str) -> None:
    spec["recipes"] = {text: {"data": "digits"}}
    spec["train"] = {"recipe": text}


PLACES: dict[str, Put] = {
    "docs": documented,
    "default": at("blocks", "own", "parameters", "mode", "default"),
    "argument": at("stages", 0, "mode"),
    "string in an expression": compared,
    "name": at("name"),
    "name of a stage": at("stages", 0, "name"),
    "name of a block": keyed("blocks", "own"),
    "name of a stem": keyed("stems", "own_stem"),
    "name of a parameter": lambda spec, text: spec["blocks"]["own"]["parameters"].update({text: 1}),
    "as": at("blocks", "own", "as"),
    "block": at("stages", 0, "block"),
    "stem": at("stem"),
    "shortcut": at("shortcut"),
    "skip": at("skip"),
    "head": at("head"),
    "trunk": at("trunk"),
    "norm": at("norm"),
    "activation": at("activation"),
    "operation": lambda spec, text: spec["blocks"]["own"].update(after=[text]),
    "module": lambda spec, text: spec["blocks"]["own"].update(after=[{"act": None, "name": text}]),
    "width": at("stages", 0, "width"),
    "key": lambda spec, text: spec.update({text: 1}),
    "key of a stage": lambda spec, text: spec["stages"][0].update({text: 1}),
    "extends": at("extends"),
    "include": lambda spec, text: spec.update(include=[text]),
    "recipe": at("train", "recipe"),
    "recipe of its own": as_recipe,
    "data": at("train", "data"),
}

STRINGS = [
    f'"""\n{RUN}\n"""',
    f"'''\n{RUN}\n'''",
    f'\\"""\n{RUN}\n#',
    'ends with a quote"',
    "ends with a backslash\\",
    "\\",
    '"',
    '"""',
    '"' * 301,
    "\\" * 301 + '"',
    "x" * 93 + '"',
    "x" * 94 + "\\",
    "\\N{QUOTATION MARK}" * 3,
    "\\x22\\x22\\x22",
    "\\u0022\\U00000022",
    "\0",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b2J",
    "\u202eright to left\u202c",
    "\u2066isolated\u2069",
    f"\u2028{RUN}\u2029",
    f"\n{RUN}",
    f"\r\n{RUN}",
    f"\x0c{RUN}\x85{RUN}",
    "\ufeff",
    "{{ 7 * 7 }} {% for x in y %} {# comment",
    "{{ self.__init__.__globals__ }}",
    "{0} {x!r} %(x)s %s ${HOME} `id` $(id) ; id",
    "# noqa  # type: ignore",
    "[bold red]rich[/] :smile: [link=http://x]y[/]",
    "../../escape",
    "/etc/passwd",
    "",
    " ",
    "  indented\n    more",
    "long " * 1000,
    "字" * 300,
    "e\u0301" * 200,
]


def hidden(text: str) -> set[str]:
    """Characters that a terminal or an editor would obey instead of showing."""
    return {character for character in text if not character.isprintable()} - {"\n"}


def inert(source: str) -> ast.Module:
    """The tree of an emitted file, which is text that shows all that it holds and warns of nothing."""
    assert hidden(source) == set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compile(source, "emitted", "exec")
    return ast.parse(source)


def statements(tree: ast.Module) -> set[str]:
    """What a file does, without its docstrings, comments and the values of its constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            node.value = type(node.value).__name__
    return {ast.dump(node) for node in tree.body}


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_no_string_of_a_spec_becomes_anything_but_data(tmp_path: Path, place: str) -> None:
    pytest.importorskip("torch")
    import resnet_dsl

    taken = 0
    for text in STRINGS:
        spec = network()
        PLACES[place](spec, text)
        file = tmp_path / "spec.yaml"
        file.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
        try:
            compilation = compile_spec(file)
            torch_file = torch_source(compilation)
            train_file = emit_trainer(settings_of(compilation))
        except CompileError as error:
            said = render_all(error)
            assert hidden(said) == set(), (place, text)
            assert len(said) < 10_000, (place, text)
            json.dumps(as_json(error))
            continue
        taken += 1
        module = types.ModuleType("emitted")
        inert(train_file)
        tree = inert(torch_file)
        assert "PWNED" not in "".join(statements(tree)), (place, text)
        exec(compile(torch_file, "emitted", "exec"), module.__dict__)
        assert max(map(len, torch_file.splitlines())) <= 120, (place, text)
        for stop in get_args(Stop):
            printed = stop_after(stop, file)
            assert hidden(printed) == set(), (place, text, stop)
            assert RUN not in printed.splitlines() or stop == "spec"
        shown = io.StringIO()
        Console(file=shown, width=100).print(table(describe(compilation.graph)))
        assert hidden(shown.getvalue()) == set(), (place, text)
    assert not hasattr(resnet_dsl, "PWNED")
    if place in ("docs", "default", "argument"):
        assert taken > len(STRINGS) / 2, "they are prose and data: anything may stand there"


@pytest.mark.slow
@given(st.text(max_size=300))
def test_any_doc_gives_a_file_that_does_the_same(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.getbasetemp() / "doc.yaml"
    plain, other = network(), network(doc=text)
    other["blocks"]["own"]["doc"] = text
    found = []
    for spec in (plain, other):
        file.write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
        try:
            source = torch_source(compile_spec(file))
        except CompileError:
            return
        tree = inert(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.Module | ast.FunctionDef):
                node.body = [item for item in node.body if not _is_docstring(item)] or [ast.Pass()]
        found.append(ast.dump(tree))
    assert found[0] == found[1]


def test_a_long_word_of_a_doc_is_not_cut_inside_an_escape() -> None:
    for length in range(70, 110):
        for tail in ("\x1b", "\u202e", "\U0002ebe1", "\\", '"', '\\"'):
            text = "x" * length + tail + "y" * 20 + tail
            lines = docstring(paragraphs(text), 4)
            inert("def f():\n" + "\n".join(lines) + "\n")
            assert max(map(len, lines)) <= 100


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def test_the_spec_is_printed_as_json_that_says_the_same(tmp_path: Path) -> None:
    doc = "a\x1b[2J \u202e \x9b \U000e0001 é 字 \n end"
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(network(doc=doc)), encoding="utf-8")
    printed = stop_after("spec", file)
    assert json.loads(printed)["doc"] == doc
    assert "é 字" in printed


# Names

NETWORKS = [
    "Tensor",
    "Sequence",
    "ClassVar",
    "nn",
    "torch",
    "math",
    "self",
    "make_divisible",
    "PadChannels",
    "Subsample",
    "AppendChannels",
    "DropPath",
    "FrozenBatchNorm2d",
    "print",
    "int",
    "type",
    "class",
    "lambda",
    "None",
    "train",
    "Train",
    "typing",
    "os",
    "json",
    "numpy",
    "sklearn",
    "sympy",
    "sitecustomize",
]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_not_named_as_what_its_files_use(tmp_path: Path, name: str) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(network(name=name)))
    with pytest.raises(CompileError) as caught:
        compile_spec(file)
    (found,) = caught.value.diagnostics
    assert found.code == "RD108"
    assert found.why


CLASHES: list[tuple[str, Spec]] = [
    *((f"network {name}", network(name=name)) for name in (
        "main", "x", "out", "y", "identity", "super_", "Module", "num_classes", "stages", "forward", "own",
        "Own", "own_stem", "projection", "BASIC", "match", "case", "Net", "net_backbone", "tensor", "digits")),
    *((f"block {name}", network(
        blocks={name: network()["blocks"]["own"]},
        stages=[{"block": name, "depth": 2, "width": 8}, {"block": name, "depth": 2, "width": 16, "stride": 2}],
    )) for name in ("torch", "nn", "Tensor", "Sequence", "print", "self", "x", "super", "class", "lambda",
                    "net", "Net", "Module", "list", "range", "isinstance", "forward", "None", "ClassVar")),
    *((f"as {name}", network(blocks={"own": {**network()["blocks"]["own"], "as": name}}))
      for name in ("torch", "nn", "Tensor", "class", "net", "Net", "NetBackbone", "NetTrunk", "PadChannels")),
    *((f"blocks {one} and {other}", network(
        blocks={one: network()["blocks"]["own"], other: {**network()["blocks"]["own"], "after": []}},
        stages=[{"block": [one, other], "depth": 2, "width": 8}],
    )) for one, other in (("my_block", "myBlock"), ("my_block", "MyBlock"), ("my_block", "my__block"),
                          ("b_2", "b2"), ("basic", "Basic"), ("net", "Net"), ("NetTrunk", "NetBackbone"))),
]  # fmt: skip


@pytest.mark.parametrize(("label", "spec"), CLASHES, ids=[label for label, _ in CLASHES])
def test_names_that_meet_in_the_emitted_file_are_kept_apart(
    tmp_path: Path, label: str, spec: Spec
) -> None:
    _runs(tmp_path, spec)


PARAMETERS = [
    "self",
    "x",
    "super",
    "nn",
    "identity",
    "y",
    "class",
    "lambda",
    "torch",
    "Tensor",
    "in_channels",
    "out_channels",
    "num_classes",
    "downsample",
    "channels",
    "bool",
    "True_",
    "print",
    "range",
    "forward",
    "conv1",
    "bn1",
    "relu",
    "training",
    "match",
    "type",
    "index_",
    "groups",
    "X",
    "Self",
    "OUT",
    "self_",
    "kernel",
]


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_may_have_any_name(tmp_path: Path, name: str) -> None:
    spec = network()
    own = spec["blocks"]["own"]
    own["parameters"][name] = 2
    own["residual"][0]["conv"]["out"] = f"{name} * 2"
    spec["stages"][0][name] = 3
    _runs(tmp_path, spec)


@pytest.mark.parametrize(
    "name", ["self", "x", "nn", "torch", "identity", "out", "print", "weight", "num_classes"]
)
@pytest.mark.parametrize("place", ["module", "stage"])
def test_a_module_may_have_the_name_of_a_variable(tmp_path: Path, name: str, place: str) -> None:
    spec = network()
    if place == "stage":
        spec["stages"][0]["name"] = name
    else:
        spec["blocks"]["own"]["residual"][0]["name"] = name
    _runs(tmp_path, spec)


def _runs(folder: Path, spec: Spec) -> None:
    """The emitted module imports, builds, runs and calls its function as the network is named."""
    torch = pytest.importorskip("torch")
    file = folder / "spec.yaml"
    file.write_text(yaml.safe_dump(spec, sort_keys=False))
    source = torch_source(compile_spec(file))
    inert(source)
    module = types.ModuleType("emitted")
    exec(compile(source, "emitted", "exec"), module.__dict__)
    with torch.inference_mode():
        assert getattr(module, spec["name"])(num_classes=7)(torch.zeros(2, 1, 8, 8)).shape == (2, 7)


# Files


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a pipe in the file system")
def test_a_pipe_or_a_device_that_is_extended_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    file = tmp_path / "spec.yaml"
    for name in ("pipe.yaml", os.path.relpath("/dev/zero", tmp_path)):
        file.write_text(f"name: net\nextends: {name}\n")
        with pytest.raises(CompileError) as caught:
            compile_spec(file)
        assert caught.value.diagnostics[0].code == "RD001"
        assert "a device or a pipe" in caught.value.diagnostics[0].message


def test_a_command_in_a_hint_is_quoted_for_a_shell(tmp_path: Path) -> None:
    import errno
    from unittest import mock

    from resnet_dsl.language.files import read_text

    refused = PermissionError(errno.EACCES, "no")
    with (
        mock.patch.object(Path, "open", side_effect=refused),
        pytest.raises(CompileError) as caught,
    ):
        read_text(tmp_path / "$(id) x.yaml")
    assert "chmod u+r '" in (caught.value.diagnostics[0].hint or "")


# Size

CONV = {"conv": {"out": "out", "kernel": 3}}


def nested(levels: int, fan: int) -> dict[str, Any]:
    """Blocks that call one another `fan` times on each level."""
    blocks = {f"b{level}": {"body": [f"b{level + 1}"] * fan} for level in range(levels)}
    return {**blocks, f"b{levels}": {"body": [CONV]}}


def of_stage(stage: Spec, **changes: Any) -> Spec:
    return network(stages=[{"depth": 1, "width": 4, **stage}], shortcut="B", **changes)


def of_body(body: list[Any], depth: int = 1, **more: Any) -> Spec:
    return of_stage({"block": "b", "depth": depth}, blocks={"b": {"residual": body, **more}})


def repeated(*counts: int, innermost: list[Any]) -> Spec:
    body = innermost
    for count in counts:
        body = [{"repeat": count, "body": body}]
    return of_stage({"block": "b"}, blocks={"b": {"residual": [CONV, *body]}})


def let(expression: str) -> dict[str, Any]:
    return {
        "b": {
            "let": {"a00": "width + in"}
            | {f"a{i:02}": expression.replace("$", f"a{i - 1:02}") for i in range(1, 64)},
            "residual": [{"conv": {"out": "a63", "kernel": 1}}],
        }
    }


TOO_LARGE: dict[str, Spec] = {
    "a width of a million": of_stage({"block": "basic", "width": 1_000_000}),
    "a width of 2^62": of_stage({"block": "basic", "width": 1 << 62}),
    "a width of 10^300": of_stage({"block": "basic", "width": 10**299}),
    "a billion blocks": of_stage({"block": "basic", "depth": 10**9}),
    "a billion repeats": repeated(10**9, innermost=[CONV]),
    "repeats of repeats": repeated(4096, 4096, innermost=[CONV]),
    "2^60 calls": of_stage({"block": "b0"}, blocks=nested(60, 2)),
    "100^15 calls": of_stage({"block": "b0"}, blocks=nested(15, 100)),
    "a kernel of a billion": of_body([{"conv": {"out": "out", "kernel": 10**9}}]),
    "a padding of 10^15": of_body([{"conv": {"out": "out", "kernel": 1, "padding": 10**15}}]),
    "channels that double": of_body(
        [{"conv": {"out": "in", "kernel": 1}}], depth=200, join="concat", shortcut="identity"
    ),
    "an expression that squares": of_stage({"block": "b"}, blocks=let("$ * $ + $")),
    "an expression that doubles": of_stage({"block": "b"}, blocks=let("($ + $) // 2")),
    "a stride of 64^20": network(stages=[{"block": "basic", "depth": 1, "width": 4, "stride": 64}] * 20, shortcut="B"),
    "65537 pixels": network(input={"size": 65537}),
    "a billion classes": network(classes=10**9),
    "a billion channels": network(input={"channels": 10**9, "size": 8}),
    "a billion epochs": network(train={"recipe": "digits", "batch_size": 10**9}),
}  # fmt: skip


@pytest.mark.parametrize("label", TOO_LARGE)
def test_a_network_that_is_too_large_is_refused_in_a_moment(tmp_path: Path, label: str) -> None:
    import time

    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(TOO_LARGE[label]))
    begun = time.process_time()
    with pytest.raises(CompileError) as caught:
        settings_of_whole(file)
    assert time.process_time() - begun < 10
    assert len(render_all(caught.value)) < 20_000
    assert all(found.code != "RD799" for found in caught.value.diagnostics)


def settings_of_whole(file: Path) -> str:
    return emit_trainer(checked_settings(compile_spec(file)))


@pytest.mark.slow
@pytest.mark.parametrize("repeats", [(4096, 4096, 4096)])
@pytest.mark.parametrize("innermost", [[], [{"norm": None, "when": "false"}]], ids=["empty", "off"])
def test_repeats_of_nothing_are_counted_too(
    tmp_path: Path, repeats: tuple[int, ...], innermost: list[Any]
) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(yaml.safe_dump(repeated(*repeats, innermost=innermost)))
    with pytest.raises(CompileError) as caught:
        compile_spec(file)
    assert caught.value.diagnostics[0].code in ("RD406", "RD106", "RD107", "RD102")


YAML_BOMBS: dict[str, str] = {
    "aliases": "b0: &b0 [1, 1]\n" + "".join(f"b{i}: &b{i} [*b{i - 1}, *b{i - 1}]\n" for i in range(1, 60)),
    "brackets": "a: " + "[" * 1_000_000,
    "braces": "{a: " * 500_000,
    "dashes": "- " * 1_000_000,
    "questions": "? " * 1_000_000,
    "anchors": "&a " * 500_000,
    "duplicates": "a: 1\n" * 500_000,
    "keys": "".join(f"k{i}: 1\n" for i in range(150_000)),
    "a long key": "k" * 1_000_000 + ": 1\n",
    "a long text": "name: a\ndoc: " + "k" * 3_000_000 + "\n",
    "a long number": "name: a\nclasses: " + "9" * 1_000_000 + "\n",
    "five megabytes": "#" * 5_000_000,
    "quotes": "name: '" + "''" * 1_000_000,
}  # fmt: skip


@pytest.mark.parametrize("label", YAML_BOMBS)
def test_yaml_that_grows_is_refused_while_it_is_small(tmp_path: Path, label: str) -> None:
    import time

    file = tmp_path / "spec.yaml"
    file.write_text(YAML_BOMBS[label])
    begun = time.process_time()
    with pytest.raises(CompileError) as caught:
        compile_spec(file)
    assert time.process_time() - begun < 10
    assert len(render_all(caught.value)) < 100_000


def test_the_largest_inputs_are_described_without_being_made(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    spec = network(input={"channels": 1 << 20, "size": [65536, 65536]}, classes=10_000_000)
    file.write_text(yaml.safe_dump(spec))
    summary = describe(compile_spec(file).graph)
    assert summary.total.parameters > 100_000_000
    assert re.search(r"\d", str(summary.total.macs))
