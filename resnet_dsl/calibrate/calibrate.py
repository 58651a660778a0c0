"""Calibrating a network: what a folder holds of it is reused, or the network is run on images and what is seen kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from io import RawIOBase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, TypeAlias, cast

from resnet_dsl.artifacts import Artifacts
from resnet_dsl.backends.onnx.emit import INPUT, OUTPUT
from resnet_dsl.backends.onnx.options import OnnxOptions
from resnet_dsl.backends.onnx.writer import OnnxReport, write_model
from resnet_dsl.calibrate.calibration import Calibration
from resnet_dsl.calibrate.histogram import Histogram
from resnet_dsl.calibrate.observe import Progress, observe
from resnet_dsl.calibrate.store import DamagedError, Key, store, stored
from resnet_dsl.evaluate.feed import Feed
from resnet_dsl.ir.graph import Graph
from resnet_dsl.weights.store import Weights

Histograms: TypeAlias = Mapping[str, Histogram]

_MODEL, _DATA = "model.onnx", "model.onnx.data"
_SHOWN = 3  # names in a note


def calibrate(
    graph: Graph,
    weights: Weights,
    feed: Feed,
    folder: Path,
    names: Sequence[str] | None = None,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """What the values of a float32 graph are like on the images of a feed. `names` are those of nodes, and `input`;
    None is all. It is stored in `folder`; where it is there, the network is not run. `threads` are ONNX Runtime's.

    Raises CompileError: RD602 and RD603 where a file cannot be written, RD681 where there is no such value, RD682 where
    one is not finite; and what weights and the feed raise.
    """
    wanted = [INPUT, *(node.name for node in graph.nodes)] if names is None else names
    digest = _Hashing()
    report = _write(graph, weights, cast("BinaryIO", digest), cast("BinaryIO", digest))
    key = Key(
        digest.state.hexdigest(),
        feed.digest,
        feed.images,
        tuple(dict.fromkeys(wanted)),
        graph.spec_hash,
        report.weights_digest,
    )
    last = graph.nodes[graph.output - 1].name if graph.output else INPUT
    tapped = {name: OUTPUT if name == last else name for name in key.names}

    def run() -> Histograms:
        with TemporaryDirectory(prefix="resnet-dsl-") as temporary:
            artifacts = Artifacts(Path(temporary))
            with artifacts.binary(_MODEL) as stream, artifacts.binary(_DATA) as data:
                _write(graph, weights, stream, data)
            model = Path(temporary) / _MODEL
            found = observe(model, [*tapped.values()], feed, threads=threads, progress=progress)
        return {name: found[value] for name, value in tapped.items()}

    return _kept(folder, key, feed, run)


def calibrate_file(
    model: Path,
    feed: Feed,
    folder: Path,
    names: Sequence[str],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """What the named values of an ONNX file are like on the images of a feed; as `calibrate`."""
    from resnet_dsl.calibrate.taps import digest_of

    key = Key(digest_of(model), feed.digest, feed.images, tuple(dict.fromkeys(names)))
    return _kept(
        folder,
        key,
        feed,
        lambda: observe(model, key.names, feed, threads=threads, progress=progress),
    )


def _kept(folder: Path, key: Key, feed: Feed, run: Callable[[], Histograms]) -> Calibration:
    """What a folder holds, or else what `run` finds."""
    path, notes = folder / key.file_name, []
    try:
        found = stored(folder, key)
    except DamagedError as error:
        found = None
        notes.append(f"`{path}` was damaged, and has been made anew: {error}")
    if found is not None:
        histograms, digest = found
    else:
        histograms = dict(run())
        digest = store(folder, key, histograms)
    notes += _always_zero(histograms)
    reused = found is not None
    return Calibration(histograms, feed.images, feed.about, digest, path, reused, tuple(notes))


def _always_zero(histograms: Histograms) -> list[str]:
    """A note on values that no image has moved."""
    silent = [name for name, each in histograms.items() if not each.magnitude]
    if not silent:
        return []
    shown = ", ".join(f"`{name}`" for name in silent[:_SHOWN])
    more = f" and {len(silent) - _SHOWN} more" if len(silent) > _SHOWN else ""
    return [f"{shown}{more} are zero on all images: their ranges mean nothing"]


class _Hashing(RawIOBase):
    """A file that keeps nothing but the hash of what is written."""

    def __init__(self) -> None:
        self.state = sha256()

    def writable(self) -> bool:
        return True

    def write(self, content: object) -> int:
        view = memoryview(content)  # type: ignore[arg-type]  # whatever has bytes
        self.state.update(view)
        return view.nbytes


def _write(graph: Graph, weights: Weights, stream: BinaryIO, data: BinaryIO) -> OnnxReport:
    """The ONNX file with its weights beside it, which ONNX Runtime then maps into memory."""
    options = OnnxOptions(external_data=True)
    return write_model(graph, weights, stream, options, data=data, location=_DATA)
