"""Expressions as source: no line is too long, and no part has a value that the spec does not ask for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_tests.emitted import import_file, is_clean, is_typed
from resnet_dsl.backends.torch.expressions import Writer, invoked
from resnet_dsl.backends.torch.names import Names
from resnet_dsl.compiler import compile_spec, torch_source
from resnet_dsl.ir.expr import ExprError, Name, Value, evaluate, make_divisible, substitute
from resnet_dsl.ir.program import Parameter
from resnet_dsl.language.expression import parse

NESTED = """\
name: nested
input: {channels: 3, size: 16}
classes: 10
stem: cifar
stages:
  - {block: bb, depth: 2, width: 16}
  - {block: bb, depth: 2, width: 24, mode: wide, ratio: 0}
head: long
blocks:
  bb:
    parameters:
      ratio: 2
      mode: {default: thin, choices: [thin, wide]}
    let:
      mid: "make_divisible(width * 2, 8) if mode == 'wide' else make_divisible(width // ratio, 8)"
    body:
      - conv: {out: in, kernel: 3, groups: "2 if mid % 2 == 0 else 1"}
      - conv: {out: mid, kernel: ["3 if mid > 9 and (mid % 3 == 1 or mid // 4 > width // 2) else 1", 1]}
      - dropout: {rate: "0 if mid > 100 and mode == 'wide' and width > 10 else 0.25 if mode == 'thin' else 0.5 / width"}
      - conv: {out: out, kernel: 1}
heads:
  long:
    body:
      - global_avg_pool
      - flatten
      - linear: {out: "make_divisible(max(classes * 3, classes + 4) * 0.75 + classes // 2 * 3, 8)"}
      - linear: {out: classes}
"""


def emitted(text: str, folder: Path) -> tuple[Path, Any]:
    file = folder / "nested.yaml"
    file.write_text(text, encoding="utf-8")
    source = folder / "nested.py"
    source.write_text(torch_source(compile_spec(file)), encoding="utf-8")
    return source, import_file(source)


def test_nested_conditionals_are_formatted_and_the_networks(tmp_path: Path) -> None:
    source, module = emitted(NESTED, tmp_path)
    assert max(map(len, source.read_text(encoding="utf-8").splitlines())) <= 100
    is_clean(tmp_path)
    is_typed(source)
    net = module.nested()
    convs = [net.layer1[0].conv2, net.layer2[0].conv2, net.layer2[0].conv1]
    assert [each.out_channels for each in convs] == [8, 48, 16]
    assert [convs[2].groups, net.layer1[0].dropout.p] == [2, 0.25]
    assert net.layer2[1].dropout.p == 0.5 / 24


def test_what_the_head_makes_of_the_classes_may_be_long(tmp_path: Path) -> None:
    _, module = emitted(NESTED, tmp_path)
    for classes in (10, 7):
        wide = make_divisible(max(classes * 3, classes + 4) * 0.75 + classes // 2 * 3, 8)
        assert module.nested(classes).fc1.out_features == wide


PARAMETERS = (Parameter("width", "int"), Parameter("ratio", "int"), Parameter("mode", "str"))
NUMBERS = st.sampled_from(["width", "ratio", "3", "48", "width * ratio"])
TRUTHS = st.sampled_from(["mode == 'wide'", "ratio > 2", "width % 3 == 0"])


def _numbers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    tests = st.one_of(
        TRUTHS,
        st.builds("({} {} {})".format, TRUTHS, st.sampled_from(["and", "or"]), TRUTHS),
        st.builds(
            "({} // {} > 1 {} {})".format, inner, inner, st.sampled_from(["and", "or"]), TRUTHS
        ),
        st.builds("not ({} % {} == 1)".format, inner, inner),
    )
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(["+", "-", "*", "//", "%"]), inner),
        st.builds("({} if {} else {})".format, inner, tests, inner),
        st.builds("max({}, {}, {})".format, inner, inner, inner),
        st.builds("make_divisible({}, {})".format, inner, inner),
        st.builds("(-{})".format, inner),
    )


def test_an_expression_taken_apart_has_the_same_value_and_is_formatted(tmp_path: Path) -> None:
    functions: dict[str, str] = {}

    @settings(max_examples=300)
    @given(
        st.lists(st.recursive(NUMBERS, _numbers, max_leaves=20), min_size=1, max_size=3),
        st.integers(0, 30),
        st.integers(0, 4),
        st.sampled_from(["wide", "thin"]),
    )
    def check(texts: list[str], width: int, ratio: int, mode: str) -> None:
        env: dict[str, Value] = {"width": width, "ratio": ratio, "mode": mode}
        write = Writer({}, Names(), PARAMETERS, 4)
        for text in texts:
            try:
                tree = substitute(parse(text), {})
                wanted = evaluate(tree, env)
            except ExprError:
                continue
            before = len(write.statements)
            written = write(tree)
            assert len(written) <= 60
            name = f"given_{len(functions)}"
            body = "\n".join([*write.statements, f"    return [{written}]"])
            source = f"def {name}(width: int, ratio: int, mode: str) -> list[float]:\n{body}\n"
            known: dict[str, Any] = {"make_divisible": make_divisible}
            exec(source, known)
            (found,) = known[name](**env)
            assert (found, type(found)) == (wanted, type(wanted))
            if len(write.statements) > before == 0:
                functions[name] = source

    check()
    text = "\n\n".join(["from a_module import make_divisible\n", *functions.values()])
    assert max(map(len, text.splitlines())) <= 100
    (tmp_path / "given.py").write_text(text, encoding="utf-8")
    is_clean(tmp_path)


def test_functions_of_all_parts_are_known() -> None:
    tree = parse(
        "sqrt(width) if floor(width / 3) > 2 and width > 12345678 else make_divisible(width, 8)"
    )
    write = Writer({}, Names(), PARAMETERS, 8)
    write(tree)
    assert write.functions == invoked(tree) == {"sqrt", "floor", "make_divisible"}


@pytest.mark.parametrize("name", ["w" * 40, "w" * 64])
def test_long_names_are_given_short_ones_beside_a_keyword(name: str) -> None:
    write = Writer({}, Names(), (Parameter(name, "int"),), 8)
    assert write(Name(name), f"{name}=") == "part"
    assert write.statements == [f"        part = {name}"]
