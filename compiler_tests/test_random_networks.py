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
from compiler_tests.random_specs.specs import Spec, specs
from resnet_dsl.backends.onnx.options import OnnxOptions

TYPED = 6
"""How many of the sources mypy reads: it takes its time."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder for the sources of the run; one thread, since networks are small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path_factory.mktemp("sources")
    torch.set_num_threads(threads)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(
    spec=specs(),
    opset=st.sampled_from([13, 14, 17, 18, 20, 21, 22, 25]),
    fold=st.booleans(),
    seed=st.integers(0, 100),
)
def test_a_random_network_is_the_same_on_every_target(
    spec: Spec, opset: int, fold: bool, seed: int, sources: Path
) -> None:
    text = yaml.safe_dump(spec, sort_keys=False)
    name = f"net_{sha256(text.encode()).hexdigest()[:12]}"
    file = sources / f"{name}.yaml"
    file.write_text(text.replace("name: random_net", f"name: {name}", 1))
    assume(agreement.assert_sound(file, OnnxOptions(opset), fold=fold, seed=seed))


def test_the_sources_of_random_networks_are_clean(sources: Path) -> None:
    files = sorted(sources.glob("*.py"))
    assert files, "the test above writes them"
    agreement.assert_clean(sources, files[:TYPED])
