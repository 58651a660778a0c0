"""Definitions: forms, parameters, and the names and types of their expressions."""

from __future__ import annotations

import pytest

from compiler_tests.spec_texts import changed, graph, refusals, refused, with_block
from resnet_dsl.language.definitions import ParameterDecl

CONV = "body: [conv: {out: width, kernel: 1}]"

REFUSED = {
    "two forms": ("body: []\nresidual: []\n", "RD107"),
    "no form": ("doc: nothing\n", "RD107"),
    "a gate without its join": ("residual: [act]\ngate: [sigmoid]\n", "RD107"),
    "a join without its gate": ("residual: [act]\njoin: gate\n", "RD107"),
    "a shortcut without a residual": ("body: [act]\nshortcut: B\n", "RD107"),
    "a join of a body": ("body: [act]\njoin: add\n", "RD107"),
    "branches that are gated": ("branches: [[act], [act]]\njoin: gate\n", "RD107"),
    "one branch": ("branches: «[[act]]»\n", "RD106"),
    "an unknown join": ("residual: [act]\njoin: «ad»\n", "RD103"),
    "an unknown key": ("body: [act]\n«befor»: []\n", "RD101"),
    "an unknown argument": ("body:\n  - conv: {«kernal»: 3, kernel: 3}\n", "RD101"),
    "an argument that is missing": ("body:\n  - max_pool\n", "RD102"),
    "arguments that are a number": ("body:\n  - «conv»: 3\n", "RD105"),
    "two verbs": ("body:\n  - «{conv: {kernel: 3}, act: {}}»\n", "RD107"),
    "no verb": ("body:\n  - «{when: first}»\n", "RD105"),
    "an entry that is a number": ("body:\n  - «3»\n", "RD105"),
    "a name for many modules": ("body:\n  - «residual»: [act]\n    name: a\n", "RD107"),
    "a sequence without a name": ("body:\n  - «sequence»: [act]\n", "RD107"),
    "a repeat without a body": ("body:\n  - «repeat»: 3\n", "RD107"),
    "a shortcut that is not used": (
        "body:\n  - «residual»: [act]\n    join: none\n    shortcut: B\n",
        "RD107",
    ),
    "a parameter with the name of a built-in": (f"parameters: {{«width»: 3}}\n{CONV}\n", "RD108"),
    "a parameter with the name of a stage's key": (f"parameters: {{«name»: 3}}\n{CONV}\n", "RD108"),
    "a parameter that no expression can read": (f"parameters: {{«min»: 3}}\n{CONV}\n", "RD108"),
    "a parameter that is no identifier": (f"parameters: {{«a-b»: 3}}\n{CONV}\n", "RD104"),
    "a let with the name of a parameter": (
        f"parameters: {{a: 3}}\nlet: {{«a»: 2}}\n{CONV}\n",
        "RD108",
    ),
    "a let with the name of the counter": (f"let: {{«i»: 2}}\n{CONV}\n", "RD108"),
    "a default that its bounds refuse": (
        f"parameters: {{a: «{{default: 1, minimum: 2}}»}}\n{CONV}\n",
        "RD107",
    ),
    "a default that is no choice": (
        f"parameters: {{a: «{{default: x, choices: [y, z]}}»}}\n{CONV}\n",
        "RD107",
    ),
    "choices of another type": (
        f"parameters: {{a: «{{type: int, choices: [y, z]}}»}}\n{CONV}\n",
        "RD107",
    ),
    "bounds the wrong way round": (
        f"parameters: {{a: «{{type: int, minimum: 3, maximum: 2}}»}}\n{CONV}\n",
        "RD107",
    ),
    "a parameter without type and default": (f"parameters: {{a: «{{minimum: 2}}»}}\n{CONV}\n", "RD105"),
    "an unknown type": (f"parameters: {{a: {{type: «integer»}}}}\n{CONV}\n", "RD103"),
    "an unknown name": ("body:\n  - conv: {out: 2 * «widht», kernel: 1}\n", "RD302"),
    "a name of a later let": ("let: {a: «b», b: 1}\nbody: [act]\n", "RD302"),
    "`out` in `out`": ("out: «out» * 2\nresidual: [act]\n", "RD302"),
    "`i` outside of a repeat": ("body:\n  - conv: {out: width + «i», kernel: 1}\n", "RD302"),
    "a real for an integer": ("body:\n  - conv: {out: «width / 2», kernel: 1}\n", "RD303"),
    "one of a pair": ("body:\n  - conv: {out: width, kernel: [1, «1 / 2»]}\n", "RD303"),
    "a number for a truth": ("body:\n  - act: {}\n    when: «width»\n", "RD303"),
    "a sum with text": ("let: {a: width + «'b'»}\nbody: [act]\n", "RD303"),
    "a side that is none": ("body:\n  - pad_channels: {out: 32, side: «left»}\n", "RD103"),
    "an unknown operation": ("body:\n  - «sigmoidd»\n", "RD201"),
    "an unknown argument of a block": ("body:\n  - squeeze_excite: {«reductoin»: 4}\n", "RD203"),
    "an argument that a block needs": ("body:\n  - «needy»\n", "RD204"),
    "an argument of the wrong type": ("body:\n  - squeeze_excite: {reduction: «true»}\n", "RD105"),
    "an argument out of bounds": ("body:\n  - squeeze_excite: {reduction: «0»}\n", "RD106"),
    "an argument that cannot be read": ("body:\n  - squeeze_excite: {reduction: 4 «*»}\n", "RD301"),
    "an argument with an unknown name": ("body:\n  - squeeze_excite: {reduction: 4 * «x»}\n", "RD302"),
    "an argument that is a real": ("body:\n  - squeeze_excite: {reduction: «4 / 2»}\n", "RD303"),
    "an unknown shortcut": ("residual: [act]\nshortcut: «Z»\n", "RD201"),
    "an output that is not what was declared": (
        "out: «width * 2»\nresidual: [conv: {out: width, kernel: 1}]\n",
        "RD405",
    ),
    "a block that does nothing": ("body: [{act: {}, when: index < 0}]\n", "RD403"),
    "a rate that is none": ("body:\n  - dropout: {rate: «1.5»}\n", "RD106"),
    "a linear layer on an image": ("body:\n  - linear: «{out: 3}»\n", "RD401"),
    "branches of different extents": (
        "branches:\n  - []\n  - «- conv: {kernel: 1, stride: 2}»\n",
        "RD402",
    ),
    "a gate of another shape": (
        "residual: [act]\nshortcut: identity\njoin: gate\n«gate»: [global_avg_pool]\n",
        "RD402",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "code"), REFUSED.values(), ids=REFUSED)
def test_what_a_definition_cannot_be_is_refused(body: str, code: str) -> None:
    more = "  needy: {parameters: {n: {type: int}}, body: [act]}\n"
    text = with_block(body, more=more)
    if "«" not in body or "- conv: {kernel: 1, stride: 2}»" in body:
        text = text.replace("«", "").replace("»", "")
        assert [item.code for item in refusals(text)] == [code]
    else:
        refused(text, code)


@pytest.mark.parametrize("name", ["conv", "residual", "relu", "when", "name", "repeat"])
def test_a_block_cannot_have_the_name_of_an_operation(name: str) -> None:
    refused(changed() + f"blocks:\n  «{name}»: {{body: [relu]}}\n", "RD108")


def test_a_parameter_has_the_type_of_its_default() -> None:
    for value, type_ in ((3, "int"), (0.5, "float"), (True, "bool"), ("a", "str")):
        assert ParameterDecl.model_validate(value).type == type_
        assert ParameterDecl.model_validate({"default": value}).type == type_


def test_a_truth_is_no_integer_and_an_integer_is_a_real() -> None:
    whole, real = ParameterDecl(type="int"), ParameterDecl(type="float")
    assert whole.refusal(True) is not None
    assert whole.refusal(2.0) is not None
    assert whole.refusal(2) is None
    assert real.refusal(2) is None
    assert real.refusal(True) is not None


def test_a_real_parameter_takes_an_integer_and_stays_real() -> None:
    body = (
        "parameters: {rate: 0.5}\n"
        "body:\n"
        "  - conv: {out: width, kernel: 1}\n"
        "  - dropout: {rate: rate}\n"
    )
    flat = graph(with_block(body, "block: mine, depth: 1, width: 4, rate: 0"))
    (dropout,) = [node for node in flat.nodes if type(node.op).__name__ == "Dropout"]
    assert repr(dropout.op.rate) == "0.0"  # type: ignore[union-attr]


def test_a_library_block_may_be_called_with_expressions() -> None:
    body = "body:\n  - bottleneck: {width: width // 2, expansion: 2, stride: stride}\n"
    flat = graph(with_block(body, "block: mine, depth: 1, width: 16, stride: 2"))
    shapes = {node.name: node.shape for node in flat.nodes}
    assert shapes["layer1.0.bottleneck.conv2"] == (8, 16, 16)
