"""Random specs compile to sound graphs or are refused with findings; nothing else comes out."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler_tests.emitted import all_specs
from compiler_tests.spec_texts import FILE, changed, program, with_block
from resnet_dsl.errors import CODES, CompileError, render_all
from resnet_dsl.ir.graph import Graph
from resnet_dsl.ir.program import Program
from resnet_dsl.ir.text import graph_text, program_text
from resnet_dsl.ir.verify import verify
from resnet_dsl.language import library
from resnet_dsl.passes.inline import inline

QUICK = settings(max_examples=150, suppress_health_check=list(HealthCheck))

NUMBERS = st.one_of(st.integers(1, 4), st.integers(0, 40), st.sampled_from([0, -1, 1 << 40]))
EXPRESSIONS = st.one_of(
    NUMBERS,
    st.sampled_from(
        [
            "width",
            "in",
            "out",
            "width // 2",
            "max(in, 1) * 2",
            "make_divisible(width * 0.25, 8)",
            "stride",
            "stride if transition else 1",
            "index + 1",
            "in - 1",
            "width // (stride - 1)",
            "width / 2",
            "nothing",
            "1 +",
        ]
    ),
)
CONDITIONS = st.sampled_from(["transition", "first", "not last", "in > 3", "depth > 1", True])
PAIRS = st.one_of(EXPRESSIONS, st.lists(st.integers(1, 3), min_size=2, max_size=2))
NAMES = st.sampled_from(["mine", "one", "two", "three", "conv1", "forward", "downsample"])


def some(**optional: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=optional)


def items(bodies: st.SearchStrategy[list[Any]]) -> st.SearchStrategy[Any]:
    """Entries of a body; those with bodies of their own take them from `bodies`."""
    conv = st.fixed_dictionaries(
        {"kernel": st.one_of(st.just(3), PAIRS)},
        optional={
            "out": EXPRESSIONS,
            "stride": PAIRS,
            "padding": PAIRS,
            "dilation": st.integers(1, 2),
            "groups": st.one_of(st.just(1), EXPRESSIONS),
            "bias": st.booleans(),
        },
    )
    pool = st.fixed_dictionaries(
        {"kernel": PAIRS}, optional={"stride": PAIRS, "padding": st.integers(0, 1)}
    )
    layers = st.one_of(
        st.fixed_dictionaries({"conv": conv}),
        st.fixed_dictionaries({"max_pool": pool}),
        st.fixed_dictionaries({"dropout": st.fixed_dictionaries({"rate": st.floats(0, 0.9)})}),
        st.fixed_dictionaries({"subsample": st.fixed_dictionaries({"stride": EXPRESSIONS})}),
        st.fixed_dictionaries({"pad_channels": st.fixed_dictionaries({"out": EXPRESSIONS})}),
        st.fixed_dictionaries({"linear": st.fixed_dictionaries({"out": EXPRESSIONS})}),
        st.fixed_dictionaries({"squeeze_excite": some(reduction=EXPRESSIONS)}),
        st.fixed_dictionaries({"bottleneck": some(width=EXPRESSIONS, expansion=EXPRESSIONS)}),
    )
    gated = st.fixed_dictionaries({"residual": bodies, "gate": bodies, "join": st.just("gate")})
    joined = st.fixed_dictionaries(
        {"residual": bodies},
        optional={
            "join": st.sampled_from(["add", "multiply", "concat"]),
            "shortcut": st.sampled_from(["A", "B", "C", "identity", "gate"]),
            "after": bodies,
        },
    )
    branched = st.fixed_dictionaries(
        {"branches": st.lists(bodies, min_size=2, max_size=3)},
        optional={"join": st.sampled_from(["add", "concat", "multiply"])},
    )
    looped = st.fixed_dictionaries(
        {"repeat": st.one_of(st.integers(0, 4), EXPRESSIONS), "body": bodies}
    )
    sequence = st.fixed_dictionaries({"sequence": bodies, "name": NAMES})
    words = st.sampled_from(["norm", "act", "relu", "flatten", "global_avg_pool", "squeeze_excite"])
    named = st.builds(
        lambda verb, more: {**verb, **more}, layers, some(when=CONDITIONS, name=NAMES)
    )
    forms = st.one_of(gated, joined, branched, looped, sequence)
    on_condition = st.builds(lambda form, more: {**form, **more}, forms, some(when=CONDITIONS))
    return st.one_of(words, layers, named, on_condition)


BODIES: st.SearchStrategy[list[Any]] = st.deferred(lambda: st.lists(items(BODIES), max_size=3))

OWN_BLOCKS = st.one_of(
    st.fixed_dictionaries(
        {"residual": BODIES},
        optional={
            "out": EXPRESSIONS,
            "before": BODIES,
            "after": BODIES,
            "join": st.sampled_from(["add", "concat", "multiply"]),
        },
    ),
    st.fixed_dictionaries({"body": BODIES}, optional={"parameters": some(n=NUMBERS)}),
    st.fixed_dictionaries({"branches": st.lists(BODIES, min_size=2, max_size=3)}),
)

BLOCKS = st.sampled_from([*library.names("block"), "own", "own"])
SHORTCUTS = st.sampled_from(library.names("shortcut"))
STAGES = st.fixed_dictionaries(
    {
        "block": st.one_of(BLOCKS, st.lists(BLOCKS, min_size=2, max_size=2)),
        "depth": st.sampled_from([2, 4]),
        "width": st.sampled_from([8, 16, 32, "8 + 8 * number", "24 // (index + 1)"]),
    },
    optional={
        "stride": st.integers(1, 3),
        "dilation": st.integers(1, 2),
        "shortcut": SHORTCUTS,
        "skip": SHORTCUTS,
        "name": st.sampled_from(["a", "b", "c", "d", "e", "f", "conv1"]),
    },
)
SPECS = st.fixed_dictionaries(
    {
        "name": st.just("net"),
        "input": st.fixed_dictionaries(
            {
                "channels": st.sampled_from([1, 3, 8]),
                "size": st.one_of(st.integers(1, 48), st.tuples(st.integers(1, 48), st.just(9))),
            }
        ),
        "classes": st.integers(1, 10),
        "stages": st.lists(STAGES, min_size=1, max_size=3),
        "blocks": st.fixed_dictionaries({"own": OWN_BLOCKS}),
    },
    optional={
        "stem": st.sampled_from(library.names("stem")),
        "head": st.sampled_from(["classifier", "vgg", "none", "highway"]),
        "shortcut": SHORTCUTS,
        "skip": SHORTCUTS,
        "norm": st.sampled_from(["batch", "none", "frozen", {"group": {"groups": 8}}]),
        "activation": st.sampled_from(["relu", "silu", {"leaky_relu": {"slope": 0.2}}]),
        "drop_path": st.just({"rate": 0.3}),
        "init": st.just({"zero_last_norm": True}),
    },
)


def check(text: str) -> bool:
    """Compile a text; whether it was accepted. Anything but a sound graph or findings fails."""
    try:
        compiled = program(text)
    except CompileError as error:
        check_findings(error)
        return False
    graph = inline(compiled)
    verify(graph)
    assert program_text(compiled)
    assert graph_text(graph)
    check_features(compiled, graph)
    return True


def check_findings(error: CompileError) -> None:
    """Every finding can be drawn, and says where."""
    assert render_all(error)
    for item in error.diagnostics:
        assert item.code in CODES
        assert item.position is not None
        assert item.message


def check_features(compiled: Program, graph: Graph) -> None:
    """What the lowering says of the ends of stages is what the graph has there."""
    shapes = {item.name: graph.nodes[item.value - 1].shape for item in graph.features if item.value}
    for feature in compiled.features:
        if feature.stage in shapes:
            assert shapes[feature.stage] == (feature.channels, feature.height, feature.width)


@QUICK
@given(SPECS)
def test_a_random_spec_is_a_sound_graph_or_findings(data: dict[str, Any]) -> None:
    check(json.dumps(data))


@QUICK
@given(OWN_BLOCKS, st.integers(1, 2))
def test_a_random_block_is_a_sound_graph_or_findings(block: dict[str, Any], stride: int) -> None:
    data = {
        "name": "net",
        "input": {"size": 12},
        "classes": 3,
        "stem": "cifar",
        "stages": [{"block": "own", "depth": 2, "width": 16, "stride": stride}],
        "blocks": {"own": block},
        "head": "classifier",
    }
    check(json.dumps(data))


TEXTS = [
    *(path.read_text(encoding="utf-8") for path in all_specs()[::5]),
    changed(),
    with_block("residual:\n  - conv: {out: width, kernel: 3, stride: stride}\n  - norm\n"),
]
PIECES = st.one_of(
    st.sampled_from(["{", "}", "[", "]", ":", "- ", "\n", "  ", "'", '"', "&a ", "*a", "!", "#"]),
    st.sampled_from(["null", "true", "-1", "1e9", ".nan", "width", "none", "stages", "~", "\t"]),
    st.text(max_size=3),
)


@QUICK
@given(st.sampled_from(TEXTS), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 6), PIECES)))
def test_a_mutated_spec_never_raises_anything_but_findings(
    text: str, edits: list[tuple[float, int, str]]
) -> None:
    for where, length, piece in edits:
        start = int(where * len(text))
        text = text[:start] + piece + text[start + length :]
    check(text)


@QUICK
@given(
    st.sampled_from(TEXTS[-2:]),
    st.integers(0, 60),
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just([]), st.just({})
    ),
)
def test_a_spec_with_any_value_replaced_never_raises_anything_but_findings(
    text: str, index: int, value: Any
) -> None:
    from resnet_dsl.language.source import parse_text

    data = parse_text(text, FILE).data
    places = list(_places(data))
    holder, key = places[index % len(places)]
    holder[key] = value
    try:
        text = json.dumps(data)
    except (ValueError, UnicodeEncodeError):
        return
    check(text)


def _places(data: Any) -> Any:
    """Every place of nested data that can be assigned to."""
    entries = data.items() if isinstance(data, dict) else enumerate(data)
    for key, value in list(entries):
        yield data, key
        if isinstance(value, dict | list):
            yield from _places(value)
