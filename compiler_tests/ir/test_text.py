"""The text forms, whole: graphs and programs as `--stop-after` prints them."""

from __future__ import annotations

from textwrap import dedent

import pytest

from compiler_tests.graphs import RELU, Builder, conv, norm
from resnet_dsl.ir.expr import Binary, Conditional, Literal, Name
from resnet_dsl.ir.graph import ConcreteOp
from resnet_dsl.ir.ops import (
    Activation,
    AdaptiveAvgPool,
    Add,
    BatchNorm,
    Cast,
    Conv,
    DropPath,
    Flatten,
    GroupNorm,
    Init,
    Linear,
    MaxPool,
    PadChannels,
    Subsample,
)
from resnet_dsl.ir.program import (
    Apply,
    Call,
    Chain,
    Function,
    Parameter,
    Program,
    Reference,
    UseSlot,
)
from resnet_dsl.ir.text import attributes, graph_text, operation, program_text
from resnet_dsl.passes.fold_batchnorm import fold_batchnorm
from resnet_dsl.passes.precision import precision


def test_a_graph_is_printed_stage_by_stage_with_the_shape_of_every_result():
    build = Builder(3, 8, 6)
    build.add("conv1", conv(3, 4, 3, 2), group="stem")
    build.add("bn1", norm(4), group="stem")
    entry = build.add("relu", RELU, group="stem")
    build.add("layer1.0.conv1", conv(4, 4), group="layer1")
    again = build.add("layer1.0.conv2", conv(4, 4), group="layer1", weights="layer1.0.conv1")
    out = build.add("layer1.0.add", Add(), again, entry, group="layer1")
    build.feature("layer1", out)
    assert graph_text(build.graph(name="net")) == dedent("""\
        graph net (3, 8, 6)
          stem:
            %1 = conv conv1(%0) 3->4 kernel=3 stride=2 padding=1 : (4, 4, 3)
            %2 = batch_norm bn1(%1) 4 eps=1e-05 momentum=0.1 : (4, 4, 3)
            %3 = relu relu(%2) : (4, 4, 3)
          layer1:
            %4 = conv layer1.0.conv1(%3) 4->4 kernel=3 padding=1 : (4, 4, 3)
            %5 = conv layer1.0.conv2(%4) 4->4 kernel=3 padding=1 weights=layer1.0.conv1 : (4, 4, 3)
            %6 = add layer1.0.add(%5, %3) : (4, 4, 3)
          return %6
          feature layer1 = %6
        """)


def test_folded_normalisations_and_half_precision_are_printed():
    build = Builder(3, 8)
    build.add("conv1", conv(3, 4))
    build.add("bn1", norm(4))
    assert graph_text(precision(fold_batchnorm(build.graph()), "float16")) == dedent("""\
        graph test (3, 8, 8)
          -:
            %1 = cast input.cast(%0) float16 : float16 (3, 8, 8)
            %2 = conv conv1(%1) 3->4 kernel=3 padding=1 bias folds=bn1 : float16 (4, 8, 8)
            %3 = cast output.cast(%2) float32 : (4, 8, 8)
          return %3
        """)


def test_a_program_is_printed_with_its_parameters_slots_chains_and_calls():
    into, out, stride = Name("in"), Name("out"), Name("stride")
    block = Function(
        "basic",
        "",
        "block",
        (Parameter("in", "int"), Parameter("out", "int"), Parameter("stride", "int", 1)),
        ("downsample",),
        (
            Apply(
                "conv1",
                Conv(
                    into,
                    out,
                    (Literal(3), Literal(1)),
                    (stride, stride),
                    (Literal(1), Literal(0)),
                    (Literal(1), Literal(1)),
                    Literal(1),
                    False,
                    Init("he_normal", "fan_in"),
                ),
                (0,),
            ),
            Apply("bn1", BatchNorm(out, 1e-5, 0.1, 0.0), (1,)),
            UseSlot("downsample", 0),
            Apply("add", Add(), (2, 3)),
            Apply("drop", DropPath(Binary("/", stride, Literal(10))), (4,)),
            Apply(
                "pool",
                MaxPool(
                    (Conditional(Literal(2), Binary(">", stride, Literal(1)), Literal(3)),) * 2,
                    (Literal(2), Literal(2)),
                    (Literal(0), Literal(0)),
                ),
                (5,),
            ),
        ),
        6,
    )
    shortcut = Reference("projection", (("out", Literal(8)),))
    main = Function(
        "main",
        "",
        "block",
        (Parameter("classes", "int", 10),),
        (),
        (
            Chain(
                "layer1",
                (
                    Call(
                        "0",
                        "basic",
                        (("in", Literal(3)), ("out", Literal(8))),
                        0,
                        (("downsample", shortcut),),
                    ),
                    Apply("1", Activation("relu"), ()),
                    Call("2", "rest", (), 0, splice=True),
                ),
                0,
                "layer1",
            ),
            Call("block", "basic", (("in", Literal(8)),), 1, (("downsample", None),), "layer2"),
        ),
        2,
    )
    program = Program("net", "", (3, 8, 8), 10, main, {"basic": block})
    assert program_text(program) == dedent("""\
        program net (3, 8, 8) classes=10
        main main(classes: int = 10)
          layer1:
            %1 = chain layer1(%0)
              | call 0 = basic(in=3, out=8) downsample=projection(out=8)
              | relu 1()
              | call 2 = rest() splice
          layer2:
            %2 = call block = basic(in=8)(%1) downsample=none
          return %2

        block basic(in: int, out: int, stride: int = 1) <downsample>
            %1 = conv conv1(%0) in->out kernel=3x1 stride=stride padding=1x0 init=he_normal(fan_in)
            %2 = batch_norm bn1(%1) out eps=1e-05 momentum=0.1 gamma=0.0
            %3 = slot downsample(%0)
            %4 = add add(%2, %3)
            %5 = drop_path drop(%4) (stride / 10)
            %6 = max_pool pool(%5) kernel=(2 if stride > 1 else 3) stride=2
          return %6
        """)


@pytest.mark.parametrize(
    ("op", "text"),
    [
        (Activation("relu"), "relu"),
        (Activation("leaky_relu", 0.2), "leaky_relu slope=0.2"),
        (Activation("elu", 1.0), "elu slope=1.0"),
        (GroupNorm(8, 2, 1e-5), "group_norm 8 groups=2 eps=1e-05"),
        (MaxPool((3, 3), (2, 2), (1, 1), ceil=True), "max_pool kernel=3 stride=2 padding=1 ceil"),
        (AdaptiveAvgPool((7, 5)), "adaptive_avg_pool 7x5"),
        (Flatten(), "flatten"),
        (Subsample(2), "subsample stride=2"),
        (PadChannels(3, 8), "pad_channels 3->8"),
        (PadChannels(3, 8, "trailing"), "pad_channels 3->8 side=trailing"),
        (Cast("bfloat16"), "cast bfloat16"),
        (Linear(3, 2, False, Init("zeros")), "linear 3->2 init=zeros"),
        (
            Linear(3, 2, True, Init("normal"), -1.0),
            "linear 3->2 bias init=normal(0.01) bias_fill=-1.0",
        ),
    ],
)
def test_operations_are_printed_with_what_is_not_their_default(op: ConcreteOp, text: str):
    assert f"{operation(op)} {attributes(op)}".rstrip() == text
