"""Where torchvision has the net, ours has its state dict, loads it strictly, and computes the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from compiler_tests.emitted import construct
from resnet_dsl.commands.build import BuildOptions, build

torchvision = pytest.importorskip("torchvision")

SMALL = {"resnet18": "resnet18", "resnet34": "resnet34", "resnet50_v1_5": "resnet50"}
LARGE = {
    "resnet101_v1_5": "resnet101",
    "resnet152_v1_5": "resnet152",
    "resnext50_32x4d": "resnext50_32x4d",
    "resnext101_32x8d": "resnext101_32x8d",
    "resnext101_64x4d": "resnext101_64x4d",
    "wide_resnet50_2": "wide_resnet50_2",
    "wide_resnet101_2": "wide_resnet101_2",
    "vgg16": "vgg16",
    "vgg19": "vgg19",
}
PAIRS = [
    *(pytest.param(ours, theirs, id=ours) for ours, theirs in SMALL.items()),
    *(
        pytest.param(ours, theirs, id=ours, marks=pytest.mark.slow)
        for ours, theirs in LARGE.items()
    ),
]


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_state_dict_and_outputs_equal_torchvisions(ours: str, theirs: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    peer = getattr(torchvision.models, theirs)().eval()
    build(ours, BuildOptions(("torch",), tmp_path))
    model = construct(tmp_path / f"{ours}.py").eval()
    state = peer.state_dict()
    assert list(model.state_dict()) == list(state)
    model.load_state_dict(state, strict=True)
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(model(images), peer(images))
