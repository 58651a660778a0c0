"""What emitted files and classes say of themselves, where the spec leaves it to the compiler."""

from __future__ import annotations

from pathlib import Path

from compiler_tests.emitted import is_clean
from compiler_tests.spec_texts import changed, with_block
from resnet_dsl.compiler import compile_spec, torch_source


def source(text: str, folder: Path) -> str:
    file = folder / "net.yaml"
    file.write_text(text, encoding="utf-8")
    found = torch_source(compile_spec(file))
    (folder / "net.py").write_text(found, encoding="utf-8")
    is_clean(folder)
    return found


def test_a_pattern_of_blocks_is_told_once_with_its_count(tmp_path: Path) -> None:
    text = changed(
        ("block: basic, depth: 2", "block: [basic, preact_basic], depth: 12"),
        ("block: basic, depth: 2", "block: [basic, basic, preact_basic], depth: 6"),
    )
    found = " ".join(source(text, tmp_path).split("\n\n")[1].split())
    assert (
        "relu, 6 × (BasicBlock, PreactBasic), 2 × (BasicBlock, BasicBlock, PreactBasic), ave"
        in found
    )


def test_a_block_without_words_says_what_is_in_it(tmp_path: Path) -> None:
    body = """
body:
  - conv: {out: out, kernel: 3, stride: [1, 2]}
  - conv: {out: out, kernel: [1, 3], stride: [2, 1]}
  - norm
  - act
"""
    found = source(with_block(body, "block: mine, depth: 2, width: 16"), tmp_path)
    assert '"""Conv 3×3 / 1×2, conv 1×3 / 2×1, batch norm, relu."""' in found
