"""Every spec compiles, and what is known of its size from elsewhere is true of it to the unit."""

from __future__ import annotations

import pytest

from compiler_tests.emitted import all_specs
from resnet_dsl.analysis.macs import total_macs
from resnet_dsl.analysis.parameters import total_parameters as parameter_count
from resnet_dsl.catalogue import bundled, find_spec
from resnet_dsl.compiler import compile_spec
from resnet_dsl.ir.graph import Graph
from resnet_dsl.ir.verify import verify
from resnet_dsl.language import library
from resnet_dsl.language.definitions import MODELS


def trainable(graph: Graph) -> int:
    """Parameters as tables print them: running statistics are not among them."""
    return parameter_count(graph).trainable


# Parameters, and multiply-adds of convolutions and linear layers at batch 1. The rows of the paper are He, Zhang,
# Ren, Sun, "Deep Residual Learning for Image Recognition", 2015 (arXiv 1512.03385), tables 1 and 6, which print them
# rounded; the v1.5, ResNeXt, wide and VGG rows are torchvision's counts.
REFERENCE = {
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 3_857_973_248),
    "resnet101": (44_549_160, 7_570_194_432),
    "resnet152": (60_192_808, 11_282_415_616),
    "resnet50_v1_5": (25_557_032, 4_089_184_256),
    "resnet101_v1_5": (44_549_160, 7_801_405_440),
    "resnet152_v1_5": (60_192_808, 11_513_626_624),
    "resnext50_32x4d": (25_028_904, 4_230_479_872),
    "resnext101_32x8d": (88_791_336, 16_414_015_488),
    "resnext101_64x4d": (83_455_272, 15_460_270_080),
    "wide_resnet50_2": (68_883_240, 11_398_021_120),
    "wide_resnet101_2": (126_886_696, 22_753_050_624),
    "vgg16": (138_357_544, 15_470_264_320),
    "vgg19": (143_667_240, 19_632_062_464),
    "resnet20": (269_722, 40_551_040),
    "resnet32": (464_154, 68_862_592),
    "resnet44": (658_586, 97_174_144),
    "resnet56": (853_018, 125_485_696),
    "resnet110": (1_727_962, 252_887_680),
    "resnet1202": (19_421_274, 2_829_238_912),
}

# Names of layers that hold weights: (convolutions, linear layers). The nets are named after their sum; projections are
# not counted in the names.
LAYERS = {
    "plain18": 18,
    "plain34": 34,
    "plain20": 20,
    "plain110": 110,
    "resnet110": 110,
    "resnet1202": 1202,
    "resnet110_preact": 110,
    "resnet164_preact": 164,
    "resnet1001_preact": 1001,
    "resnet200_preact": 200,
    "resnet110_stochastic": 110,
    "ror3_110": 110,
    "vgg16": 16,
    "vgg19": 19,
    "highway19": 19,
    "highway32": 32,
    "skip1": 38,
    "skip2": 38,
    "skip3": 38,
    "skip4": 38,
}


@pytest.mark.parametrize("name", REFERENCE)
def test_parameters_and_multiply_adds_are_those_of_the_reference(name: str) -> None:
    graph = compile_spec(find_spec(name)).graph
    assert (trainable(graph), total_macs(graph)) == REFERENCE[name]


@pytest.mark.parametrize("path", all_specs(), ids=lambda path: path.stem)
def test_every_spec_compiles_to_a_sound_graph_under_its_own_name(path) -> None:
    compilation = compile_spec(path)
    verify(compilation.graph)
    assert compilation.spec.name == path.stem
    assert compilation.spec.doc.endswith(".")
    assert len(compilation.program.features) == len(compilation.spec.stages)


def test_every_spec_is_bundled_once() -> None:
    assert sorted(bundled().values()) == all_specs()


@pytest.mark.parametrize("name", LAYERS)
def test_depth_is_what_the_name_says(name: str) -> None:
    graph = compile_spec(find_spec(name)).graph
    kinds = [
        type(node.op).__name__
        for node in graph.nodes
        if "downsample" not in node.name and "gate_conv" not in node.name
    ]
    assert kinds.count("Conv") + kinds.count("Linear") == LAYERS[name]


def test_the_paper_s_figures_are_the_exact_ones_rounded() -> None:
    printed = {"resnet18": 1.8, "resnet50": 3.8, "resnet101": 7.6, "resnet152": 11.3}
    for name, billions in printed.items():
        exact = REFERENCE[name][1] / 1e9
        assert abs(exact - billions) < 0.06, name


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_nets_of_one_to_four_layers_under_a_shortcut_differ_in_nothing_else(layers: int) -> None:
    graph = compile_spec(find_spec(f"skip{layers}")).graph
    kinds = [type(node.op).__name__ for node in graph.nodes]
    assert kinds.count("Conv") == 37
    assert kinds.count("Add") * layers == 36


def test_both_paddings_of_option_a_cost_nothing() -> None:
    symmetric = compile_spec(find_spec("resnet20")).graph
    trailing = compile_spec(find_spec("resnet20_trailing")).graph
    assert trainable(symmetric) == trainable(trailing) == REFERENCE["resnet20"][0]
    sides = [
        {node.op.side for node in graph.nodes if type(node.op).__name__ == "PadChannels"}  # type: ignore[union-attr]
        for graph in (symmetric, trailing)
    ]
    assert sides == [{"symmetric"}, {"trailing"}]


def test_the_three_shortcut_options_of_resnet34_are_three_specs() -> None:
    counts = [
        trainable(compile_spec(find_spec(name)).graph)
        for name in ("resnet34_a", "resnet34", "resnet34_c")
    ]
    assert counts == sorted(counts)
    assert len(set(counts)) == 3


def test_every_library_file_is_used_by_a_spec_or_is_a_name_for_nothing() -> None:
    """A block that no spec uses is one that no golden number holds."""
    used = {("head", "none"), ("stem", "none"), ("shortcut", "identity"), ("shortcut", "gate")}
    used |= {("shortcut", "matching")}  # of compiler_tests/specs/mobilenet_v2.yaml
    for path in all_specs():
        spec = compile_spec(path).spec
        for stage in spec.stages:
            used |= {("block", form.name) for form in stage.block}
            used |= {("shortcut", form.name) for form in (stage.shortcut, stage.skip) if form}
        used |= {("shortcut", form.name) for form in (spec.shortcut, spec.skip) if form}
        used |= {("stem", spec.stem.name)} if spec.stem else set()
        used |= {("head", spec.head.name)} if spec.head else set()
    unused = {(kind, name) for kind in MODELS for name in library.names(kind)} - used
    assert unused == {("block", "squeeze_excite"), ("block", "se_basic")}
