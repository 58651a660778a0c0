"""Variables of emitted loops hide nothing that the loop reads: the network is that of the graph."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from compiler_tests import agreement
from compiler_tests.programs import arguments
from resnet_dsl.backends.onnx.options import OnnxOptions
from resnet_dsl.backends.torch.names import RESERVED
from resnet_dsl.backends.torch.runs import Member, runs
from resnet_dsl.compiler import compile_spec, torch_source
from resnet_dsl.errors import CompileError
from resnet_dsl.ir.expr import Name
from resnet_dsl.ir.program import Call
from resnet_dsl.ir.reserved import EMITTED_NAMES

HEADER = """\
name: hidden
input: {channels: 4, size: 8}
classes: 3
shortcut: none
head: classifier
"""

SPECS = {
    "a parameter that counts and is read": """
stages:
  - {block: outer, depth: 1, width: 12}
  - {block: outer, depth: 1, width: 8}
blocks:
  outer:
    body:
      - sequence:
          - inner: {width: 4, k: in}
          - inner: {width: 8, k: in}
          - inner: {width: 12, k: in}
          - inner: {width: 16, k: in}
        name: seq
      - conv: {out: width, kernel: 1}
  inner:
    parameters: {k: 1}
    body:
      - conv: {out: k, kernel: 1}
      - conv: {out: width, kernel: 1}
""",
    "a parameter that is spelled as the one that counts": """
stages:
  - {block: outer, depth: 1, width: 12, channels: 3}
  - {block: outer, depth: 1, width: 4, channels: 5}
blocks:
  outer:
    parameters: {channels: 1}
    body:
      - conv: {out: 4, kernel: 1}
      - sequence:
          - repeat: 5
            body:
              - grow: {k: channels}
        name: seq
      - conv: {out: width, kernel: 1}
  grow:
    parameters: {k: 1}
    out: in + 4
    body:
      - conv: {out: k, kernel: 1}
      - conv: {out: in + 4, kernel: 1}
""",
    "a chain named as the variable of loops": """
trunk: features
stages:
  - {block: layer, depth: 5, width: 4}
blocks:
  layer:
    body:
      - conv: {out: width, kernel: 3}
      - act
""",
    "a parameter named as the variable of loops": """
stages:
  - {block: outer, depth: 1, width: 4, layer: 3}
  - {block: outer, depth: 1, width: 4, layer: 5}
blocks:
  outer:
    parameters: {layer: 1}
    body:
      - sequence:
          - repeat: 4
            body:
              - inner: {k: layer}
              - act
        name: seq
  inner:
    parameters: {k: 1}
    body:
      - conv: {kernel: k}
      - norm
""",
}


@pytest.mark.parametrize("text", SPECS.values(), ids=SPECS)
def test_the_network_is_that_of_the_graph(text: str, tmp_path: Path) -> None:
    file = tmp_path / "hidden.yaml"
    file.write_text(HEADER + text)
    emitted = agreement.assert_sound(file, OnnxOptions(), fold=True, seed=1)
    assert emitted is not None
    assert " for " in emitted.source


def test_a_loop_counts_over_a_name_that_its_members_do_not_read() -> None:
    members = [
        Member(Call("0", "inner", arguments(width=width, k=Name("width"), j=Name("index")), 0))
        for width in (4, 8, 12)
    ]
    (run,) = runs(members)
    assert (run.variable, run.start, run.step) == ("index2", 4, 4)


def source(folder: Path, name: str) -> str:
    """A network with loops and shared blocks, under a name."""
    file = folder / "hidden.yaml"
    file.write_text(HEADER + SPECS["a chain named as the variable of loops"])
    return torch_source(compile_spec(file, [f"name='{name}'"]))


def functions(text: str) -> list[str]:
    return [node.name for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("name", sorted(EMITTED_NAMES))
def test_a_network_cannot_have_a_name_that_the_file_uses(name: str, tmp_path: Path) -> None:
    with pytest.raises(CompileError) as caught:
        source(tmp_path, name)
    (found,) = caught.value.diagnostics
    assert found.code == "RD108"
    assert found.message == f"`{name}` is a name that is taken"


def test_every_word_of_the_file_names_a_network_or_is_refused(tmp_path: Path) -> None:
    """What imports the network does so under the spec's name, whatever that is."""
    words = {*re.findall(r"[A-Za-z]\w*", source(tmp_path, "hidden"))}
    assert {"layer", "Conv", "range", "class", "Hidden", "HiddenBackbone", "x"} <= words
    refused = set()
    for word in words:
        try:
            text = source(tmp_path, word)
        except CompileError:
            refused.add(word)
        else:
            assert functions(text)[-2:] == [word, f"{word}_backbone"]
    assert refused == words & (RESERVED | sys.stdlib_module_names)


@pytest.mark.parametrize("name", ["outer", "Outer", "inner", "Inner", "seq", "match", "main"])
def test_a_network_named_as_its_own_parts_keeps_its_name(name: str, tmp_path: Path) -> None:
    file = tmp_path / "hidden.yaml"
    text = HEADER + SPECS["a parameter that counts and is read"]
    file.write_text(text.replace("name: hidden", f"name: {name}"))
    emitted = agreement.assert_sound(file, OnnxOptions(), fold=True, seed=1)
    assert emitted is not None
    assert name in functions(emitted.source)
