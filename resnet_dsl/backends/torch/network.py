"""The main function as classes.

With features there are three: the trunk (stem and stages, with `forward_features`), and two short
ones over it: the network with its head, and the backbone, which gives the outputs of stages. A
network whose head reads more than the stages' outputs is one class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from resnet_dsl.backends.layout import (
    INDENT,
    Atom,
    Call,
    Group,
    Line,
    Prefixed,
    deeper,
    statement,
    suite,
)
from resnet_dsl.backends.torch.bodies import Members, members, steps
from resnet_dsl.backends.torch.chains import Module
from resnet_dsl.backends.torch.expressions import Writer
from resnet_dsl.backends.torch.forward import Step
from resnet_dsl.backends.torch.forward import lines as forward_lines
from resnet_dsl.backends.torch.initial import Policy, Special, branch
from resnet_dsl.backends.torch.prose import docstring, quoted
from resnet_dsl.ir import program as ir
from resnet_dsl.ir.calls import names_read
from resnet_dsl.ir.ops import Conv, Linear
from resnet_dsl.ir.program import Chain, Feature, Function

PAD = " " * INDENT
LONGEST_CHOICE = 100
BEFORE_HEAD = "head"
"""The key of what the head reads, where it is not the output of the last stage."""


@dataclass(frozen=True)
class Network:
    """The main function, read once for all of its classes."""

    module: Module
    name: str
    own: Members
    steps: Sequence[Step]
    values: Sequence[int]
    cut: int  # statements of the trunk; 0 where the network is one class
    policy: Policy
    block_specials: Sequence[tuple[str, Sequence[Special]]]
    locals: Sequence[str]  # statements over the number of classes, before the members

    @classmethod
    def of(cls, module: Module, name: str, policy: Policy, write: Writer) -> Network:
        program = module.program
        features = program.features
        own = members(program.main, module, write, features)
        path, values = steps(program.main, own.attributes, module, features)
        cut = _cut(program.main, features)
        if not cut:
            path = [replace(step, feature=None) for step in path]
        elif path[(end := values[cut]) - 1].feature is None:
            path[end - 1] = replace(path[end - 1], feature=BEFORE_HEAD)
        specials = [
            (module.spelled[function.name], list(policy.specials(function.body)))
            for function in program.functions.values()
            if function.kind == "block"
        ]
        return cls(module, name, own, path, values, cut, policy, specials, write.statements)

    @property
    def features(self) -> Sequence[Feature]:
        return self.module.program.features

    @property
    def has_pairs(self) -> bool:
        """Whether a stage has other strides vertically than horizontally."""
        return any(isinstance(item.stride, tuple) for item in self.features)

    @property
    def parameter(self) -> str:
        """The signature's parameter for the number of classes."""
        return f"num_classes: int = {self.module.program.classes}"

    @property
    def shape(self) -> str:
        """The input, as docstrings have it."""
        channels, height, width = self.module.program.input
        return f"(N, {channels}, {height}, {width})"

    def _outputs_doc(self) -> str:
        """What the outputs of the stages are; windows without padding lose some of the edge."""
        _, height, width = self.module.program.input
        exact = True
        for item in self.features:
            pair = item.stride if isinstance(item.stride, tuple) else (item.stride, item.stride)
            exact &= (-(-height // pair[0]), -(-width // pair[1])) == (item.height, item.width)
        about = "" if exact else "about "
        if self.has_pairs:
            shape = f"(N, channels, {about}H / vertical, {about}W / horizontal)"
            return f"Outputs of the stages: {shape}."
        shape = f"(N, channels, {about}H / stride, {about}W / stride)"
        return f"Outputs of the stages, by name: {shape}."

    def whole(self) -> list[str]:
        """The network as one class."""
        initialise = self.initialise(len(self.own.lines))
        return [
            f"class {self.name}(nn.Module):",
            *docstring([f"The network: {self.shape} to {self._outcome_shape()}."], INDENT),
            "",
            *self._constructor(self.parameter, 0, len(self.own.lines)),
            *([f"{PAD}{PAD}self.initialise()"] if initialise else []),
            *initialise,
            "",
            f"{PAD}def forward(self, x: Tensor) -> Tensor:",
            *forward_lines(
                self.steps, self.values[self.module.program.main.result], {0: "x"}, self._outcome()
            ),
        ]

    def trunk(self) -> list[str]:
        """Stem and stages."""
        stages = tuple(
            Prefixed(f"{quoted(item.stage)}: ", Atom(f"({item.channels}, {item.stride})"))
            for item in self.features
        )
        stride = "int | tuple[int, int]" if self.has_pairs else "int"
        annotated = f"STAGES: ClassVar[dict[str, tuple[int, {stride}]]] = "
        note = ", (vertical, horizontal) where it has two" if self.has_pairs else ""
        end = self._first_of_head()
        return [
            f"class {self.name}Trunk(nn.Module):",
            *docstring([f"Stem and stages: {self.shape} to the outputs of the stages."], INDENT),
            "",
            f"{PAD}# Channels and stride of every stage's output{note}.",
            *statement(annotated, Group("{", stages, exploded=len(stages) > 1), indent=INDENT),
            "",
            *self._constructor("", 0, self.cut),
            *self.initialise(self.cut),
            "",
            f"{PAD}def forward_features(self, x: Tensor) -> dict[str, Tensor]:",
            *docstring([self._outputs_doc()], 2 * INDENT),
            f"{PAD}{PAD}outputs: dict[str, Tensor] = {{}}",
            *forward_lines(self.steps[:end], None, {0: "x"}),
            f"{PAD}{PAD}return outputs",
        ]

    def classifier(self) -> list[str]:
        """The network over its trunk."""
        start = self._first_of_head()
        head = [
            replace(step, operands=tuple(max(0, operand - start) for operand in step.operands))
            for step in self.steps[start:]
        ]
        result = self.values[self.module.program.main.result] - start
        features = "self.forward_features(x)"
        last = Group("[", (Atom(quoted(self.steps[start - 1].feature or "")),))
        body = (
            [
                *statement(f"x = {features}", last, indent=2 * INDENT),
                *forward_lines(head, result, {0: "x"}, self._outcome()),
            ]
            if result
            else statement(f"return {features}", last, indent=2 * INDENT)
        )
        return [
            *self.header(""),
            *docstring([f"The network: {self.shape} to {self._outcome_shape()}."], INDENT),
            "",
            *self._constructor(self.parameter, self.cut, len(self.own.lines)),
            *([f"{PAD}{PAD}self.initialise()"] if self.initialise(self.cut) else []),
            *self._self_lines(self.cut, len(self.own.lines)),
            "",
            f"{PAD}def forward(self, x: Tensor) -> Tensor:",
            *body,
        ]

    def classes(self) -> list[list[str]]:
        """The network's classes but for the backbone."""
        return [self.trunk(), self.classifier()] if self.cut else [self.whole()]

    def header(self, suffix: str) -> list[str]:
        """The line that opens a class over the trunk."""
        return statement("class ", Call(f"{self.name}{suffix}", (Atom(f"{self.name}Trunk"),)), ":")

    def _first_of_head(self) -> int:
        """The step after that of the last feature."""
        kept = [index for index, step in enumerate(self.steps) if step.feature is not None]
        return kept[-1] + 1

    def _constructor(self, parameter: str, start: int, end: int) -> list[str]:
        arguments = f"self, {parameter}" if parameter else "self"
        return [
            f"{PAD}def __init__({arguments}) -> None:",
            f"{PAD}{PAD}super().__init__()",
            *(self.locals if parameter else ()),
            *self._member_lines(start, end),
        ]

    def _member_lines(self, start: int, end: int) -> list[str]:
        shapes = {
            item.stage: f"{PAD}{PAD}# (N, {item.channels}, {item.height}, {item.width})"
            for item in self.features
            if item.chain_end is None
        }
        found: list[str] = []
        group = ""
        for item, lines in zip(
            self.module.program.main.body[start:end], self.own.lines[start:end], strict=True
        ):
            belongs = getattr(item, "group", group)
            if lines and belongs != group:
                group = belongs
                found += [shapes[group]] if group in shapes else []
            found += lines
        return found

    def initialise(self, end: int) -> list[str]:
        """The method that draws the weights of the first `end` statements; nothing where torch's
        own defaults are what the spec asks for."""
        general = self.policy.general_branches()
        alike: dict[tuple[Line, ...], list[str]] = {}
        for name, found in self.block_specials:
            lines = [line for each in found for line in self.policy.lines(each, "module")]
            alike.setdefault(tuple(lines), []).append(name)
        joined = bool(general) and self._only_norms()  # one loop does for both
        special: list[Line] = []
        alike.pop((), None)
        for place, (set_right, names) in enumerate(alike.items(), start=int(joined)):
            # Python reads `elif`s one inside of the other, and no more than about a thousand.
            special += branch(names, set_right, first=place % LONGEST_CHOICE == 0)
        loops = [general + special] if joined else [general, special]
        own = self._self_lines(0, end)
        if not (general or special or own):
            return []
        doc = "Draw the weights as the spec asks; what is not mentioned is torch's default."
        every = Line(Atom("module in self.modules()"), "for ", ":")
        lines = [line for loop in loops if loop for line in (every, *deeper(loop))]
        return [
            "",
            f"{PAD}def initialise(self) -> None:",
            *docstring([doc], 2 * INDENT),
            *suite(lines, indent=2 * INDENT),
            *own,
        ]

    def _self_lines(self, start: int, end: int) -> list[str]:
        """The statements for the exceptions among the network's own members."""
        body = self.module.program.main.body[start:end]
        lines = [
            line
            for special in self.policy.specials(body)
            for line in self.policy.lines(special, "self")
        ]
        return suite(lines, indent=2 * INDENT)

    def _only_norms(self) -> bool:
        """Whether the blocks' exceptions are of modules that the general rule leaves alone."""
        return not any(
            isinstance(each.op, Conv | Linear) for _, found in self.block_specials for each in found
        )

    def _outcome(self) -> str:
        return "logits" if self._is_classifier() else "y"

    def _is_classifier(self) -> bool:
        main = self.module.program.main
        last = main.body[main.result - 1] if main.result else None
        while isinstance(last, Chain):
            last = last.members[-1]
        return isinstance(last, ir.Apply) and isinstance(last.op, Linear)

    def _outcome_shape(self) -> str:
        return "(N, num_classes)" if self._is_classifier() else "its output"


def _cut(main: Function, features: Sequence[Feature]) -> int:
    """How many statements make the trunk: all up to the last stage's, and then as many as it takes
    until the rest reads one value only. 0 where the main function cannot be cut: where it has no
    stages, or the trunk would know the classes."""
    if not features:
        return 0
    last = max(item.value for item in features)
    cut, oldest = len(main.body), len(main.body)
    for index in range(len(main.body) - 1, last - 1, -1):
        item = main.body[index]
        oldest = min(oldest, *(item.operands if isinstance(item, ir.Apply) else (item.operand,)))
        if oldest >= index:
            cut = index
    return 0 if names_read(main.body[:cut]) else cut
