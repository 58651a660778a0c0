"""Files of other projects fit by name, by rule or by order, and what does not fit is told with what it looks like."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from resnet_dsl.errors import CompileError, as_json
from resnet_dsl.weights.load import Checkpoint, load
from resnet_dsl.weights.match import Expected, Match, match
from resnet_dsl.weights.pairing import pair
from resnet_dsl.weights.rules import RULE_SETS

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision")
save_torch = pytest.importorskip("safetensors.torch").save_file

State = dict[str, np.ndarray[Any, Any]]


def numbered(shapes: Mapping[str, tuple[int, ...]]) -> State:
    """Arrays of the shapes, each of one number of its own, in no memory to speak of."""
    return {
        name: np.broadcast_to(np.float32(index + 1), shape)
        if not name.endswith("num_batches_tracked")
        else np.array(index)
        for index, (name, shape) in enumerate(shapes.items())
    }


def torchvision_state(name: str, **options: object) -> State:
    with torch.device("meta"):
        model = getattr(torchvision.models, name)(**options)
    return numbered({key: tuple(value.shape) for key, value in model.state_dict().items()})


def expectation(state: State, drop: str = "num_batches_tracked") -> list[Expected]:
    return [Expected(name, array.shape) for name, array in state.items() if not name.endswith(drop)]


def renamed(state: State, *rules: tuple[str, str | Callable[[re.Match[str]], str]]) -> State:
    names = {}
    for name in state:
        new = name
        for pattern, target in rules:
            new = re.sub(pattern, target, new)
        names[name] = new
    assert len(set(names.values())) == len(names)
    return {names[name]: array for name, array in state.items()}


def plus(number: int, form: str) -> Callable[[re.Match[str]], str]:
    return lambda found: form.format(int(found[1]) + number, *found.groups()[1:])


def assert_same(result: Match, state: State) -> None:
    wanted = [name for name in state if not name.endswith("num_batches_tracked")]
    assert list(result.arrays) == wanted
    for name in wanted:
        assert result.arrays[name].shape == state[name].shape, name
        assert np.array_equal(result.arrays[name], state[name]), name


def refusal(expected: list[Expected], found: Mapping[str, Any]) -> str:
    with pytest.raises(CompileError) as caught:
        match(expected, found)
    (diagnostic,) = caught.value.diagnostics
    assert diagnostic.code == "RD507"
    return f"{diagnostic.message}\n{diagnostic.why}\n{diagnostic.hint}"


# By name


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg16", "wide_resnet50_2"])
def test_torchvisions_own_names_match_exactly(name):
    state = torchvision_state(name)
    result = match(expectation(state), state)
    assert_same(result, state)
    count = len(expectation(state))
    assert result.report.summary() == f"{count} of {count} tensors: {count} by name"
    assert result.report.notes == ()


def test_counters_of_batches_are_taken_where_expected_and_never_missed():
    state = torchvision_state("resnet18")
    expected = [Expected(name, array.shape) for name, array in state.items()]
    assert list(match(expected, state).arrays) == list(state)
    without = {name: array for name, array in state.items() if "num_batches" not in name}
    result = match(expected, without)
    assert list(result.arrays) == list(without)
    assert result.report.summary() == "102 of 102 tensors: 102 by name"


def test_what_is_not_required_may_be_missing():
    state = torchvision_state("resnet18")
    expected = [
        Expected(name, array.shape, not name.startswith("fc.")) for name, array in state.items()
    ]
    backbone = {name: array for name, array in state.items() if not name.startswith("fc.")}
    assert "fc.weight" not in match(expected, backbone).arrays
    assert "fc.weight" in match(expected, state).arrays


@pytest.mark.parametrize("prefix", ["net.", "encoder.backbone."])
def test_a_prefix_that_all_names_have_is_stripped_and_named(prefix):
    state = torchvision_state("resnet18")
    result = match(expectation(state), {prefix + name: array for name, array in state.items()})
    assert_same(result, state)
    assert result.report.summary() == "102 of 102 tensors: 102 by name"
    assert result.report.notes == (f"stripped `{prefix}` from every name",)


# By rule

STAGE, BLOCK = r"^layer(\d)\.", r"^layer(\d)\.(\d+)\."
PROJECTS: dict[str, tuple[str, list[tuple[str, Any]]]] = {
    "kuangliu/pytorch-cifar": (
        "resnet50",
        [(r"^fc\.", "linear."), (r"\.downsample\.", ".shortcut.")],
    ),
    "weiaicunzai/pytorch-cifar100": (
        "resnet50",
        [
            (r"\.conv1\.", ".residual_function.0."),
            (r"\.bn1\.", ".residual_function.1."),
            (r"\.conv2\.", ".residual_function.3."),
            (r"\.bn2\.", ".residual_function.4."),
            (r"\.conv3\.", ".residual_function.6."),
            (r"\.bn3\.", ".residual_function.7."),
            (r"\.downsample\.", ".shortcut."),
            (r"^conv1\.", "conv1.0."),
            (r"^bn1\.", "conv1.1."),
            (STAGE, plus(1, "conv{}_x.")),
        ],
    ),
    "timm, resnetv2": (
        "resnet50",
        [
            (r"^conv1\.", "stem.conv."),
            (r"^bn1\.", "stem.norm."),
            (r"\.bn(\d)\.", r".norm\1."),
            (r"\.downsample\.0\.", ".downsample.conv."),
            (r"\.downsample\.1\.", ".downsample.norm."),
            (r"^fc\.", "head.fc."),
            (STAGE, plus(-1, "stages.{}.blocks.")),
        ],
    ),
    "mmpretrain": ("resnet50", [(r"^(?!fc)", "backbone."), (r"^fc\.", "head.fc.")]),
    "detectron2": (
        "resnet50",
        [
            (r"\.bn(\d)\.", r".conv\1.norm."),
            (r"\.downsample\.0\.", ".shortcut."),
            (r"\.downsample\.1\.", ".shortcut.norm."),
            (r"^bn1\.", "stem.conv1.norm."),
            (r"^conv1\.(?!norm)", "stem.conv1."),
            (r"^fc\.", "linear."),
            (STAGE, plus(1, "res{}.")),
            (r"^", "backbone.bottom_up."),
        ],
    ),
    "Hugging Face transformers": (
        "resnet50",
        [
            (r"\.conv(\d)\.", plus(-1, ".layer.{}.convolution.")),
            (r"\.bn(\d)\.", plus(-1, ".layer.{}.normalization.")),
            (r"\.downsample\.0\.", ".shortcut.convolution."),
            (r"\.downsample\.1\.", ".shortcut.normalization."),
            (r"^conv1\.", "embedder.embedder.convolution."),
            (r"^bn1\.", "embedder.embedder.normalization."),
            (STAGE, plus(-1, "encoder.stages.{}.layers.")),
            (r"^(?!fc)", "resnet."),
            (r"^fc\.", "classifier.1."),
        ],
    ),
    "pycls": (
        "resnet50",
        [
            (r"\.conv1\.", ".f.a."),
            (r"\.conv2\.", ".f.b."),
            (r"\.conv3\.", ".f.c."),
            (r"\.bn1\.", ".f.a_bn."),
            (r"\.bn2\.", ".f.b_bn."),
            (r"\.bn3\.", ".f.c_bn."),
            (r"\.downsample\.0\.", ".proj."),
            (r"\.downsample\.1\.", ".bn."),
            (r"^conv1\.", "stem.conv."),
            (r"^bn1\.", "stem.bn."),
            (BLOCK, lambda found: f"s{found[1]}.b{int(found[2]) + 1}."),
            (r"^fc\.", "head.fc."),
        ],
    ),
    "Cadene/pretrained-models.pytorch": (
        "resnet50",
        [(r"^(conv1|bn1)\.", r"layer0.\1."), (r"^fc\.", "last_linear.")],
    ),
    "other names of the classifier": ("resnet50", [(r"^fc\.", "fc.1.")]),
}


@pytest.mark.parametrize("project", PROJECTS)
def test_another_projects_names_match_by_its_rules(project):
    architecture, rules = PROJECTS[project]
    state = torchvision_state(architecture)
    theirs = renamed(state, *rules)
    # In another order than ours, so that nothing but the names can decide
    shuffled = dict(sorted(theirs.items(), key=lambda item: item[0][::-1]))
    result = match(expectation(state), shuffled)
    assert_same(result, state)
    assert result.report.project.startswith(project)


def test_every_project_with_rules_has_a_test_and_a_source():
    tested = ("xternalz", "timm, VGG", "torchvision, detection", *PROJECTS)
    assert all(any(item.project.startswith(name) for name in tested) for item in RULE_SETS)
    assert all(item.source for item in RULE_SETS)


def test_the_summary_counts_what_each_rule_did():
    state = torchvision_state("resnet18")
    result = match(expectation(state), renamed(state, (r"^fc\.", "linear.")))
    where = "(kuangliu/pytorch-cifar and akamaster/pytorch_resnet_cifar10)"
    assert (
        result.report.summary()
        == f"102 of 102 tensors: 100 by name, 2 by rule `linear → fc` {where}"
    )
    (item,) = [item for item in result.report.matched if item.name == "fc.bias"]
    assert (item.found, item.how, item.rule) == ("linear.bias", "rule", "linear → fc")
    many = match(expectation(state), renamed(state, *PROJECTS["Hugging Face transformers"][1]))
    assert (
        many.report.summary() == "102 of 102 tensors: 102 by the names of Hugging Face transformers"
    )


def test_rules_and_a_prefix_go_together():
    state = torchvision_state("resnet18")
    theirs = renamed(
        state, (r"^fc\.", "linear."), (r"\.downsample\.", ".shortcut."), (r"^", "net.")
    )
    result = match(expectation(state), theirs)
    assert_same(result, state)
    assert "stripped `net.` from every name" in result.report.notes


def wide_resnet(naming: str) -> State:
    """A pre-activation net of two stages, as the two conventions name it."""
    shapes: dict[str, tuple[int, ...]] = {"conv1.weight": (16, 3, 3, 3)}

    def norm(name: str, channels: int) -> None:
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{leaf}"] = (channels,)

    before = 16
    for stage, width in ((1, 32), (2, 64)):
        for block in range(2):
            path = f"block{stage}.layer.{block}" if naming == "theirs" else f"layer{stage}.{block}"
            norm(f"{path}.bn1", before)
            shapes[f"{path}.conv1.weight"] = (width, before, 3, 3)
            norm(f"{path}.bn2", width)
            shapes[f"{path}.conv2.weight"] = (width, width, 3, 3)
            if before != width:
                shortcut = "convShortcut" if naming == "theirs" else naming
                shapes[f"{path}.{shortcut}.weight"] = (width, before, 1, 1)
            before = width
    norm("bn1" if naming == "theirs" else "bn", before)
    shapes |= {"fc.weight": (10, before), "fc.bias": (10,)}
    return numbered(shapes)


@pytest.mark.parametrize("shortcut", ["downsample.0", "downsample", "shortcut"])
def test_wide_resnets_match_whatever_the_library_calls_their_shortcut(shortcut):
    theirs, ours = wide_resnet("theirs"), wide_resnet(shortcut)
    result = match(expectation(ours), dict(reversed(theirs.items())))
    assert_same(result, ours)
    assert result.report.project == "xternalz/WideResNet-pytorch"


def test_a_convolution_over_one_pixel_is_read_as_the_classifier():
    state = torchvision_state("resnet18")
    theirs = state | {"fc.weight": state["fc.weight"].reshape(1000, 512, 1, 1)}
    result = match(expectation(state), theirs)
    assert_same(result, state)
    assert "1 by rule `fc as a 1×1 convolution`" in result.report.summary()
    theirs = renamed(theirs, *PROJECTS["timm, resnetv2"][1])
    assert_same(match(expectation(state), theirs), state)


def test_timms_vgg_with_its_head_of_convolutions_matches():
    state = torchvision_state("vgg16")
    theirs = renamed(
        state,
        (r"^classifier\.0\.", "pre_logits.fc1."),
        (r"^classifier\.3\.", "pre_logits.fc2."),
        (r"^classifier\.6\.", "head.fc."),
    )
    theirs["pre_logits.fc1.weight"] = theirs["pre_logits.fc1.weight"].reshape(4096, 512, 7, 7)
    theirs["pre_logits.fc2.weight"] = theirs["pre_logits.fc2.weight"].reshape(4096, 4096, 1, 1)
    assert_same(match(expectation(state), theirs), state)


@pytest.mark.parametrize("names", [("se_module.fc1", "se_module.fc2"), ("se.fc.0", "se.fc.2")])
def test_squeeze_and_excitation_matches_as_linear_layers_too(names):
    shapes = {"layer1.0.se.fc1.weight": (4, 64, 1, 1), "layer1.0.se.fc2.weight": (64, 4, 1, 1)}
    state = numbered({"fc.weight": (10, 64), "fc.bias": (10,), **shapes})
    theirs = {
        re.sub(r"se\.fc1", names[0], re.sub(r"se\.fc2", names[1], name)): array
        for name, array in state.items()
    }
    if names[0] == "se.fc.0":
        theirs = {name: array.reshape(array.shape[:2]) for name, array in theirs.items()}
    assert_same(match(expectation(state), dict(reversed(theirs.items()))), state)


def unused(result: Match, expected: list[Expected], found: State) -> tuple[str, ...]:
    """The tensors of the file that the rules which fitted lay outside of the network."""
    (rules,) = [item for item in RULE_SETS if item.project == result.report.project]
    pairing = pair(expected, found, "", rules)
    assert pairing.fits
    return pairing.unused


def test_a_detectors_backbone_is_taken_and_the_rest_is_named_unused():
    state = {
        name: array
        for name, array in torchvision_state("resnet50").items()
        if not name.startswith("fc.")
    }
    around = numbered(
        {"rpn.head.cls_logits.weight": (3, 256, 1, 1), "backbone.fpn.inner_blocks.0.0.weight": (2,)}
    )
    theirs = {f"backbone.body.{name}": array for name, array in state.items()} | around
    result = match(expectation(state), theirs)
    assert_same(result, state)
    assert set(unused(result, expectation(state), theirs)) == set(around)
    assert any("2 tensors" in note and "unused" in note for note in result.report.notes)


def test_real_detection_names_are_torchvisions():
    with torch.device("meta"):
        detector = torchvision.models.detection.fasterrcnn_resnet50_fpn(
            weights=None, weights_backbone=None
        )
    theirs = numbered({key: tuple(value.shape) for key, value in detector.state_dict().items()})
    state = {
        name: array
        for name, array in torchvision_state("resnet50").items()
        if not name.startswith("fc.")
    }
    result = match(expectation(state), theirs)
    assert len(result.arrays) == len(expectation(state))
    assert len(unused(result, expectation(state), theirs)) > 10


def test_a_rule_that_would_give_one_name_twice_is_not_taken():
    state = torchvision_state("resnet18")
    theirs = state | {"linear.weight": state["fc.weight"], "linear.bias": state["fc.bias"]}
    text = refusal(expectation(state), theirs)
    assert "2 extra" in text


def test_detectron2s_colour_order_is_noted():
    state = torchvision_state("resnet50")
    result = match(expectation(state), renamed(state, *PROJECTS["detectron2"][1]))
    assert any("BGR" in note for note in result.report.notes)


# By order


def scrambled(state: State, leaves: bool) -> State:
    """Names that say nothing: modules numbered in hexadecimal of a hash, and leaves too on request."""
    result: State = {}
    modules: dict[str, str] = {}
    for index, (name, array) in enumerate(state.items()):
        module, _, leaf = name.rpartition(".")
        modules.setdefault(module, f"m{len(modules) * 7919 % 9973:x}")
        result[f"{modules[module]}.{leaf}" if not leaves else f"p{index * 7919 % 99991:x}"] = array
    return result


@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_names_that_say_nothing_match_by_order_and_shape(name, leaves):
    state = torchvision_state(name)
    tensors = (
        {key: value for key, value in state.items() if "num_batches" not in key}
        if leaves
        else state
    )
    result = match(expectation(state), scrambled(tensors, leaves))
    assert_same(result, state)
    count = len(expectation(state))
    assert result.report.summary() == f"{count} of {count} tensors: {count} by order and shape"
    assert any("order of the layers decided" in note for note in result.report.notes)


def test_a_sorted_file_is_not_matched_by_order():
    state = torchvision_state("resnet18")
    theirs = scrambled(state, leaves=False)
    text = refusal(expectation(state), Checkpoint(theirs, ordered=False))
    assert "a safetensors file is sorted by name" in text
    # Twelve equal layers: sorted by name, the eleventh comes second, and no shape would show it
    plain = numbered({f"layer.{index}.weight": (8, 8, 3, 3) for index in range(12)})
    alphabetical = {f"block_{name}": plain[name] for name in sorted(plain)}
    assert "the file is sorted by name" in refusal(expectation(plain), alphabetical)
    in_order = {f"block_{name}": array for name, array in plain.items()}
    assert_same(match(expectation(plain), in_order), plain)


def test_layers_made_in_another_order_are_not_matched_by_order():
    state = torchvision_state("resnet18")
    theirs = scrambled(state, leaves=False)
    # conv1, conv2, bn1, bn2 where we have conv1, bn1, conv2, bn2: per shape the order is the same
    names = list(theirs)
    first = [name for name in names if theirs[name].ndim == 4]
    others = [name for name in names if theirs[name].ndim != 4]
    text = refusal(expectation(state), {name: theirs[name] for name in first + others})
    assert "nor does the order of the tensors decide" in text
    assert "stands where" in text


def test_a_bias_is_not_taken_for_a_weight_of_its_shape():
    ours = [Expected("bn.weight", (8,)), Expected("bn.bias", (8,))]
    text = refusal(ours, {"x.bias": np.zeros(8, np.float32), "x.weight": np.ones(8, np.float32)})
    assert "`x.bias` stands where `bn.weight` is expected" in text


def test_a_name_that_is_known_is_not_moved_by_order():
    ours = [Expected("a.weight", (8,)), Expected("b.weight", (8,)), Expected("c.weight", (8,))]
    arrays = {name: np.ones(8, np.float32) for name in ("b.weight", "x.weight", "c.weight")}
    assert "`b.weight` stands where `a.weight` is expected" in refusal(ours, arrays)


def test_a_negative_variance_shows_that_the_order_is_another():
    ours = [
        Expected(f"bn.{leaf}", (8,)) for leaf in ("weight", "bias", "running_mean", "running_var")
    ]
    arrays = {
        f"p{index}": np.full(8, value, np.float32) for index, value in enumerate((1, 0, 1, -1))
    }
    assert "a variance is not negative" in refusal(ours, arrays)


# What does not fit


def test_another_number_of_classes_is_said_with_what_to_write():
    text = refusal(
        expectation(torchvision_state("resnet18", num_classes=10)), torchvision_state("resnet18")
    )
    assert "0 missing, 0 extra, 2 misshaped" in text
    assert "fc.weight: expected (10, 512), found (1000, 512)" in text
    assert "a network with 1000 classes, the spec has 10: write `classes: 1000`" in text


def test_another_number_of_classes_is_seen_through_other_names():
    theirs = renamed(
        torchvision_state("resnet18"), (r"^fc\.", "linear."), (r"\.downsample\.", ".shortcut.")
    )
    text = refusal(expectation(torchvision_state("resnet18", num_classes=10)), theirs)
    assert "nearest by the names of kuangliu" in text
    assert "write `classes: 1000`" in text


def test_another_depth_is_told_by_the_blocks_of_each_stage():
    text = refusal(expectation(torchvision_state("resnet18")), torchvision_state("resnet34"))
    assert "stages have 2, 2, 2, 2 blocks, the file's have 3, 4, 6, 3" in text
    assert "extra (80):" in text
    assert "… and 70 more" in text
    assert text.count("\n  layer") == 10


def test_another_width_is_told_by_the_ratio():
    ours = numbered({"a.weight": (8, 3, 3, 3), "b.weight": (16, 8, 3, 3), "b.bias": (16,)})
    theirs = numbered({"a.weight": (16, 3, 3, 3), "b.weight": (32, 16, 3, 3), "b.bias": (32,)})
    assert "the file's layers are 2 times as wide" in refusal(expectation(ours), theirs)


def test_another_stem_and_other_images_are_told_by_the_first_layer():
    state = torchvision_state("resnet18")
    grey = state | {"conv1.weight": np.zeros((64, 1, 7, 7), np.float32)}
    assert "images of 1 channels, the spec's have 3" in refusal(expectation(state), grey)
    cifar = state | {"conv1.weight": np.zeros((64, 3, 3, 3), np.float32)}
    assert "is the stem or the block another (CIFAR, ImageNet)?" in refusal(
        expectation(state), cifar
    )


def test_another_shortcut_norm_or_kind_of_network_is_told():
    state = torchvision_state("resnet18")
    option_a = {name: array for name, array in state.items() if "downsample" not in name}
    assert "is `shortcut:` (A, B or C)" in refusal(expectation(state), option_a)
    group = {name: array for name, array in state.items() if "running" not in name}
    assert "no running statistics" in refusal(expectation(state), group)
    assert "has running statistics" in refusal(expectation(group), state)
    backbone = {name: array for name, array in state.items() if not name.startswith("fc.")}
    assert "the file is of a backbone" in refusal(expectation(state), backbone)
    other = numbered({"encoder.attention.query.weight": (8, 8), "encoder.x.weight": (3,)})
    assert "no name is known" in refusal(expectation(state), other)
    assert "102 missing, 0 extra" in refusal(expectation(state), {})


def test_integers_are_not_taken_for_weights():
    state = torchvision_state("resnet18")
    quantised = state | {"conv1.weight": np.zeros((64, 3, 7, 7), np.int8)}
    text = refusal(expectation(state), quantised)
    assert "conv1.weight: is of type int8, not floating" in text
    assert "a quantised network" in text


def test_every_missing_and_extra_tensor_is_listed_with_its_shape():
    text = refusal(
        [Expected("a.weight", (2, 3)), Expected("b.weight", (4,))],
        {"a.weight": np.ones((2, 3), np.float32), "c.weight": np.ones((5, 6), np.float32)},
    )
    assert (
        "the weights do not fit the network of 2 tensors: 1 missing, 1 extra, 0 misshaped" in text
    )
    assert "missing (1):\n  b.weight (4,)" in text
    assert "extra (1):\n  c.weight (5, 6)" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy"])
def test_a_real_state_dict_goes_from_a_file_to_the_networks_names(tmp_path, name, form):
    state = getattr(torchvision.models, name)().state_dict()
    theirs = {f"module.{key}".replace(".fc.", ".linear."): value for key, value in state.items()}
    path = tmp_path / "weights"
    if form == "safetensors":
        save_torch(theirs, path)
    else:
        torch.save({"state_dict": theirs}, path, _use_new_zipfile_serialization=form == "zip")
    found = load(path)
    result = match([Expected(key, tuple(value.shape)) for key, value in state.items()], found)
    assert list(result.arrays) == list(state)
    assert all(np.array_equal(array, state[key].numpy()) for key, array in result.arrays.items())
    assert "2 by rule `linear → fc`" in result.report.summary()
    assert "stripped `module.` from every name" in found.notes
    path.unlink()


def test_programs_are_given_every_tensor_that_differs():
    """People are shown ten of each kind; both count the whole state dict, as every other line does."""
    ours, theirs = torchvision_state("resnet18"), torchvision_state("resnet34")
    theirs["conv1.weight"] = np.zeros((64, 1, 7, 7), np.float32)
    expected = [
        Expected(name, array.shape, required=array.dtype.kind == "f")
        for name, array in ours.items()
    ]
    with pytest.raises(CompileError) as caught:
        match(expected, theirs)
    (found,) = json.loads(json.dumps(as_json(caught.value)))
    assert "the network of 122 tensors: 0 missing, 80 extra, 1 misshaped" in found["message"]
    assert "the file has 182 tensors" not in found["why"]
    assert found["missing"] == []
    assert len(found["extra"]) == 80
    assert {item["name"] for item in found["extra"]} <= theirs.keys() - ours.keys()
    assert found["misshaped"] == [
        {
            "name": "conv1.weight",
            "expected": [64, 3, 7, 7],
            "found": [64, 1, 7, 7],
            "dtype": "float32",
        }
    ]


def test_counters_that_are_left_aside_are_said_to_be():
    state = torchvision_state("resnet18")
    del state["conv1.weight"]
    expected = expectation(torchvision_state("resnet18"))
    assert "has 101 tensors and the network 102, counters of batches aside" in refusal(
        expected, state
    )
    plain = {name: array for name, array in state.items() if array.dtype.kind == "f"}
    assert re.search("has 101 tensors and the network 102$", refusal(expected, plain), re.M)
