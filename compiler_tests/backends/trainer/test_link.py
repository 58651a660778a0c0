"""From the modules of a library comes what a program needs, and nothing else."""

from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from compiler_tests.emitted import tool
from resnet_dsl.backends.trainer.link import Imported, Linked, import_lines, library, link, parsed

FIRST = '''
"""The first of all, in a line.

And more about it.
"""

from __future__ import annotations

import io
import os.path
from pathlib import Path

from resnet_dsl.runtime.second import Base, shared

# How many.
LIMIT = 3
OTHER = LIMIT + 1


# Why it is so.
@cached
def used(path: Path) -> int:
    """Doc."""
    return shared(path) + LIMIT  # three


class Derived(Base):
    def run(self) -> str:
        return io.StringIO().getvalue()


def unused() -> str:
    return os.path.join(used(1), OTHER)


def cached(function):
    return function
'''
SECOND = '''
"""The second."""

import torch
import torch.distributed as dist
from torch import nn

from resnet_dsl.runtime.first import LIMIT


class Base(nn.Module):
    size: int = LIMIT


def shared(path):
    return deeper(path)


def deeper(path):
    return dist.get_rank()


def alone():
    return torch.zeros(1)
'''
MODULES = {"first": parsed(FIRST, "first"), "second": parsed(SECOND, "second")}


def linked(program: str) -> Linked:
    return link(dedent(program), MODULES)


def names(found: Linked) -> list[str]:
    return [f"{item.module}.{item.name}" for item in found.definitions]


def test_what_is_referred_to_comes_with_what_it_refers_to_itself():
    found = linked(
        """
        from resnet_dsl.runtime.first import Derived, used

        print(used(1))
        """
    )
    assert names(found) == [
        "first.LIMIT",
        "first.used",
        "first.cached",
        "second.shared",
        "second.deeper",
    ]
    assert found.standard == ["from pathlib import Path"]
    assert found.others == ["import torch.distributed as dist"]


def test_a_definition_has_the_comment_and_the_decorators_above_it():
    found = linked("from resnet_dsl.runtime.first import used\nused(1)\n")
    limit, used, *_ = found.definitions
    assert (limit.text, limit.constant) == ("# How many.\nLIMIT = 3", True)
    assert used.text.startswith("# Why it is so.\n@cached\ndef used(")
    assert used.text.endswith("# three")
    assert FIRST.split("\n")[used.first - 1] == "# Why it is so."
    assert FIRST.split("\n")[used.last - 1] == used.text.split("\n")[-1]


def test_modules_that_refer_to_one_another_are_linked():
    found = linked("from resnet_dsl.runtime.first import Derived\nDerived()\n")
    assert names(found) == ["first.LIMIT", "first.Derived", "second.Base"]
    assert found.standard == ["import io"]
    assert found.others == ["from torch import nn"]


def test_of_the_program_stays_what_its_statements_reach():
    found = linked(
        """
        import sys

        from resnet_dsl.runtime.network import network
        from resnet_dsl.runtime.second import alone

        SIZE: int = 3
        OTHER: int = 4


        def main():
            return step(SIZE)


        def left():
            return alone(OTHER)


        def step(size):
            return network(size)


        if __name__ == "__main__":
            sys.exit(main())
        """
    )
    assert [item.name for item in found.own] == ["SIZE", "main", "step"]
    assert (found.definitions, found.standard, found.others) == ([], ["import sys"], [])


def test_the_first_paragraph_of_a_module_says_what_it_is():
    assert MODULES["first"].doc == "The first of all, in a line."


def test_a_name_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"resnet_dsl.runtime.first has no gone"):
        linked("from resnet_dsl.runtime.first import gone\ngone()\n")


def test_two_things_of_one_name_are_refused():
    with pytest.raises(ValueError, match="shared is both in"):
        linked(
            """
            from resnet_dsl.runtime.first import used


            def shared():
                return used(1)


            shared()
            """
        )


def test_imports_are_sorted_as_ruff_sorts_them(tmp_path):
    imports = [
        Imported("torch", None, "torch"),
        Imported("torch.distributed", None, "dist"),
        Imported("torch", "nn", "nn"),
        Imported("torch", "Tensor", "Tensor"),
        Imported("PIL", "Image", "Image"),
        Imported("PIL", "UnidentifiedImageError", "UnidentifiedImageError"),
        Imported("numpy", None, "np"),
        Imported("torch.nn.modules.batchnorm", "_BatchNorm", "_BatchNorm"),
        Imported("torchvision.datasets", "CIFAR10", "CIFAR10"),
        Imported("torchvision.datasets", "VisionDataset", "VisionDataset"),
        Imported("torchvision.datasets", "folder", "images"),
        Imported("torch.utils.data", "IterableDataset", "IterableDataset"),
        Imported("torch.utils.data", "DataLoader", "DataLoader"),
        Imported("torch.utils.data", "default_collate", "default_collate"),
        Imported("torch.utils.data", "get_worker_info", "get_worker_info"),
    ]
    lines = import_lines(imports)
    assert lines[:3] == ["import numpy as np", "import torch", "import torch.distributed as dist"]
    assert "from torch import Tensor, nn" in lines
    file = tmp_path / "imports.py"
    file.write_text("\n".join([*lines, ""]))
    tool("ruff", "check", "--isolated", "--line-length=100", "--select=I", "--no-cache", str(file))


def test_the_library_is_made_to_be_linked():
    """Every name is one thing alone, and at the top of a module stand imports and definitions."""
    places: dict[str, str] = {}
    for name, module in library().items():
        docstring, *others = module.statements
        assert isinstance(docstring, ast.Expr), name
        assert not others, name
        for definition in module.definitions:
            assert definition.name not in places, (definition.name, name, places[definition.name])
            places[definition.name] = name
