"""Module names: how they come about, and where they clash."""

from __future__ import annotations

import pytest

from compiler_tests.spec_texts import changed, graph, refused, with_block

BODY = (
    "body:\n"
    "  - conv: {out: width, kernel: 3}\n"
    "  - relu\n"
    "  - conv: {out: width, kernel: 3}\n"
    "    name: second\n"
    "  - tanh\n"
    "  - conv: {out: width, kernel: 3}\n"
    "  - relu\n"
)


def names(text: str, prefix: str) -> list[str]:
    return [
        node.name.removeprefix(prefix) for node in graph(text).nodes if node.name.startswith(prefix)
    ]


def test_convolutions_are_counted_and_others_only_where_there_are_several() -> None:
    found = names(with_block(BODY), "layer1.0.")
    assert found == ["conv1", "relu1", "second", "tanh", "conv2", "relu2"]


def test_a_sequence_numbers_its_members_and_a_block_in_it_is_one_of_them() -> None:
    found = names(
        with_block(
            "body:\n"
            "  - sequence:\n"
            "      - conv: {out: width, kernel: 3}\n"
            "      - squeeze_excite: {reduction: 4}\n"
            "      - relu\n"
            "    name: path\n"
        ),
        "layer1.0.path.",
    )
    assert found == ["0", "1.avgpool", "1.fc1", "1.relu", "1.fc2", "1.sigmoid", "1.mul", "2"]


def test_the_names_of_timm_where_the_net_is_timm_s() -> None:
    """seresnet50 and resnet50d of timm: `se.fc1`, `conv1.0`, and a projection after its pooling."""
    se = names(changed(("block: basic", "block: se_bottleneck")), "layer1.0.se.")
    assert [name for name in se if name.startswith("fc")] == ["fc1", "fc2"]
    deep = changed(("stem: cifar", "stem: deep"), ("shortcut: B", "shortcut: D"))
    weights = {item.name for node in graph(deep).nodes for item in node.constants}
    assert {"conv1.0.weight", "conv1.1.weight", "conv1.3.weight", "conv1.6.weight"} <= weights
    assert {"layer2.0.downsample.1.weight", "layer2.0.downsample.2.running_mean"} <= weights


def test_stages_may_have_names_of_their_own() -> None:
    found = names(changed(("width: 16}", "width: 16, name: low}")), "low.0.")
    assert found[:2] == ["conv1", "bn1"]


def test_a_name_is_free_where_the_condition_leaves_the_other_out() -> None:
    body = (
        "body:\n"
        "  - conv: {out: width, kernel: 3}\n"
        "    name: a\n"
        "    when: first\n"
        "  - conv: {out: width, kernel: 5}\n"
        "    name: a\n"
        "    when: not first\n"
    )
    assert [names(with_block(body), f"layer1.{index}.") for index in (0, 1)] == [["a"], ["a"]]


CLASHES = {
    "a name given twice": with_block(
        "body:\n"
        "  - conv: {out: width, kernel: 3}\n"
        "    name: a\n"
        "  - conv: {out: width, kernel: 3}\n"
        "    name: «a»\n"
    ),
    "a name that counting gives": with_block(
        "body:\n"
        "  - conv: {out: width, kernel: 3}\n"
        "  - conv: {out: width, kernel: 3}\n"
        "    name: «conv1»\n"
    ),
    "the name of the shortcut": with_block(
        "residual:\n  - conv: {out: width, kernel: 3}\n    name: «downsample»\n"
    ),
    "a stage and a module of the stem": changed(("width: 16}", "width: 16, name: «bn1»}")),
    "a stage and a module of the head": changed(("width: 16}", "width: 16, name: «fc»}")),
    "a stage and one that is numbered": changed(
        ("width: 16}", "width: 16, name: layer2}"),
        ("- {block: basic, depth: 2, width: 32, stride: 2}", "- «{block: basic, depth: 2, width: 32, stride: 2}»"),
    ),
    "a trunk and a module of the head": changed(("shortcut: B", "shortcut: none\ntrunk: «fc»")),
}  # fmt: skip


@pytest.mark.parametrize("text", CLASHES.values(), ids=CLASHES)
def test_two_modules_of_one_name_are_refused(text: str) -> None:
    refused(text, "RD109")


@pytest.mark.parametrize(
    "name", ["forward", "training", "parameters", "to", "lambda", "initialise"]
)
@pytest.mark.parametrize(
    "text",
    [
        changed(("width: 16}", "width: 16, name: «NAME»}")),
        changed(("shortcut: B", "shortcut: none\ntrunk: «NAME»")),
        with_block("body:\n  - conv: {kernel: 3}\n    name: «NAME»\n"),
    ],
    ids=["stage", "trunk", "item"],
)
def test_a_module_cannot_have_a_name_that_modules_or_python_have(name: str, text: str) -> None:
    refused(text.replace("NAME", name), "RD108")


@pytest.mark.parametrize("name", ["class", "torch", "typing", "super", "nn", "numpy", "print"])
def test_a_network_cannot_have_a_name_that_its_file_or_function_would_hide(name: str) -> None:
    refused(changed(("name: net", f"name: «{name}»")), "RD108")


@pytest.mark.parametrize("name", ["con", "Aux", "nul", "PRN", "com1", "lpt9"])
def test_a_network_cannot_be_named_as_a_device_of_windows(name: str) -> None:
    found = refused(changed(("name: net", f"name: «{name}»")), "RD108")
    assert found.why == f"on Windows `{name}` is a device, and no file can be called `{name}.py`"


@pytest.mark.parametrize("name", ["cone", "com", "com10", "lpt", "console"])
def test_a_network_may_be_named_nearly_as_a_device(name: str) -> None:
    graph(changed(("name: net", f"name: {name}")))


def test_a_network_may_be_called_test() -> None:
    graph(changed(("name: net", "name: test")))


def test_every_attribute_of_torch_s_modules_is_reserved() -> None:
    torch = pytest.importorskip("torch")
    from resnet_dsl.ir.reserved import MODULE_ATTRIBUTES

    module = torch.nn.Module()
    public = {name for name in (*dir(module), *vars(module)) if not name.startswith("_")}
    assert public <= MODULE_ATTRIBUTES
