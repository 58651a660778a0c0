"""The emitted file: golden sources, lint, names, the backbone, and what a spec must not do to it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from compiler_tests import programs
from compiler_tests.effort import grows_linearly
from compiler_tests.emitted import all_specs, construct, import_file, is_clean, tool
from compiler_tests.programs import FACTS, written
from resnet_dsl.backends.torch.emit import emit
from resnet_dsl.compiler import compile_spec, torch_source
from resnet_dsl.errors import CompileError
from resnet_dsl.ir import ops
from resnet_dsl.ir.expr import Binary, Conditional, Expr, Invoke, Name, add, literal, mul
from resnet_dsl.ir.ops import Init
from resnet_dsl.ir.program import (
    Apply,
    Call,
    Chain,
    Feature,
    Function,
    Parameter,
    Program,
    Reference,
    Statement,
    UseSlot,
)
from resnet_dsl.passes.inline import inline

EVERY = pytest.mark.parametrize("builder", programs.EVERY, ids=lambda builder: builder.__name__)
Builder = Callable[[], Program]


@EVERY
def test_the_source_is_the_golden_one(
    builder: Builder, golden: Callable[[str | Path, str], None]
) -> None:
    program = builder()
    golden(Path("torch") / f"{program.name}.py", emit(program, FACTS))


def odd_networks() -> list[Program]:
    """Programs with what the plain ones do not have."""
    return [
        capital_letters(),
        long_names(),
        long_expressions(),
        hostile_text(),
        frozen_and_padded(),
        mixed_patterns(),
        words_of_python(),
        everything_initialised_differently(),
        headless(),
    ]


def test_every_source_is_formatted_and_lint_clean(tmp_path: Path) -> None:
    built = [builder() for builder in programs.EVERY]
    is_clean(*(written(program, tmp_path) for program in [*built, *odd_networks()]))


def specs_written(folder: Path) -> list[Path]:
    """The sources of every spec of the repository."""
    paths = []
    for spec in all_specs():
        paths.append(folder / f"{spec.stem}.py")
        paths[-1].write_text(torch_source(compile_spec(spec)))
    return paths


def test_the_sources_of_all_specs_are_formatted_and_lint_clean(tmp_path: Path) -> None:
    paths = specs_written(tmp_path)
    is_clean(*paths)
    assert max(len(path.read_text().splitlines()) for path in paths) < 250


@pytest.mark.slow
def test_every_source_is_strictly_typed(tmp_path: Path) -> None:
    built = [builder() for builder in programs.EVERY]
    for program in [*built, *odd_networks()]:
        written(program, tmp_path)
    specs_written(tmp_path)
    tool("mypy", "--strict", "--config-file=", str(tmp_path))


@EVERY
def test_state_dicts_have_the_graphs_names_in_its_order(builder: Builder, tmp_path: Path) -> None:
    program = builder()
    model = construct(written(program, tmp_path))
    wanted = [(item.name, item.shape) for node in inline(program).nodes for item in node.constants]
    state = model.state_dict()
    found = [(name, tuple(each.shape)) for name, each in state.items() if each.ndim]
    assert found == wanted


@EVERY
def test_the_same_program_gives_the_same_text(builder: Builder) -> None:
    assert emit(builder(), FACTS) == emit(builder(), FACTS)


def test_the_file_states_its_facts() -> None:
    text = ast.get_docstring(ast.parse(emit(programs.bottleneck(), FACTS)))
    assert text is not None
    assert "12,345 parameters; 6,789,000 multiply-adds an image" in text
    assert "Input (N, 3, 16, 16)" in text
    assert "resnet-dsl 1.2.3" in text
    assert "0" * 64 in text
    assert "3 × Bottleneck, 3 × Bottleneck, average pool" in " ".join(text.split())


def test_the_number_of_classes_is_an_argument(tmp_path: Path) -> None:
    path = written(programs.bottleneck(), tmp_path)
    assert construct(path).fc.out_features == 10
    assert construct(path, num_classes=7).fc.out_features == 7


@EVERY
def test_a_backbone_gives_the_stages_it_was_asked_for(builder: Builder, tmp_path: Path) -> None:
    program = builder()
    module = import_file(written(program, tmp_path))
    factory = getattr(module, f"{program.name}_backbone")
    names = [feature.stage for feature in program.features]
    for stages in (names, names[:1], names[::-1]):
        backbone = factory(stages).eval()
        assert backbone.channels == tuple(
            feature.channels
            for name in stages
            for feature in program.features
            if feature.stage == name
        )
        outputs = backbone(torch.zeros(2, *program.input))
        assert list(outputs) == stages
        for feature in program.features:
            if feature.stage in stages:
                place = stages.index(feature.stage)
                assert outputs[feature.stage].shape == (
                    2, feature.channels, feature.height, feature.width
                )  # fmt: skip
                assert program.input[1] // backbone.strides[place] == feature.height


@EVERY
def test_a_backbone_takes_a_classifiers_checkpoint(builder: Builder, tmp_path: Path) -> None:
    program = builder()
    module = import_file(written(program, tmp_path))
    model = getattr(module, program.name)().eval()
    backbone = getattr(module, f"{program.name}_backbone")().eval()
    report = backbone.load_state_dict(model.state_dict(), strict=False)
    assert not report.missing_keys
    images = torch.randn(2, *program.input)
    features = model.forward_features(images)
    for name, value in backbone(images).items():
        assert torch.equal(value, features[name])


@EVERY
def test_a_backbone_has_no_weights_that_nothing_reads(builder: Builder, tmp_path: Path) -> None:
    program = builder()
    module = import_file(written(program, tmp_path))
    backbone = getattr(module, f"{program.name}_backbone")((program.features[0].stage,))
    (output,) = backbone(torch.randn(2, *program.input)).values()
    output.sum().backward()
    assert all(each.grad is not None for each in backbone.parameters())


def test_a_backbone_refuses_unknown_stages_and_lists_the_known(tmp_path: Path) -> None:
    module = import_file(written(programs.bottleneck(), tmp_path))
    with pytest.raises(ValueError, match=r"\['layer9'\].*\['layer1', 'layer2'\]"):
        module.tiny_bottleneck_backbone(("layer1", "layer9"))
    with pytest.raises(ValueError, match="choose from"):
        module.tiny_bottleneck_backbone(())


def test_depth_costs_no_lines_and_linear_time() -> None:
    lengths = []

    def prepare(depth: int) -> Callable[[], object]:
        program = programs.stochastic(depth)
        return lambda: lengths.append(len(emit(program, FACTS).splitlines()))

    assert grows_linearly(prepare, 1_000)
    assert len(set(lengths)) == 1


def test_stages_inside_of_a_chain_cost_linear_time() -> None:
    def prepare(count: int) -> Callable[[], object]:
        program = flat_stages(count)
        return lambda: emit(program, FACTS)

    assert emit(flat_stages(3), FACTS).count("# stage") == 3
    assert grows_linearly(prepare, 1_000)


def flat_stages(count: int) -> Program:
    """One flat chain of as many stages of one layer each."""
    flat = programs.vgg()
    members, features = [], []
    for place in range(0, 2 * count, 2):
        given = programs.arguments(into=8 if place else 3, width=8)
        members.append(Call(str(place), "conv_layer", given, 0, splice=True))
        features.append(Feature(f"stage{place // 2 + 1}", 1, 8, 1, 16, 16, place + 2))
    main = [Chain("features", tuple(members), 0, "features"), *programs.head(8, 1)]
    return programs.program("flat", "A flat trunk.", main, [flat.functions["conv_layer"]], features)


def test_a_block_of_thousands_of_operations_is_emitted() -> None:
    body = programs.straight(*((f"conv{i}", programs.conv(4, 4, 3)) for i in range(5_000)))
    text = emit(one_block("deep", body), FACTS)
    assert text.count("nn.Conv2d(4, 4, kernel_size=3, padding=1, bias=False)") == 5_000


def one_block(
    name: str,
    body: Sequence[Statement],
    parameters: tuple[str, ...] = (),
    doc: str = "A block.",
    block_name: str = "block",
    given: tuple[int, ...] = (),
) -> Program:
    """A network of three blocks of 4 channels."""
    function = programs.block(block_name, doc, parameters, list(body))
    sizes = given or (4,) * len(parameters)
    calls = tuple(
        Call(str(i), block_name, tuple((p, literal(n + i)) for p, n in zip(parameters, sizes, strict=True)), 0)
        for i in range(3)
    )  # fmt: skip
    main: list[Statement] = [
        Apply("conv1", programs.conv(3, 4, 3), (0,), "stem"),
        Chain("layer1", calls, 1, "layer1"),
    ]
    features = [Feature("layer1", 2, 4, 1, 16, 16)]
    return programs.program(name, "A network.", [*main, *programs.head(4, 2)], [function], features)


def capital_letters() -> Program:
    body = programs.straight(("Conv", programs.conv(4, 4, 3)), ("Norm", programs.norm(4)))
    return one_block("ResNet_Big", body, block_name="ResNet_big")


def long_names() -> Program:
    name, other = "a" * 64, "b" * 64
    body = programs.straight((name, programs.conv(4, 4, 3)), (other, programs.norm(4)))
    return one_block("c" * 64, [*body, Apply("add", ops.Add(), (0, 2))], block_name="d" * 64)


def long_expressions() -> Program:
    width = Name("width_of_the_block")
    parts: Expr = mul(width, literal(3))
    for term in range(2, 9):
        parts = add(
            mul(parts, add(width, literal(term))),
            Invoke("floor", (Binary("/", width, literal(term)),)),
        )
    channels = Invoke("make_divisible", (Binary("/", width, literal(3)), literal(8)))
    root = Invoke(
        "int", (Invoke("sqrt", (Conditional(width, Binary(">", width, literal(2)), literal(2)),)),)
    )
    body = programs.straight(
        ("conv1", programs.conv(4, parts, 1)), ("conv2", programs.conv(parts, channels, 1)),
        ("conv3", programs.conv(channels, root, 1)), ("conv4", programs.conv(root, 4, 1)),
    )  # fmt: skip
    return one_block("long_expressions", body, ("width_of_the_block",), given=(1,))


HOSTILE = (
    'Ends with a quote"', '"""\nimport os\nos.abort()\n"""', "a \\", 'both """ and \\', "\u202e bidi",
    "tab\tnew\nline\x00\x1b[31m", "  ", '"', "'''", "${jinja} {{ 7 * 7 }} {% raw %}", "x" * 300,
    "深い" * 80, "# noqa\r\nimport os", "\\N{BULLET} \\u0041 \\x41",
)  # fmt: skip


def hostile_text() -> Program:
    body = programs.straight(("conv1", programs.conv(4, 4, 3)))
    program = one_block("hostile", body, doc="\n\n".join(HOSTILE))
    return replace(program, doc="\n\n".join(HOSTILE), spec_hash='"""\nimport os')


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_of_specs_stay_in_their_docstrings(text: str, tmp_path: Path) -> None:
    body = programs.straight(("conv1", programs.conv(4, 4, 3)))
    program = replace(one_block("hostile", body, doc=text), doc=text)
    plain = replace(one_block("hostile", body, doc="Plain."), doc="Plain.")
    path = written(program, tmp_path)
    assert _without_docstrings(path.read_text()) == _without_docstrings(emit(plain, FACTS))
    is_clean(path)


def test_what_a_doc_says_is_what_the_docstring_says() -> None:
    doc = 'Backslash \\n, a "quoted" word, 3×3.'
    body = programs.straight(("conv1", programs.conv(4, 4, 3)))
    tree = ast.parse(emit(one_block("quoted", body, doc=doc), FACTS))
    (found,) = [
        item for item in tree.body if isinstance(item, ast.ClassDef) and item.name == "Block"
    ]
    assert ast.get_docstring(found) == doc


def _without_docstrings(source: str) -> str:
    tree = ast.parse(source)
    for item in ast.walk(tree):
        if isinstance(item, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            item
        ):
            item.body = item.body[1:]
    return ast.dump(tree)


def frozen_and_padded() -> Program:
    one, three = (literal(1), literal(1)), (literal(3), literal(3))
    body = [
        *programs.straight(
            ("pad", ops.PadChannels(literal(4), literal(7))),
            ("append", ops.PadChannels(literal(7), literal(8), "trailing")),
            ("conv1", programs.conv(8, 4, 3)),
            ("bn1", ops.FrozenBatchNorm(literal(4), 1e-3)),
            ("pool", ops.AvgPool(three, one, one)),
            ("gn1", ops.GroupNorm(literal(4), literal(2), 1e-5, 0.5)),
            ("subsample", ops.Subsample(literal(1))),
            ("elu", ops.Activation("elu", 1.0)),
            ("leaky", ops.Activation("leaky_relu", 0.1)),
            ("mish", ops.Activation("mish")),
        )
    ]  # fmt: skip
    return one_block("frozen", body)


def test_helper_classes_are_there_only_where_used() -> None:
    source = emit(frozen_and_padded(), FACTS)
    for name in ("Subsample", "PadChannels", "AppendChannels", "FrozenBatchNorm2d"):
        assert f"class {name}(nn.Module):" in source
    assert "class DropPath" not in source
    assert "class Subsample" not in emit(programs.bottleneck(), FACTS)


def test_frozen_statistics_are_buffers(tmp_path: Path) -> None:
    model = construct(written(frozen_and_padded(), tmp_path))
    assert [name for name, _ in model.layer1[0].bn1.named_buffers()] == [
        "weight", "bias", "running_mean", "running_var",
    ]  # fmt: skip
    assert not list(model.layer1[0].bn1.parameters())


def mixed_patterns() -> Program:
    """A stage in which two kinds of blocks alternate, and a flat one of plain operations."""
    one = programs.block(
        "one", "", ("width",), programs.straight(("conv1", programs.conv(4, 4, 3)))
    )
    two = programs.block(
        "two", "", ("number",), programs.straight(("drop", ops.DropPath(mul(Name("number"), literal(0.1)))))
    )  # fmt: skip
    calls = [
        Call(str(i), "two", programs.arguments(number=i), 0)
        if i % 2
        else Call(str(i), "one", programs.arguments(width=4), 0)
        for i in range(8)
    ]  # fmt: skip
    flat = [
        Apply(str(i), programs.conv(4, 4, 3) if i % 2 == 0 else programs.RELU, ())
        for i in range(12)
    ]
    main: list[Statement] = [
        Apply("conv1", programs.conv(3, 4, 3), (0,), "stem"),
        Chain("layer1", tuple(calls), 1, "layer1"),
        Chain("layer2", tuple(flat), 2, "layer2"),
    ]
    features = [Feature(f"layer{i}", i + 1, 4, 1, 16, 16) for i in (1, 2)]
    return programs.program(
        "mixed", "Patterns.", [*main, *programs.head(4, 3)], [one, two], features
    )


def test_patterns_of_blocks_repeat_in_a_loop(tmp_path: Path) -> None:
    program = mixed_patterns()
    source = emit(program, FACTS)
    assert "for layer in (One(), Two(number=number))" in source
    model = construct(written(program, tmp_path))
    assert [type(block).__name__ for block in model.layer1] == ["One", "Two"] * 4
    assert [block.drop.rate for block in model.layer1[1::2]] == [0.1, 0.1 * 3, 0.5, 0.1 * 7]
    assert len({id(layer) for layer in model.layer2}) == 12


def words_of_python() -> Program:
    """Parameters, blocks and slots that are words of Python or names of torch."""
    parameters = ("lambda", "list", "nn", "self", "Tensor", "in")
    total: Expr = literal(0)
    for each in parameters:
        total = add(total, Name(each))
    body = programs.straight(
        ("conv1", programs.conv(4, total, 1)), ("conv2", programs.conv(total, 4, 1))
    )
    return one_block("match", body, parameters, block_name="class", given=(1,) * 6)


def test_words_of_python_are_spelled_differently(tmp_path: Path) -> None:
    model = construct(written(words_of_python(), tmp_path))
    assert [block.conv1.out_channels for block in model.layer1] == [6, 12, 18]


@pytest.mark.parametrize("name", ["forward", "train", "class", "a.b", "1st", "__x", "_modules"])
def test_module_names_that_torch_or_python_needs_are_refused(name: str) -> None:
    body = programs.straight((name, programs.conv(4, 4, 3)))
    with pytest.raises(CompileError) as caught:
        emit(one_block("refused", body), FACTS)
    (found,) = caught.value.diagnostics
    assert found.code == "RD610"
    assert f"`{name}`" in found.message
    assert found.hint is not None


def everything_initialised_differently() -> Program:
    """Each exception to the general rule that a network can hold."""
    fills: list[Init] = [
        Init("he_normal", "fan_in"), Init("he_uniform"), Init("xavier_normal"), Init("xavier_uniform"),
        Init("normal", scale=0.5), Init("uniform"), Init("zeros"), Init(), Init(),
    ]  # fmt: skip
    body: list[Apply] = [
        Apply(
            f"conv{i}", programs.conv(4, 4, 1, bias=True, init=init, bias_fill=0.25 * (i % 2)), (i,)
        )
        for i, init in enumerate(fills)
    ]
    body.append(Apply("bn", programs.norm(4, 0.5), (len(body),)))
    program = one_block("drawn", body)
    shape = (literal(4), literal(4))
    linears = [
        Init("normal"),
        Init("normal"),
        Init("uniform"),
        Init("xavier_normal"),
        Init("zeros"),
    ]
    members = tuple(
        Apply(str(i), ops.Linear(*shape, True, init, 0.5 * (i % 2)), ())
        for i, init in enumerate(linears)
    )
    main = program.main
    chain = Chain("classifier", members, 4, "head")
    fc = Apply("fc", ops.Linear(literal(4), Name("classes"), False, Init("normal")), (5,), "head")
    return replace(program, main=replace(main, body=(*main.body[:4], chain, fc), result=6))


def headless() -> Program:
    """A network that ends with its last stage."""
    program = programs.bottleneck()
    body = program.main.body[:-3]
    return replace(
        program, name="headless", main=replace(program.main, body=body, result=len(body))
    )


def test_a_network_without_a_head_gives_its_last_stage(tmp_path: Path) -> None:
    model = construct(written(headless(), tmp_path)).eval()
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(model(images), model.forward_features(images)["layer2"])


def test_a_chain_may_hold_a_slot(tmp_path: Path) -> None:
    function = Function(
        "wrapped", "A chain around a slot.", "chain", (Parameter("in", "int"),), ("inner",),
        (Apply("0", programs.conv(Name("in"), 4, 1), (0,)), UseSlot("1", 1)), 2,
    )  # fmt: skip
    function = replace(function, body=(function.body[0], UseSlot("inner", 1)), slots=("inner",))
    shortcut = programs.chain("shortcut", "", ("in",), (programs.norm(Name("in")),))
    given = programs.arguments(into=4)
    filled = Reference("shortcut", given)
    main: list[Statement] = [
        Apply("conv1", programs.conv(3, 4, 3), (0,)),
        Call("first", "wrapped", given, 1, (("inner", filled),)),
        Call("second", "wrapped", given, 2, (("inner", None),)),
    ]
    program = programs.program(
        "wrapping", "", [*main, *programs.head(4, 3)], [function, shortcut], []
    )
    path = written(program, tmp_path)
    is_clean(path)
    model = construct(path)
    assert isinstance(model.second[1], torch.nn.Identity)
    assert isinstance(model.first[1][0], torch.nn.BatchNorm2d)
    assert model(torch.randn(2, 3, 16, 16)).shape == (2, 10)
