"""Shortcuts, stems and heads at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from compiler_tests.random_specs.blocks import Definition
from compiler_tests.random_specs.bodies import Bodies, without_names
from compiler_tests.random_specs.choices import Draw
from compiler_tests.random_specs.names import Body, Channels, Names
from resnet_dsl.ir.shapes import convolved, pooled


def shortcut(draw: Draw, norm_groups: int) -> Definition:
    """A shortcut that leads from any shape to any."""
    names = Names(widths=[Channels("out", 4)], norm_groups=norm_groups, conditions=["transition"])
    author = Bodies(draw, names)
    body, _ = author.body(Channels("in", 1), straight=True, depth=0, most=1)
    stride: dict[str, Any] = {"kernel": "stride", "stride": "stride", "ceil": True}
    if author.chance(50):
        body += [
            {"max_pool": stride, "when": "stride != 1"},
            {"conv": {"kernel": "window", "out": "out"}},
        ]
    else:
        body += [{"conv": {"kernel": [1, "window"], "out": "out", "stride": "stride"}}]
    if author.chance(60):
        body += author.norm(Channels("out", 4))
    definition: Definition = {
        "parameters": {"window": {"default": 1, "choices": [1, 3]}},
        "body": body,
    }
    return definition if author.chance(50) else {"doc": "A path around.", **definition}


@dataclass(frozen=True)
class Image:
    """(N, channels, height, width)"""

    channels: int
    height: int
    width: int


def stem(draw: Draw, image: Image, norm_groups: int, *, straight: bool) -> Definition:
    """Windows of any kind, as far as the image is large enough; the channels after it are a multiple of four."""
    author = Bodies(draw, Names(widths=[], norm_groups=norm_groups, prefix="first"))
    body: Body = []
    for _ in range(draw(st.integers(0, 2))):
        kind = author.one_of(
            ["conv", "conv", "max_pool", "avg_pool", "adaptive_avg_pool", "subsample"]
        )
        given, after = _window(author, kind, image)
        if min(after.height, after.width) < min(4, image.height, image.width):
            continue
        image = after
        body.append({kind: given})
        if author.chance(50):
            body += [
                *author.norm(Channels("", image.channels & -image.channels)),
                author.activation(),
            ]
    channels = author.one_of([4, 8])
    entry = {
        "out": "planes" if author.chance(50) else channels,
        "kernel": author.one_of([3, [1, 3], 1]),
    }
    body += [{"conv": entry}, *author.norm(Channels("", 4)), author.activation()]
    definition: Definition = {"body": body}
    if entry["out"] == "planes":
        definition["parameters"] = {"planes": {"default": channels, "minimum": 1}}
    if not straight and author.chance(30):
        definition["body"] = [{"sequence": [*map(without_names, body)], "name": "entry"}]
    return definition


def _window(author: Bodies, kind: str, image: Image) -> tuple[dict[str, Any], Image]:
    """A window of any shape on the image, and what comes out."""
    sizes = (image.height, image.width)
    kernel = [author.draw(st.integers(1, 4)), author.draw(st.integers(1, 4))]
    stride = [author.draw(st.integers(1, 2)), author.draw(st.integers(1, 2))]
    if kind == "subsample":
        step = stride[0]
        return {"stride": step}, Image(image.channels, -(-sizes[0] // step), -(-sizes[1] // step))
    if kind == "adaptive_avg_pool":
        size = [max(1, sizes[0] - stride[0]), max(1, sizes[1] - stride[1])]
        return {"size": size}, Image(image.channels, size[0], size[1])
    padding = [author.draw(st.integers(0, kernel[axis] // 2)) for axis in (0, 1)]
    given: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding}
    if kind == "conv":
        dilation = [author.draw(st.integers(1, 2)), author.draw(st.integers(1, 2))]
        out = author.one_of([4, 6])
        given |= {"dilation": dilation, "out": out}
        spans = [convolved(sizes[a], kernel[a], stride[a], padding[a], dilation[a]) for a in (0, 1)]
        return given, Image(out, spans[0], spans[1])
    given["ceil"] = author.chance(50)
    spans = [pooled(sizes[a], kernel[a], stride[a], padding[a], given["ceil"]) for a in (0, 1)]
    return given, Image(image.channels, spans[0], spans[1])


def head(draw: Draw, read: int, norm_groups: int) -> Definition:
    """From an image of a multiple of `read` channels to the classes, or to an image."""
    here = Channels("in", read)
    author = Bodies(
        draw,
        Names(widths=[here, Channels("classes * 4", 4)], norm_groups=norm_groups, prefix="head"),
    )
    body, _ = author.body(here, depth=1, most=2)
    if author.chance(15):
        return {"body": body or ["act"]}
    pool = author.one_of(
        [
            "global_avg_pool",
            {"adaptive_avg_pool": {"size": [2, 1]}},
            {"adaptive_avg_pool": {"size": [2, 3]}},
        ]
    )
    body += [pool, "flatten"]
    definition: Definition = {"parameters": {"hidden": 5, "rate": 0.5}}
    if author.chance(50):
        init = author.one_of(
            [{}, {"init": "he_uniform"}, {"init": "zeros", "bias_fill": 0.5}, {"bias": False}]
        )
        body += [
            {"linear": {"out": "hidden", **init}},
            author.activation(),
            {"dropout": {"rate": "rate"}},
        ]
        if author.chance(40):
            inner = [{"linear": {"out": "hidden"}}, author.activation()]
            join = author.one_of(["add", "multiply", "concat"])
            body.append({"residual": inner, "join": join, "after": ["act"]})
    last: dict[str, Any] = {"linear": {"out": "classes"}}
    if author.chance(50):
        last["name"] = "last"
    body.append(last)
    if author.chance(10):
        body.append(author.activation())
    return {**definition, "body": body}
