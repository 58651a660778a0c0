"""Names of modules, and words that name values."""

from __future__ import annotations

from compiler_tests.spec_texts import BASE, changed, graph, with_block


def names(text: str) -> list[str]:
    return [node.name for node in graph(text).nodes]


def test_counted_names_pass_over_a_name_that_was_given_before() -> None:
    head = changed(("stem: cifar", "stem: deep"), ("head: classifier", "head: mine"))
    found = names(f"{head}heads:\n  mine:\n    body:\n      - conv: {{out: 16, kernel: 1}}\n")
    assert found[:1] == ["conv1.0"]
    assert found[-1] == "conv2"


def test_a_word_that_names_no_text_stands_for_itself() -> None:
    body = """
out: in * 2
let: {wide: number > 1}
body:
  - inner: {mode: wide}
"""
    inner = """\
  inner:
    parameters: {mode: {default: thin, choices: [thin, wide]}}
    out: "width * 2 if mode == 'wide' else width"
    body:
      - conv: {out: "width * 2 if mode == 'wide' else width", kernel: 3, stride: stride}
"""
    shapes = {node.name: node.shape for node in graph(with_block(body, more=inner)).nodes}
    assert shapes["layer1.0.inner.conv1"] == (32, 32, 32)


def test_a_word_that_names_text_stands_for_it() -> None:
    body = """
parameters: {mode: {default: wide, choices: [thin, wide]}}
out: in * 2
body:
  - inner: {kind: mode}
"""
    inner = """\
  inner:
    parameters: {kind: {default: thin, choices: [thin, wide]}}
    out: "width * 2 if kind == 'wide' else width"
    body:
      - conv: {out: "width * 2 if kind == 'wide' else width", kernel: 3, stride: stride}
"""
    shapes = {node.name: node.shape for node in graph(with_block(body, more=inner)).nodes}
    assert shapes["layer1.0.inner.conv1"] == (32, 32, 32)


def test_the_base_spec_names_its_modules_as_the_field_does() -> None:
    assert names(BASE)[:4] == ["conv1", "bn1", "relu", "layer1.0.conv1"]
