"""Emitted networks pass torch.compile in one graph, and torch.export with any batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from compiler_tests import programs
from compiler_tests.emitted import import_file
from resnet_dsl.ir.program import Program

pytestmark = pytest.mark.slow
EVERY = pytest.mark.parametrize("builder", programs.EVERY, ids=lambda builder: builder.__name__)


@pytest.fixture
def emitted(
    builder: Callable[[], Program], tmp_path: Path
) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The network and its backbone."""
    program = builder()
    module = import_file(programs.written(program, tmp_path))
    backbone = getattr(module, f"{program.name}_backbone")
    return getattr(module, program.name)().eval(), backbone().eval()


@EVERY
def test_export_is_strict_and_takes_any_batch(
    emitted: tuple[torch.nn.Module, torch.nn.Module],
) -> None:
    batch = torch.export.Dim("batch", min=1, max=64)
    images = torch.randn(3, 3, 16, 16)
    for net in emitted:
        exported = torch.export.export(net, (images,), strict=True, dynamic_shapes=({0: batch},))
        for count in (1, 5):
            more = torch.randn(count, 3, 16, 16)
            with torch.no_grad():
                torch.testing.assert_close(exported.module()(more), net(more))


@EVERY
def test_compile_needs_no_graph_break(emitted: tuple[torch.nn.Module, torch.nn.Module]) -> None:
    images = torch.randn(3, 3, 16, 16)
    for net in emitted:
        torch.compiler.reset()
        compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
        with torch.no_grad():
            torch.testing.assert_close(compiled(images), net(images))


@EVERY
def test_training_compiles_in_one_graph(
    emitted: tuple[torch.nn.Module, torch.nn.Module],
) -> None:
    net = emitted[0].train()
    torch.compiler.reset()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    compiled(torch.randn(4, 3, 16, 16)).square().sum().backward()
    assert all(each.grad is not None for each in net.parameters())
