"""Networks of ten thousand layers: short sources, files in seconds, and no limit of recursion."""

from __future__ import annotations

import time
from io import BytesIO
from pathlib import Path

import pytest
import torch

from compiler_tests.emitted import construct
from resnet_dsl.analysis.parameters import total_parameters
from resnet_dsl.backends.onnx.options import OnnxOptions
from resnet_dsl.backends.onnx.writer import write_model
from resnet_dsl.compiler import Compilation, compile_spec, torch_source
from resnet_dsl.ir.ops import Conv
from resnet_dsl.weights.store import SeededWeights

SECONDS = 20.0
"""Several times what it takes on a machine of today, of one core."""

HEADER = """\
name: deep
input: {channels: 3, size: 8}
classes: 2
stem: {cifar: {width: 4}}
head: classifier
"""

SPECS = {
    "equal blocks": "stages:\n  - {block: basic, depth: 5000, width: 4}\n",
    "blocks that widen": "stages:\n  - {block: basic, depth: 5000, width: 4 + number // 1000}\n",
    "rates that rise": """\
drop_path: {rate: 0.5}
stages:
  - {block: basic, depth: 5000, width: 4}
""",
    "a pattern of blocks": """\
stages:
  - {block: [basic, highway, basic, highway], depth: 6668, width: 4}
""",
    "a flat trunk": """\
trunk: features
shortcut: none
stages:
  - {block: conv_layer, depth: 10000, width: 4}
""",
    "structures that alternate": """\
stages:
  - {block: mine, depth: 5000, width: 4}
blocks:
  mine:
    residual:
      - conv: {kernel: 3}
      - norm: {}
        when: number % 2 == 0
      - act
      - conv: {kernel: 1}
""",
}


def compiled(text: str, folder: Path) -> Compilation:
    file = folder / "deep.yaml"
    file.write_text(HEADER + text)
    return compile_spec(file)


@pytest.mark.slow
@pytest.mark.parametrize("text", SPECS.values(), ids=SPECS)
def test_ten_thousand_layers_are_a_page_of_source_and_a_file_in_seconds(
    text: str, tmp_path: Path
) -> None:
    begin = time.process_time()
    compilation = compiled(text, tmp_path)
    source = torch_source(compilation)
    stream = BytesIO()
    write_model(compilation.inference_graph(), SeededWeights(0), stream, OnnxOptions())
    assert time.process_time() - begin < SECONDS
    layers = sum(isinstance(node.op, Conv) for node in compilation.graph.nodes)
    assert layers > 10_000
    assert len(source) < 10_000
    assert len(stream.getvalue()) > 5_000_000
    compile(source, "deep.py", "exec")


@pytest.mark.slow
def test_ten_thousand_layers_can_be_constructed(tmp_path: Path) -> None:
    compilation = compiled(SPECS["blocks that widen"], tmp_path)
    (tmp_path / "deep.py").write_text(torch_source(compilation))
    with torch.device("meta"):
        model = construct(tmp_path / "deep.py")
    found = sum(tensor.numel() for tensor in model.parameters())
    assert found == total_parameters(compilation.graph).trainable


@pytest.mark.slow
def test_five_hundred_stages_are_a_line_or_so_each(tmp_path: Path) -> None:
    lines = "".join(f"  - {{block: basic, depth: 2, width: {4 + i % 3}}}\n" for i in range(500))
    begin = time.process_time()
    compilation = compiled(f"stages:\n{lines}", tmp_path)
    source = torch_source(compilation)
    assert time.process_time() - begin < SECONDS
    assert len(source) < 300 * 500
    (tmp_path / "deep.py").write_text(source)
    with torch.device("meta"):
        construct(tmp_path / "deep.py")
