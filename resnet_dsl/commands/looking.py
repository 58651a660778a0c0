"""What a file is that is no engine, for `inspect`: told by its content, and what to do with it."""

from __future__ import annotations

import json
from collections import Counter
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from resnet_dsl.commands.output import Outcome, size, typed
from resnet_dsl.errors import CompileError, Diagnostic

if TYPE_CHECKING:
    from resnet_dsl.backends.onnx.reader import OnnxFile, Value

_SAFETENSORS_HEADER = 100_000_000
_MOST_TEXT = 8 * 1024 * 1024
_SHOWN = 12
_DAMAGED = 1


def named_engine(path: Path, start: bytes) -> Path | None:
    """The engine that a manifest is of, where `path` is one, and the engine is there."""
    if not start.lstrip().startswith(b"{") or not path.name.endswith(".engine.json"):
        return None
    engine = path.with_name(path.name.removesuffix(".json"))
    return engine if engine.is_file() else None


def look_at(path: Path, start: bytes) -> Outcome:
    """What a file is, and the next command. Raises CompileError RD631 where it is nothing that is known here."""
    if not start:
        raise _unknown(path, "empty")
    if start.startswith(b"ptrt"):
        raise _unknown(path, "an engine of TensorRT 7 or older, which cannot be inspected")
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= _SAFETENSORS_HEADER:
        return _safetensors(path)
    if start[:1] == b"\x08" or path.suffix == ".onnx":
        return _onnx(path)
    try:
        text = start.decode("utf-8", "strict" if len(start) < 4096 else "ignore")
    except UnicodeDecodeError:
        text = ""
    if text and "\0" not in text:
        return _text(path, text)
    return _weights(path)


def _onnx(path: Path) -> Outcome:
    from resnet_dsl.backends.onnx.reader import Damaged, read_onnx

    try:
        found = read_onnx(path)
    except Damaged as error:
        if path.suffix != ".onnx":
            return _weights(path)
        hint = "write it again: `resnet-dsl build SPEC --target onnx`"
        finding = Diagnostic("RD633", f"{path} is no whole ONNX file", why=str(error), hint=hint)
        return Outcome(data=_head(path, "onnx"), refused=[finding], status=_DAMAGED)
    outcome = Outcome(data=_head(path, "onnx") | _onnx_data(found), status=_DAMAGED)
    outcome.lines = _onnx_lines(path, found)
    for name, needed in found.external.items():
        beside = path.parent / name
        inside = not (Path(name).is_absolute() or ".." in Path(name).parts)
        there = beside.stat().st_size if inside and beside.is_file() else None
        state = "not there" if there is None else size(there)
        outcome.lines.append(f"beside    {name}, its weights: {state}")
        if there is None or there < needed:
            why = f"its weights are in `{name}`, of {needed:,} bytes, and {_there(there)}"
            hint = "copy both files together, or write them again: `resnet-dsl build SPEC --target onnx`"
            outcome.refused.append(Diagnostic("RD633", f"{path} is not whole", why=why, hint=hint))
    if not outcome.refused:
        outcome.next = [f"resnet-dsl verify SPEC --onnx {typed(path)}"]
    return outcome


def _there(size_there: int | None) -> str:
    return "there is none beside it" if size_there is None else f"there are {size_there:,}"


def _onnx_lines(path: Path, found: OnnxFile) -> list[str]:
    operators = ", ".join(f"{name} {count}" for name, count in found.nodes.most_common(_SHOWN))
    more = f", and {len(found.nodes) - _SHOWN} other kinds" if len(found.nodes) > _SHOWN else ""
    weights = ", ".join(f"{count} of {name}" for name, count in found.weights.most_common())
    opsets = ", ".join(f"{name or 'ai.onnx'} {number}" for name, number in found.opsets.items())
    lines = [
        f"ONNX      IR version {found.ir_version}, opset {opsets}, {size(path.stat().st_size)}",
        f"written   by {found.producer or 'nobody it names'} {found.producer_version}".rstrip(),
        *(f"input     {_value(item)}" for item in found.inputs),
        *(f"output    {_value(item)}" for item in found.outputs),
        f"nodes     {found.nodes.total():,}: {operators}{more}",
        f"weights   {found.elements:,} numbers in {found.weights.total():,} tensors: {weights}",
    ]
    lines += [f"about     {found.doc[:200]}"] if found.doc else []
    for name, text in list(found.metadata.items())[:_SHOWN]:
        lines.append(f"says      {name}: {text[:100]}")
    return lines


def _onnx_data(found: OnnxFile) -> dict[str, object]:
    def values(items: list[Value]) -> list[dict[str, object]]:
        return [{"name": i.name, "data_type": i.data_type, "shape": list(i.shape)} for i in items]

    return {
        "ir_version": found.ir_version,
        "opsets": found.opsets,
        "producer": f"{found.producer} {found.producer_version}".strip(),
        "metadata": found.metadata,
        "inputs": values(found.inputs),
        "outputs": values(found.outputs),
        "node_count": found.nodes.total(),
        "operators": dict(found.nodes.most_common()),
        "weight_types": dict(found.weights.most_common()),
        "weight_numbers": found.elements,
        "external": list(found.external),
    }


def _value(item: Value) -> str:
    return f"{item.name}, {item.data_type} {'×'.join(map(str, item.shape))}"


def _safetensors(path: Path) -> Outcome:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            metadata: dict[str, str] = file.metadata() or {}
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            tensors = {
                name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()
            }
    except (SafetensorError, ValueError) as error:
        hint = "fetch or copy it again, and compare its size or checksum with the source"
        finding = Diagnostic("RD633", f"{path} is damaged", why=str(error), hint=hint)
        return Outcome(data=_head(path, "safetensors"), refused=[finding], status=_DAMAGED)
    kinds = Counter(kind for kind, _ in tensors.values())
    numbers = sum(prod(shape) for _, shape in tensors.values())
    lines = [
        f"weights   safetensors, {size(path.stat().st_size)}: {numbers:,} numbers in {len(tensors):,} tensors",
        f"types     {', '.join(f'{count} of {name}' for name, count in kinds.most_common())}",
        *(f"says      {name}: {text[:100]}" for name, text in list(metadata.items())[:_SHOWN]),
        *(
            f"tensor    {name}, {kind} {'×'.join(map(str, shape)) or 'one number'}"
            for name, (kind, shape) in list(tensors.items())[:_SHOWN]
        ),
    ]
    if len(tensors) > _SHOWN:
        lines.append(f"          and {len(tensors) - _SHOWN:,} more (--json lists all)")
    if "calibration" in metadata and "counts" in tensors:
        return _calibration(path, metadata["calibration"])
    listed = {name: {"data_type": kind, "shape": list(s)} for name, (kind, s) in tensors.items()}
    data = _head(path, "safetensors") | {"metadata": metadata, "tensors": listed}
    return Outcome(lines, data, next=[_build_with(path)])


def _calibration(path: Path, said: str) -> Outcome:
    """What `compile` and `build` keep of a calibration: histograms of values, and no weights."""
    try:
        found = json.loads(said)
    except (ValueError, RecursionError):
        found = None
    of = found if isinstance(found, dict) else {}
    names, images = of.get("values"), of.get("images")
    values = f"{len(names):,} values" if isinstance(names, list) else "values"
    seen = f" on {images:,} images" if isinstance(images, int) else ""
    line = f"ranges    of {values}, as calibration has seen them{seen}, {size(path.stat().st_size)}"
    hashes = [
        f"{what} {str(of[key])[:12]}…"
        for what, key in (("spec", "spec_sha256"), ("weights", "weights_sha256"))
        if of.get(key)
    ]
    lines = [line, *([f"from      {', '.join(hashes)}"] if hashes else [])]
    return Outcome(lines, _head(path, "calibration") | {"calibration": of})


def _weights(path: Path) -> Outcome:
    """A checkpoint of torch's; or what else it looks like."""
    from resnet_dsl.weights.sniff import sniff

    try:
        kind = sniff(path)
    except CompileError as error:
        (found,) = error.diagnostics
        if found.code == "RD503":
            return Outcome(data=_head(path, "weights"), refused=[found], status=_DAMAGED)
        raise _unknown(path, found.message.removeprefix(f"`{path}` is ")) from error
    what = {"torch zip": "a torch checkpoint", "torch pickle": "a torch checkpoint from before 1.6"}
    line = f"weights   {what.get(kind, kind)}, {size(path.stat().st_size)}; it is not opened here"
    return Outcome([line], _head(path, "checkpoint"), next=[_build_with(path)])


def _text(path: Path, text: str) -> Outcome:
    first = next((line for line in text.splitlines() if line.strip()), "")[:60]
    if text.lstrip().startswith("{"):
        return _json(path)
    if path.suffix in (".yaml", ".yml"):
        line = f"spec      a network in YAML, or a part of one, beginning `{first}`"
        return Outcome([line], _head(path, "spec"), next=[f"resnet-dsl check {typed(path)}"])
    raise _unknown(path, f"text, beginning `{first}`")


def _json(path: Path) -> Outcome:
    with path.open("rb") as file:
        content = file.read(_MOST_TEXT + 1)
    try:
        found = json.loads(content[:_MOST_TEXT])
    except (ValueError, RecursionError) as error:
        raise _unknown(path, "text that begins as JSON does, and is none") from error
    if path.name.endswith(".engine.json"):
        hint = "copy the engine to it: an engine and its manifest belong together"
        raise _unknown(path, "the manifest of an engine that is not beside it", hint)
    engine = path.with_name(path.name.removesuffix(".kernels.json") + ".engine")
    if path.name.endswith(".kernels.json") and isinstance(found.get("kernels"), list):
        line = f"kernels   {len(found['kernels'])}, and what is fused into each: the report of an engine"
        shown = [f"resnet-dsl inspect {typed(engine)}"] if engine.is_file() else []
        return Outcome([line], _head(path, "kernels"), next=shown)
    keys = ", ".join(f"`{key[:40]}`" for key in list(found)[:_SHOWN])
    return Outcome([f"JSON      with {keys}"], _head(path, "json"))


def _head(path: Path, kind: str) -> dict[str, object]:
    return {"kind": kind, "file": str(path), "bytes": path.stat().st_size}


def _build_with(path: Path) -> str:
    return f"resnet-dsl build SPEC --target onnx --weights {typed(path)}"


def _unknown(path: Path, what: str, hint: str | None = None) -> CompileError:
    return CompileError(
        Diagnostic(
            "RD631",
            f"{path} is {what}",
            why="what is inspected are engines of TensorRT, ONNX files, weights and specs, told by content and not by "
            "ending",
            hint=hint or "`resnet-dsl compile SPEC --target tensorrt` builds an engine",
        )
    )
