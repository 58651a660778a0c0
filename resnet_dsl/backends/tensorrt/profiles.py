"""Optimisation profiles: the ranges of a network's symbolic dimensions. Runs in the child process.

TensorRT has no type stubs, so its objects are `Any` here. An input is an image batch (N, C, H, W), or has N alone free.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resnet_dsl.backends.tensorrt.options import Profile, Range
from resnet_dsl.errors import CompileError, Diagnostic

_AXES = {"batch": 0, "height": 2, "width": 3}


def profiles_for(definition: Any, asked: Sequence[Profile] | None) -> tuple[Profile, ...]:
    """The profiles that a network needs: none where every dimension is fixed, else those asked for, or one default.

    Raises CompileError (RD625) where the profiles and the symbolic dimensions do not go together.
    """
    inputs = [definition.get_input(index) for index in range(definition.num_inputs)]
    for tensor in inputs:
        free = [axis for axis, size in enumerate(tensor.shape) if size < 0]
        nameless = [axis for axis in free if axis not in _AXES.values()]
        if nameless:
            raise CompileError(
                Diagnostic(
                    "RD625",
                    f"dimension {nameless[0]} of the input `{tensor.name}` is symbolic, and no profile can give it",
                    why="a profile gives the batch, height and width of (N, C, H, W)",
                    hint="write the graph with a fixed number of channels",
                )
            )
    fixed = all(size >= 0 for tensor in inputs for size in tensor.shape)
    if asked is None:
        asked = () if fixed else (Profile(),)
    findings = [
        item
        for profile in asked
        for tensor in inputs
        for item in _disagreements(tensor.name, tuple(tensor.shape), profile)
    ]
    if findings:
        raise CompileError(findings)
    return () if fixed else tuple(asked)


def add_profile(builder: Any, config: Any, definition: Any, profile: Profile) -> None:
    """One optimisation profile over every input that has a symbolic dimension. Raises CompileError (RD625)."""
    made = builder.create_optimization_profile()
    ranges = {axis: getattr(profile, name) for name, axis in _AXES.items()}
    for index in range(definition.num_inputs):
        tensor = definition.get_input(index)
        shape = tuple(tensor.shape)
        if min(shape) >= 0:
            continue
        bounds = (
            tuple(
                getattr(ranges[axis], bound) if size < 0 else size
                for axis, size in enumerate(shape)
            )
            for bound in ("min", "opt", "max")
        )
        made.set_shape(tensor.name, *bounds)
    if config.add_optimization_profile(made) < 0:
        raise CompileError(
            Diagnostic(
                "RD625",
                f"TensorRT refuses the profile {profile} for this graph",
                hint="give a smaller range, as in `--batch 1/8/64`",
            )
        )


def _disagreements(name: str, shape: tuple[int, ...], profile: Profile) -> list[Diagnostic]:
    """Where a profile has no range for a symbolic dimension, or another size than a fixed one."""
    findings = []
    for dimension, axis in _AXES.items():
        given: Range | None = getattr(profile, dimension)
        size = shape[axis] if axis < len(shape) else None
        if size is not None and size < 0 and given is None:
            findings.append(
                Diagnostic(
                    "RD625",
                    f"the graph's {dimension} is symbolic, and the profile gives no range for it",
                    hint="give one, as in `--profile batch=1/8/64,height=192/224/256,width=192/224/256`, or write the "
                    "graph for one size",
                )
            )
        elif size is not None and size >= 0 and given not in (None, Range(size, size, size)):
            findings.append(
                Diagnostic(
                    "RD625",
                    f"the graph's {dimension} is fixed at {size}, so the profile's {given} cannot apply",
                    why=f"the input `{name}` is {'×'.join(map(str, shape))}",
                    hint=f"leave the profile out, or write the graph with a symbolic {dimension}",
                )
            )
    return findings
