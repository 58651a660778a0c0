"""Programs built by hand, small enough to read: one for each thing that the torch target has to say.

Images are (N, 3, 16, 16), classes 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from resnet_dsl.backends.torch.emit import emit
from resnet_dsl.backends.torch.summary import Facts
from resnet_dsl.ir import ops
from resnet_dsl.ir.expr import Expr, Name, Value, literal, mul
from resnet_dsl.ir.ops import Init
from resnet_dsl.ir.program import (
    Apply,
    Arguments,
    Call,
    Chain,
    Feature,
    Function,
    Parameter,
    Program,
    Reference,
    Statement,
    SymbolicOp,
    UseSlot,
)

IN, OUT, WIDTH, STRIDE = Name("in"), Name("out"), Name("width"), Name("stride")
ONE = literal(1)
HE = Init()
DEFAULT = Init("uniform")
FACTS = Facts(parameters=12345, macs=6789000, version="1.2.3")


def number(value: Expr | int) -> Expr:
    """An expression; integers stand for themselves."""
    return literal(value) if isinstance(value, int) else value


def conv(
    into: Expr | int,
    out: Expr | int,
    kernel: int,
    stride: Expr | int = 1,
    *,
    bias: bool = False,
    bias_fill: float = 0.0,
    groups: Expr | int = 1,
    init: Init = HE,
) -> ops.Conv[Expr]:
    """A convolution that keeps the size at stride 1."""
    step, size, padding = number(stride), literal(kernel), literal(kernel // 2)
    return ops.Conv(
        number(into), number(out), (size, size), (step, step), (padding, padding), (ONE, ONE),
        number(groups), bias, init, bias_fill,
    )  # fmt: skip


def norm(channels: Expr | int, gamma: float = 1.0) -> ops.BatchNorm[Expr]:
    """Batch normalisation with torch's settings."""
    return ops.BatchNorm(number(channels), 1e-5, 0.1, gamma)


RELU = ops.Activation("relu")
SIGMOID = ops.Activation("sigmoid")
GLOBAL: ops.AdaptiveAvgPool[Expr] = ops.AdaptiveAvgPool((ONE, ONE))


def arguments(**given: Value | Expr) -> Arguments:
    """Arguments of a call; `into` is spelled `in`."""
    return tuple(
        ("in" if name == "into" else name, literal(value) if not isinstance(value, Expr) else value)
        for name, value in given.items()
    )


def block(
    name: str,
    doc: str,
    parameters: Sequence[str],
    body: Sequence[Statement],
    slots: Sequence[str] = (),
) -> Function:
    """A block whose parameters are integers and whose result is its last value."""
    typed = tuple(Parameter(each, "int") for each in parameters)
    return Function(name, doc, "block", typed, tuple(slots), tuple(body), len(body))


def chain(name: str, doc: str, parameters: Sequence[str], body: Sequence[SymbolicOp]) -> Function:
    """A chain of operations."""
    typed = tuple(Parameter(each, "int") for each in parameters)
    members = tuple(Apply(str(place), op, (place,)) for place, op in enumerate(body))
    return Function(name, doc, "chain", typed, (), members, len(members))


def straight(*named: tuple[str, SymbolicOp], start: int = 0) -> list[Apply]:
    """Operations one after another, from value `start` on."""
    return [Apply(name, op, (start + place,)) for place, (name, op) in enumerate(named)]


def head(channels: int, value: int) -> list[Statement]:
    """Global pooling and the classifier, reading `value`."""
    return [
        Apply("avgpool", GLOBAL, (value,), "head"),
        Apply("flatten", ops.Flatten(), (value + 1,), "head"),
        Apply("fc", ops.Linear(literal(channels), Name("classes"), True, DEFAULT), (value + 2,), "head"),
    ]  # fmt: skip


def program(
    name: str,
    doc: str,
    body: Sequence[Statement],
    functions: Sequence[Function],
    features: Sequence[Feature],
) -> Program:
    main = Function(
        name, "", "block", (Parameter("classes", "int", 10),), (), tuple(body), len(body)
    )
    return Program(
        name, doc, (3, 16, 16), 10, main, {item.name: item for item in functions},
        tuple(features), "0" * 64,
    )  # fmt: skip


def residual_network(
    name: str,
    doc: str,
    function: Function,
    shortcut: Function | None,
    *others: Function,
    expansion: int = 1,
    depth: int = 3,
    stem: bool = True,
) -> Program:
    """A stem of 8 channels and two stages, of widths 8 and 16, of `depth` blocks each."""
    body: list[Statement] = [*straight(("conv1", conv(3, 8, 3)), ("bn1", norm(8)), ("relu", RELU))]
    into = 8
    features = []
    for stage, (width, stride) in enumerate(((8, 1), (16, 2)), start=1):
        members = []
        for index in range(depth):
            out = width * expansion
            step = stride if index == 0 else 1
            given: dict[str, int] = {"into": into, "width": width, "stride": step}
            known = {item.name for item in function.parameters}
            given = {
                key: value for key, value in given.items() if key.replace("into", "in") in known
            }
            filled: Reference | None = None
            if shortcut is not None and (into != out or step != 1):
                ends = {"into": into, "out": out, "stride": step}
                wanted = {item.name for item in shortcut.parameters}
                filled = Reference(
                    shortcut.name,
                    arguments(
                        **{k: v for k, v in ends.items() if k.replace("into", "in") in wanted}
                    ),
                )
            slots = (("downsample", filled),) if function.slots else ()
            members.append(Call(str(index), function.name, arguments(**given), 0, slots))
            into = out
        body.append(Chain(f"layer{stage}", tuple(members), len(body), f"layer{stage}"))
        side = 16 // stride
        features.append(Feature(f"layer{stage}", len(body), into, stride, side, side))
    return program(
        name,
        doc,
        [*body, *head(into, len(body))],
        [function, *([] if shortcut is None else [shortcut]), *others],
        features,
    )


def projection() -> Function:
    return chain(
        "projection",
        "A 1×1 projection where shapes differ.",
        ("in", "out", "stride"),
        (conv(IN, OUT, 1, STRIDE), norm(OUT)),
    )


def bottleneck() -> Program:
    """Bottlenecks with option B: a slot that is filled at times."""
    wide = mul(WIDTH, literal(4))
    body: list[Statement] = [
        *straight(
            ("conv1", conv(IN, WIDTH, 1)), ("bn1", norm(WIDTH)), ("relu1", RELU),
            ("conv2", conv(WIDTH, WIDTH, 3, STRIDE)), ("bn2", norm(WIDTH)), ("relu2", RELU),
            ("conv3", conv(WIDTH, wide, 1)), ("bn3", norm(wide)),
        ),
        UseSlot("downsample", 0),
        Apply("add", ops.Add(), (8, 9)),
        Apply("relu3", RELU, (10,)),
    ]  # fmt: skip
    function = block(
        "bottleneck", "1×1, 3×3, 1×1.", ("in", "width", "stride"), body, ["downsample"]
    )
    return residual_network(
        "tiny_bottleneck", "Bottlenecks and projections.", function, projection(), expansion=4
    )


def _basic(slot: bool = True) -> Function:
    body: list[Statement] = [
        *straight(
            ("conv1", conv(IN, WIDTH, 3, STRIDE)), ("bn1", norm(WIDTH)), ("relu1", RELU),
            ("conv2", conv(WIDTH, WIDTH, 3)), ("bn2", norm(WIDTH)),
        )
    ]  # fmt: skip
    if slot:
        body += [UseSlot("downsample", 0), Apply("add", ops.Add(), (5, 6))]
    body.append(Apply("relu2", RELU, (len(body),)))
    slots = ["downsample"] if slot else []
    return block("basic", "Two 3×3 convolutions.", ("in", "width", "stride"), body, slots)


def option_a() -> Program:
    """Basic blocks with option A: subsampling and zero channels."""
    shortcut = chain(
        "pad_shortcut",
        "Every second row and column, and zero channels.",
        ("in", "out", "stride"),
        (ops.Subsample(STRIDE), ops.PadChannels(IN, OUT)),
    )
    return residual_network("tiny_option_a", "Basic blocks, option A.", _basic(), shortcut)


def plain() -> Program:
    """The same without shortcuts."""
    return residual_network("tiny_plain", "No shortcuts.", _basic(slot=False), None)


def preactivation() -> Program:
    """Normalisation and activation before each convolution; the shortcut is always a projection."""
    body: list[Statement] = [
        *straight(
            ("bn1", norm(IN)), ("relu1", RELU), ("conv1", conv(IN, WIDTH, 3, STRIDE)),
            ("bn2", norm(WIDTH)), ("relu2", RELU), ("conv2", conv(WIDTH, WIDTH, 3)),
        ),
        Call("downsample", "projection", arguments(into=IN, out=WIDTH, stride=STRIDE), 2),
        Apply("add", ops.Add(), (6, 7)),
    ]  # fmt: skip
    function = block("preact", "Identity mappings.", ("in", "width", "stride"), body)
    return residual_network("tiny_preact", "Pre-activation.", function, None, projection())


def squeeze_excite() -> Program:
    """A block inside of a block, joined by multiplication, the last norm's weight zero."""
    reduced = mul(IN, ONE)
    squeeze = block(
        "squeeze_excite",
        "Channels weighted by what the whole image says of them.",
        ("in",),
        [
            *straight(
                ("avgpool", GLOBAL), ("fc1", conv(reduced, 4, 1, bias=True)), ("relu", RELU),
                ("fc2", conv(4, reduced, 1, bias=True)), ("sigmoid", SIGMOID),
            ),
            Apply("mul", ops.Multiply(), (0, 5)),
        ],
    )  # fmt: skip
    body: list[Statement] = [
        *straight(
            ("conv1", conv(IN, WIDTH, 3, STRIDE)), ("bn1", norm(WIDTH)), ("relu1", RELU),
            ("conv2", conv(WIDTH, WIDTH, 3)), ("bn2", norm(WIDTH, 0.0)),
        ),
        Call("se", "squeeze_excite", arguments(into=WIDTH), 5),
        UseSlot("downsample", 0),
        Apply("add", ops.Add(), (6, 7)),
        Apply("relu2", RELU, (8,)),
    ]  # fmt: skip
    function = block("se_basic", "", ("in", "width", "stride"), body, ["downsample"])
    return residual_network("tiny_se", "Squeeze and excitation.", function, projection(), squeeze)


def highway() -> Program:
    """Gates, whose biases begin at -2, and stages that open with a plain layer."""
    layer = block(
        "conv_layer",
        "A plain layer.",
        ("in", "width"),
        straight(("conv1", conv(IN, WIDTH, 3, bias=True)), ("relu", RELU)),
    )
    body: list[Statement] = [
        *straight(("conv1", conv(WIDTH, WIDTH, 3, bias=True)), ("relu", RELU)),
        Apply("gate_conv", conv(WIDTH, WIDTH, 3, bias=True, bias_fill=-2.0), (0,)),
        Apply("sigmoid", SIGMOID, (3,)),
        Apply("gate", ops.Gate(), (2, 0, 4)),
    ]
    function = block("highway", "A gated layer.", ("width",), body)
    main: list[Statement] = []
    into, features = 3, []
    for stage, width in enumerate((8, 12), start=1):
        members = (
            Call("0", "conv_layer", arguments(into=into, width=width), 0),
            *(Call(str(i), "highway", arguments(width=width), 0) for i in range(1, 5)),
        )
        main.append(Chain(f"layer{stage}", members, len(main), f"layer{stage}"))
        features.append(Feature(f"layer{stage}", len(main), width, 1, 16, 16))
        into = width
    return program(
        "tiny_highway",
        "Gated layers.",
        [*main, *head(into, len(main))],
        [layer, function],
        features,
    )


def vgg() -> Program:
    """One flat chain of spliced functions, with features inside, and a chain for a head."""
    layer = chain("conv_layer", "A layer.", ("in", "width"), (conv(IN, WIDTH, 3, bias=True), RELU))
    pool: ops.MaxPool[Expr] = ops.MaxPool(
        (literal(2), literal(2)), (literal(2), literal(2)), (literal(0), literal(0))
    )
    last = chain(
        "conv_layer_last",
        "The last layer of a stage.",
        ("in", "width"),
        (conv(IN, WIDTH, 3, bias=True), RELU, pool),
    )
    members: list[Call] = []
    features, place, into, side = [], 0, 3, 16
    for stage, (width, depth) in enumerate(((8, 2), (16, 4)), start=1):
        for index in range(depth):
            name = "conv_layer_last" if index == depth - 1 else "conv_layer"
            given = arguments(into=into, width=width)
            members.append(Call(str(place), name, given, 0, splice=True))
            place += 3 if index == depth - 1 else 2
            into = width
        side //= 2
        features.append(Feature(f"stage{stage}", 1, width, 16 // side, side, side, place))
    normal = Init("normal", scale=0.01)
    classifier = Chain(
        "classifier",
        (
            Apply("0", ops.Linear(literal(256), literal(32), True, normal), ()),
            Apply("1", RELU, ()),
            Apply("2", ops.Dropout(literal(0.5)), ()),
            Apply("3", ops.Linear(literal(32), Name("classes"), True, normal), ()),
        ),
        2,
        "head",
    )
    main: list[Statement] = [
        Chain("features", tuple(members), 0, "features"),
        Apply("flatten", ops.Flatten(), (1,), "head"),
        classifier,
    ]
    return program("tiny_vgg", "A flat trunk.", main, [layer, last], features)


def stochastic(depth: int = 5) -> Program:
    """Stochastic depth: every block is called with its number."""
    rate = mul(Name("number"), literal(0.01))
    body: list[Statement] = [
        *straight(
            ("conv1", conv(WIDTH, WIDTH, 3)),
            ("bn1", norm(WIDTH)),
            ("drop_path", ops.DropPath(rate)),
        ),
        Apply("add", ops.Add(), (3, 0)),
        Apply("relu", RELU, (4,)),
    ]
    function = block("dropped", "A layer that is left out at times.", ("width", "number"), body)
    calls = (
        Call(str(index), "dropped", arguments(width=8, number=index + 1), 0)
        for index in range(depth)
    )
    main: list[Statement] = [
        Apply("conv1", conv(3, 8, 3), (0,), "stem"),
        Chain("layer1", tuple(calls), 1, "layer1"),
    ]
    features = [Feature("layer1", 2, 8, 1, 16, 16)]
    return program(
        "tiny_stochastic", "Stochastic depth.", [*main, *head(8, 2)], [function], features
    )


EVERY = (
    bottleneck, option_a, plain, preactivation, squeeze_excite, highway, vgg, stochastic,
)  # fmt: skip


def written(program: Program, folder: Path) -> Path:
    """The file that the torch target emits for a program."""
    path = folder / f"{program.name}.py"
    path.write_text(emit(program, FACTS))
    return path
