"""Networks at random, of blocks at random: what the targets make of them agrees, and is clean source."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from compiler_tests import agreement
from compiler_tests.emitted import is_clean, is_typed
from compiler_tests.random_specs.specs import Spec, specs
from resnet_dsl.backends.onnx.options import OnnxOptions

TYPED = 6
"""How many of the sources mypy reads: it takes its time."""


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks are small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_random_networks_are_the_same_on_every_target_and_clean_source(tmp_path: Path) -> None:
    @settings(max_examples=100, suppress_health_check=list(HealthCheck))
    @given(
        spec=specs(),
        opset=st.sampled_from([13, 14, 17, 18, 20, 21, 22, 25]),
        fold=st.booleans(),
        seed=st.integers(0, 100),
    )
    def are_the_same(spec: Spec, opset: int, fold: bool, seed: int) -> None:
        text = yaml.safe_dump(spec, sort_keys=False)
        name = f"net_{sha256(text.encode()).hexdigest()[:12]}"
        file = tmp_path / f"{name}.yaml"
        file.write_text(text.replace("name: random_net", f"name: {name}", 1))
        assume(agreement.assert_sound(file, OnnxOptions(opset), fold=fold, seed=seed))

    are_the_same()
    files = sorted(tmp_path.glob("*.py"))
    assert files
    is_clean(tmp_path)
    is_typed(*files[:TYPED])
