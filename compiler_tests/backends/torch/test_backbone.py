"""What a backbone says of its stages, and what it asks of its caller."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from compiler_tests.emitted import import_file, is_clean, is_typed
from compiler_tests.spec_texts import BASE, changed, with_block
from resnet_dsl.compiler import compile_spec, torch_source

UNEVEN = """\
name: uneven
input: {channels: 3, size: [64, 48]}
classes: 5
stem: none
stages:
  - {block: down, depth: 1, width: 8}
  - {block: across, depth: 1, width: 8}
  - {block: mixed, depth: 2, width: 8, stride: 2}
head: classifier
blocks:
  down:
    body:
      - conv: {out: out, kernel: 3, stride: 2}
      - conv: {out: out, kernel: 3, stride: [2, 1]}
  across:
    body:
      - conv: {out: out, kernel: 3, stride: [1, 2], padding: 0}
      - max_pool: {kernel: 2, stride: 1}
  mixed:
    body:
      - residual:
        - adaptive_avg_pool: {size: 1}
        - conv: {out: in, kernel: 1}
        shortcut: identity
        join: multiply
      - avg_pool: {kernel: [1, 3], stride: [1, stride], ceil: true}
      - conv: {out: out, kernel: 3}
"""


def emitted(text: str, folder: Path, name: str) -> Any:
    """The module of a spec, and its source."""
    file = folder / f"{name}.yaml"
    file.write_text(text, encoding="utf-8")
    source = folder / f"{name}.py"
    source.write_text(torch_source(compile_spec(file)), encoding="utf-8")
    return import_file(source)


def test_strides_are_those_of_the_outputs_along_both_axes(tmp_path: Path) -> None:
    backbone = emitted(UNEVEN, tmp_path, "uneven").uneven_backbone(("layer1", "layer2", "layer3"))
    assert backbone.strides == ((4, 2), 4, (4, 8))
    backbone.eval()

    def places(height: int, width: int) -> list[torch.Size]:
        with torch.no_grad():
            return [each.shape[2:] for each in backbone(torch.zeros(1, 3, height, width)).values()]

    for height, width in ((64, 48), (61, 77), (40, 128)):
        before = places(height, width)
        for index, stride in enumerate(backbone.strides):
            down, across = stride if isinstance(stride, tuple) else (stride, stride)
            after = places(height + down, width + across)[index]
            assert after == torch.Size(each + 1 for each in before[index])


def test_a_stride_that_is_a_pair_is_typed_and_told(tmp_path: Path) -> None:
    emitted(UNEVEN, tmp_path, "uneven")
    text = (tmp_path / "uneven.py").read_text(encoding="utf-8")
    assert "STAGES: ClassVar[dict[str, tuple[int, int | tuple[int, int]]]] = {" in text
    assert "# Channels and stride of every stage's output, (vertical, horizontal) where" in text
    assert "A stride is a pair, (vertical, horizontal), where the two differ." in text
    assert "(N, channels, about H / vertical, about W / horizontal)" in text
    is_clean(tmp_path)
    is_typed(tmp_path / "uneven.py")


def test_equal_strides_are_one_number(tmp_path: Path) -> None:
    emitted(BASE, tmp_path, "net")
    text = (tmp_path / "net.py").read_text(encoding="utf-8")
    assert "STAGES: ClassVar[dict[str, tuple[int, int]]] = {" in text
    assert "(N, channels, H / stride, W / stride)" in text
    assert "vertical" not in text


def test_outputs_that_lose_some_of_the_edge_are_told_as_about_that_large(tmp_path: Path) -> None:
    body = "body:\n  - conv: {out: width, kernel: 3, padding: 0}"
    text = changed(("size: 32", "size: 40"), text=with_block(body))
    emitted(text, tmp_path, "net")
    source = (tmp_path / "net.py").read_text(encoding="utf-8")
    assert "(N, channels, about H / stride, about W / stride)" in source


def test_a_name_in_place_of_names_is_refused_with_what_to_type(tmp_path: Path) -> None:
    module = emitted(BASE, tmp_path, "net")
    with pytest.raises(TypeError, match=r"^stages is a sequence of names, such as \('layer1',\)$"):
        module.net_backbone("layer1")


def test_nothing_asked_for_is_told_as_that(tmp_path: Path) -> None:
    module = emitted(BASE, tmp_path, "net")
    nothings: tuple[Sequence[str], ...] = ((), [])
    for nothing in nothings:
        with pytest.raises(ValueError, match=r"no stage is asked for: choose from .'layer1', "):
            module.net_backbone(nothing)
    with pytest.raises(ValueError, match=r"no stages .'layer9'.: choose from .'layer1', 'layer2'"):
        module.net_backbone(("layer1", "layer9"))
