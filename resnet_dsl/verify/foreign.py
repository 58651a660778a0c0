"""An ONNX file of anybody's, of which it is only known that it should compute the network.

Its values have names of their own. Of each end of a block the file's value is found that has its shape and its numbers,
in the file's own order, as far as rounding explains the distance. The first end that has none is of the first spec
block that departs, and what its operators and constants say of it is asked next (`diagnosis.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from resnet_dsl.calibrate.taps import TappedSession, Values
from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.passes.precision import precision
from resnet_dsl.verify.diagnosis import diagnose
from resnet_dsl.verify.ends import counterparts
from resnet_dsl.verify.exact import computed
from resnet_dsl.verify.findings import Compared, Finding, Proof
from resnet_dsl.verify.onnx_file import OnnxFile
from resnet_dsl.verify.onnx_target import RUNTIME, as_tensor
from resnet_dsl.verify.proof import compare
from resnet_dsl.verify.reference import Reference
from resnet_dsl.verify.rounding import Arithmetic
from resnet_dsl.verify.spread import Spread, spread
from resnet_dsl.verify.targets import About

_ONE = 1e-3
"""How near to one the sum of an image's scores is where they went through a softmax."""
_NEAR = 0.1
"""How far off, as a part of its size, what is still the same value may be."""


@dataclass
class ForeignTarget:
    """A file, and what its output is: scores, or their softmax."""

    file: OnnxFile
    about: About
    output: str
    softmax: bool = False
    notes: list[str] = field(default_factory=list)
    _session: TappedSession | None = None

    def logits(self, images: Tensor) -> Tensor:
        """The output (N, classes), computed as the file is used; of a softmax the logarithm, which is the scores but
        for one number an image."""
        if self._session is None:
            self._session = TappedSession(self.file.path, [self.output], optimise=True)
        found = as_tensor(self._session.run(images.numpy())[self.output]).flatten(1)
        return found.double().clamp(min=1e-300).log() if self.softmax else found


def open_foreign(file: OnnxFile, reference: Reference) -> ForeignTarget:
    """The file as a target. Raises CompileError: RD681 where it cannot be run on images, RD691 where it takes or gives
    other shapes than the network."""
    _check_not_quantised(file)
    half = "float16" in file.types.values()
    about = About(file.path.name, "fp16" if half else "fp32", RUNTIME, file.path, file.sha256)
    (output, *others) = file.outputs
    target = ForeignTarget(file, about, output)
    session = TappedSession(file.path, list(file.outputs), optimise=True)
    _check_input(file, session, reference)
    found = session.run(reference.images[:1].numpy())
    wanted = (1, reference.compilation.program.classes)
    fitting = [name for name in file.outputs if as_tensor(found[name]).flatten(1).shape == wanted]
    if not fitting:
        shapes = ", ".join(f"`{name}` {found[name].shape}" for name in file.outputs)
        raise _unfit(
            f"`{file.path}` gives no scores of {wanted[1]} classes",
            f"its outputs for one image are {shapes}",
            "export the whole network, with its head and nothing after it",
        )
    target.output = fitting[0]
    if others:
        target.notes.append(f"of its {len(file.outputs)} outputs `{fitting[0]}` is compared")
    scores = as_tensor(found[fitting[0]]).double().flatten(1)
    one = bool(((scores.sum(1) - 1).abs() < _ONE).all())
    target.softmax = one and bool((scores >= 0).all())
    if target.softmax:
        target.notes.append("it ends in a softmax: its logarithm is compared, less its mean")
    return target


def prove_foreign(target: ForeignTarget, reference: Reference) -> Proof:
    """Compare the file's output, and the ends of its blocks. Raises CompileError RD681."""
    found = Proof(target.about)
    with torch.inference_mode():
        spreads = _spreads(target, reference)
        session = TappedSession(target.file.path)
        values = session.run(reference.images.numpy())
        values.pop(session.input, None)
        departs = _ends(values, spreads, reference, found)
        result = _result(target, spreads, reference)
    found.compared.append(result)
    if result.ratio <= 1:
        _inner(target, reference, found)
        return found
    block = departs or reference.ends[reference.final]
    found.findings.append(
        Finding(
            "result",
            block,
            result.name,
            result.ratio,
            f"the output is off by {result.largest:.2g}, where rounding explains "
            f"{result.largest_bound:.2g}; {diagnose(target.file, reference, block)}",
        )
    )
    return found


def _inner(target: ForeignTarget, reference: Reference, found: Proof) -> None:
    """What the ends say where the output holds. An end's nearest value that is far off is another value: the file joins
    operations there, and has none for it. One that is near, and yet further off than rounding explains, departs, even
    if later layers hide it."""
    found.compared[:] = [
        item for item in found.compared if item.ratio <= 1 or item.rms <= _NEAR * item.scale
    ]
    item = next((item for item in found.compared if item.ratio > 1), None)
    if item is not None:
        found.findings.append(
            Finding(
                "values",
                item.block,
                item.name,
                item.ratio,
                f"`{item.name}` is off by {item.largest:.2g}, where rounding explains "
                f"{item.largest_bound:.2g}, though the output hides it; "
                f"{diagnose(target.file, reference, item.block)}",
            )
        )


def _spreads(target: ForeignTarget, reference: Reference) -> Mapping[str, Spread]:
    """What rounding does to the ends, by the names of the reference."""
    if target.about.precision == "fp32":
        return reference.spreads
    graph = precision(reference.graph, "float16")
    names = counterparts(graph, reference.graph)
    meaning = {own: name for own, name in names.items() if name in reference.ends}
    found = spread(
        graph,
        lambda constant: computed(constant, reference.weights),
        reference.images,
        Arithmetic(loose=True),
        lambda node: node.name in meaning,
        reference.tick,
    )
    return {meaning[own]: item for own, item in found.items()}


def _ends(
    values: Values, spreads: Mapping[str, Spread], reference: Reference, found: Proof
) -> str | None:
    """Pair the ends with the file's values, in the order of both; the first block that has none."""
    names = list(values)
    place, departs = 0, None
    for name, block in reference.ends.items():
        if name == reference.final:
            continue
        pair = _nearest(names[place:], values, name, spreads[name], reference)
        if pair is None:
            continue  # nothing of its shape: the file may join operations
        value, item = pair
        found.compared.append(item)
        if item.ratio <= 1:
            place = names.index(value) + 1
        elif departs is None:
            departs = block
    return departs


def _nearest(
    names: Sequence[str], values: Values, end: str, spread: Spread, reference: Reference
) -> tuple[str, Compared] | None:
    """The first of the values that is as near to an end as rounding explains, or else the nearest of its shape."""
    best: tuple[str, Compared] | None = None
    shape = reference.spreads[end].exact.shape
    for name in names:
        if values[name].shape != shape:
            continue
        item = compare(end, reference, spread, as_tensor(values[name]))
        if item.ratio <= 1:
            return name, item
        if best is None or item.rms < best[1].rms:
            best = name, item
    return best


def _result(target: ForeignTarget, spreads: Mapping[str, Spread], reference: Reference) -> Compared:
    scores = target.logits(reference.images).double()
    spread = spreads[reference.final]
    wanted = reference.spreads[reference.final].exact
    if target.softmax:  # what all scores of an image have in common is lost
        scores = scores - scores.mean(1, keepdim=True) + wanted.mean(1, keepdim=True)
    return compare(reference.final, reference, spread, scores, deployed=True)


def _check_not_quantised(file: OnnxFile) -> None:
    """Raises CompileError RD691 for a file with codes: how far these may be from the spec nothing says."""
    if any(
        "QuantizeLinear" in item.kind or item.kind.startswith("QLinear") for item in file.operators
    ):
        raise _unfit(
            f"`{file.path}` is quantised by another tool",
            "its codes are no part of the spec, and no arithmetic says how far they may be from it",
            f"verify the file that it was made from; `resnet-dsl eval {file.path}` says its accuracy",
        )


def _check_input(file: OnnxFile, session: TappedSession, reference: Reference) -> None:
    """Raises CompileError RD691 where the file takes images of another shape."""
    channels, height, width = reference.compilation.program.input
    shape = file.input_shape
    fits = all(
        not isinstance(size, int) or size == wanted
        for size, wanted in zip(shape[1:], (channels, height, width), strict=True)
    )
    if fits:
        return
    shown = "×".join(map(str, shape[1:]))
    why = f"the network takes {channels}×{height}×{width}"
    if shape[-1] == channels and shape[1] != channels:
        why += "; the file has channels last, as TensorFlow has them"
    raise _unfit(
        f"`{file.path}` takes images of {shown}", why, "export it again with the network's input"
    )


def _unfit(message: str, why: str, hint: str) -> CompileError:
    return CompileError(Diagnostic("RD691", message, why=why, hint=hint))
