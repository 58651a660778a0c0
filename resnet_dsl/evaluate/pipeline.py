"""The whole way of an evaluation, in order: what the user names, to counts.

find_subjects, data_choice   which networks, and which images
open_source                  the images
load                         a network: what turns standardised images into scores, and the size it takes
geometry, standard_of        which views of an image it sees, and how they are standardised
batches, measure             the loop
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from resnet_dsl.evaluate.geometry import Crops, Geometry, ViewOptions, geometry
from resnet_dsl.evaluate.images import HeldSource, Source, chosen, open_source
from resnet_dsl.evaluate.networks import Loaded, load
from resnet_dsl.evaluate.normalise import Standard, standard_of
from resnet_dsl.evaluate.refusal import refusal
from resnet_dsl.evaluate.request import DataChoice, Request, check_request, data_choice
from resnet_dsl.evaluate.scoring import Measured, Member, measure
from resnet_dsl.evaluate.statistics import measured, tensors_of
from resnet_dsl.evaluate.subjects import Subject, find_subjects
from resnet_dsl.evaluate.views import batches
from resnet_dsl.runtime.parallel import ProcessError, find_device

DEFAULT_TOP = 5
_BATCH = {"cpu": 64, "cuda": 256}
_ANY_SIZE = (224, 224)  # what --batch counts in where a network takes any size


@dataclass(frozen=True, slots=True)
class Part:
    """A network of an evaluation, with what is to be told of it. `recorded` is the accuracy in percent that its
    training found on the same images, seen in the same way."""

    subject: Subject
    shape: tuple[int, int | None, int | None]
    spec_hash: str | None
    geometry: Geometry
    flip: bool
    standard: Standard
    recorded: float | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluation that has been done; `top` is None where there are too few classes for a second accuracy."""

    parts: tuple[Part, ...]
    choice: DataChoice
    classes: tuple[str, ...]
    top: int | None
    device: str
    measured: Measured


def evaluate(
    request: Request, begin: Callable[[int], None], progress: Callable[[int], None]
) -> Evaluation:
    """Do what is asked for. `begin` is told how many images there are, and `progress` how many of them are done, batch
    after batch. Raises CompileError."""
    check_request(request)
    subjects = find_subjects(request.sources, request.weights, request.overrides)
    choice = data_choice(request, subjects)
    device = _device(request.device)
    loaded = [load(subject, device) for subject in subjects]
    source = _open(choice, subjects, loaded)
    top = _top(request.top, len(source.classes))
    parts = [
        _part(request, subject, each, source)
        for subject, each in zip(subjects, loaded, strict=True)
    ]
    _check_standard(request, parts)
    geometries = list(dict.fromkeys(part.geometry for part in parts))
    size = request.batch or _BATCH[device.type]
    members = [
        _member(part, each, choice, geometries, size, device, len(source.classes))
        for part, each in zip(parts, loaded, strict=True)
    ]
    numbers = chosen(source, request.limit)
    begin(len(numbers))
    found = measure(
        members,
        batches(source, geometries, numbers, size),
        classes=len(source.classes),
        top=top or DEFAULT_TOP,
        device=device,
        progress=progress,
    )
    return Evaluation(tuple(parts), choice, source.classes, top, str(device), found)


def _device(wanted: str | None) -> torch.device:
    try:
        return find_device(wanted, 0, 1)
    except ProcessError as error:
        raise refusal(
            "RD621",
            f"there is no device `{wanted}` here",
            why=str(error).partition(": ")[2] or None,
            hint="leave --device out, or give cpu, cuda or cuda:1",
        ) from error


def _open(choice: DataChoice, subjects: Sequence[Subject], loaded: Sequence[Loaded]) -> Source:
    """The images, which fit all networks. Raises CompileError: RD672, and RD673 where networks want different ones."""
    for what in ("channels", "classes"):
        wanted = {
            getattr(each, what): subject for subject, each in zip(subjects, loaded, strict=True)
        }
        wanted.pop(None, None)
        if len(wanted) > 1:
            (one, first), (other, second) = list(wanted.items())[:2]
            raise refusal(
                "RD673",
                f"`{first.name}` has {one} {what}, and `{second.name}` has {other}",
                why="networks are evaluated together on the same images",
                hint="evaluate them one by one",
            )
    classes = next((each.classes for each in loaded if each.classes is not None), None)
    height, width = next((each.size for each in loaded if each.size is not None), _ANY_SIZE)
    shape = (loaded[0].channels, height, width)
    source = open_source(choice, shape, classes)
    found = source.data.images.shape[1] if isinstance(source, HeldSource) else shape[0]
    if found != shape[0]:
        raise refusal(
            "RD672",
            f"the images have {found} channel{'s' * (found != 1)}, and the network takes {shape[0]}",
            hint="give the images that the network was trained for, with --data and --path",
        )
    return source


def _part(request: Request, subject: Subject, loaded: Loaded, source: Source) -> Part:
    size = loaded.size
    if size is None and isinstance(source, HeldSource):
        height, width = source.data.images.shape[2:]
        size = (height, width)
    resize = subject.settings.get("resize")
    views = geometry(request.views, size, resize if isinstance(resize, int) else None, subject.name)
    flip = request.views.flip
    if flip is None:
        flip = bool(subject.settings.get("test_flip"))
    if request.views.kind == "ten":
        flip = True
    sides = (None, None) if loaded.size is None else loaded.size
    standard = standard_of(
        subject, loaded.channels, loaded.size, request.standard, loaded.spec_hash
    )
    as_trained = (
        request.views == ViewOptions(flip=request.views.flip)
        and flip == bool(subject.settings.get("test_flip"))
        and request.split == "test"
        and request.limit is None
        and request.data in (None, subject.settings.get("data"))
        and request.path is None
    )
    recorded = subject.run.accuracy_of(subject.file) if subject.run and as_trained else None
    return Part(
        subject,
        (loaded.channels, *sides),
        loaded.spec_hash,
        views,
        flip,
        standard,
        recorded,
        (*subject.notes, *loaded.notes, *_class_notes(subject, source)),
    )


def _class_notes(subject: Subject, source: Source) -> Sequence[str]:
    """What to say where the images' classes have other names than those that a network was trained for.

    Raises CompileError RD672 where they are the same names in another order.
    """
    trained, found = subject.run.texts("classes") if subject.run else (), source.classes
    if not trained or trained == found:
        return ()
    place = next(
        (at for at, pair in enumerate(zip(trained, found, strict=False)) if len(set(pair)) > 1), 0
    )
    told = f"class {place} is `{found[place]}`, and was `{trained[place]}` in the training"
    if sorted(trained) == sorted(found):
        raise refusal(
            "RD672",
            f"the classes of the images stand in another order than `{subject.name}` was trained in",
            why=told,
            hint="name the class folders as they were named in the training: they are sorted as text",
        )
    return (f"{told}: classes are matched by their order",)


def _check_standard(request: Request, parts: Sequence[Part]) -> None:
    """Raises CompileError RD702 where all networks know how their images are standardised."""
    if request.standard is None or any(part.standard == request.standard for part in parts):
        return
    raise refusal(
        "RD702",
        "--mean and --std would do nothing here",
        why=f"{parts[0].standard.source} says how the images were standardised in the training",
        hint="leave them out",
    )


def _member(
    part: Part,
    loaded: Loaded,
    choice: DataChoice,
    geometries: Sequence[Geometry],
    batch: int,
    device: torch.device,
    classes: int,
) -> Member:
    views, size = part.geometry, loaded.size
    height, width = views.size if isinstance(views, Crops) else size or _ANY_SIZE
    own = isinstance(views, Crops) and views.size == size
    shape = (loaded.channels, *size) if size is not None else None
    if part.standard.measured is not None:
        settings = part.subject.settings
        wanted = shape or (loaded.channels, height, width)
        mean, std = measured(part.standard, choice, wanted, classes, settings)
    else:
        mean, std = tensors_of(part.standard, shape)
    return Member(
        name=str(part.subject.file),
        score=loaded.score if own else loaded.any_size(),
        geometry=geometries.index(views),
        flip=part.flip,
        mean=mean.to(device),
        std=std.to(device),
        pixels=batch * height * width,
    )


def _top(wanted: int | None, classes: int) -> int | None:
    """How many classes the second accuracy has; None where it would say nothing. Raises CompileError RD702."""
    if wanted is None:
        return DEFAULT_TOP if classes > DEFAULT_TOP else None
    if wanted >= classes:
        raise refusal(
            "RD702",
            f"--top {wanted} would say nothing",
            why=f"there are {classes} classes, and the right one is always among all of them",
            hint="give a smaller --top",
        )
    return wanted
