"""Reading torch checkpoints, with `weights_only`: the tensors come out, and no code in the file is ever run."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.weights.sniff import damaged, sniff, unreadable

if TYPE_CHECKING:
    import torch

# Where training scripts put the weights among other things, in the order of preference
_WRAPPERS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "module",
    "state_dict_ema",
    "model_ema",
    "ema",
    "params_ema",
)
# A tensor may repeat what the file holds once (strides of 0); honest files do so a few times, in small tensors.
_SPREAD, _SLACK = 16, 1 << 26
_DEPTH = 3  # {"model": {"state_dict": {"module": {…}}}} is as deep as checkpoints were seen to go
_GLOBAL = re.compile(r"GLOBAL ([\w.]+)|class ([\w.]+)|'([\w.]+)'")


def read_torch(path: Path, *, mapped: bool) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """The tensors of the checkpoint, in its order, and notes on them; `mapped` where the file allows mapping (zip).

    Raises CompileError: RD501, RD503 damaged, RD504 it holds more than weights, RD505 torch is missing, RD506 no state
    dict, RD508 a tensor of a type that is not taken.
    """
    content = _open(path, mapped)
    notes: list[str] = []
    state = _state_dict(path, content, notes)
    return _arrays(path, state, notes), notes


def read_objects(path: Path) -> object:
    """What a file of torch's holds, tensors in plain containers. Raises CompileError: RD501, RD502 it is none, RD503,
    RD504, RD505 as `read_torch` does."""
    return _open(path, mapped=sniff(path) == "torch zip")


def _open(path: Path, mapped: bool) -> object:
    try:
        import torch
    except ImportError as error:
        raise CompileError(
            Diagnostic(
                "RD505",
                f"torch is needed to read `{path}`",
                why="it is a torch checkpoint; safetensors files are read without torch",
                hint='pip install "resnet-dsl[torch]"',
            )
        ) from error
    try:
        # Training scripts keep their arguments in the checkpoint; a Namespace is a plain holder of attributes
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            content: object = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except OSError as error:
        raise unreadable(path, error) from error
    except (
        Exception
    ) as error:  # torch raises whatever its readers do: by kind of file, and of damage
        if type(error).__name__ == "UnpicklingError" and "Weights only load failed" in str(error):
            raise _unsafe(path, str(error)) from error
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise damaged(path, f"torch cannot read it to its end ({reason})") from error
    return content


def _unsafe(path: Path, message: str) -> CompileError:
    detail = message.partition("WeightsUnpickler error:")[2] or message
    found = _GLOBAL.search(detail)
    name = next((group for group in found.groups() if group), None) if found else None
    what = f"`{name}`" if name else "an object that is no tensor"
    code = (
        f'import torch; c = torch.load({json.dumps(str(path))}, map_location="cpu", weights_only=False); '
        f"names = {json.dumps(_WRAPPERS)} if isinstance(c, dict) else []; "
        "c = next((c[k] for k in names if isinstance(c.get(k), (dict, torch.nn.Module))), c); "
        "c = c if isinstance(c, dict) else c.state_dict(); "
        'kind = lambda v: getattr(getattr(v, "dtype", None), "kind", None); '
        'w = {k: torch.as_tensor(v) for k, v in c.items() if torch.is_tensor(v) or kind(v) in [*"fiub"]}; '
        'assert w, "no tensors found"; torch.save(w, "weights.pth")'
    )
    convert = f"python -c {shlex.quote(code)}"
    return CompileError(
        Diagnostic(
            "RD504",
            f"`{path}` holds {what} beside tensors, and is not opened",
            why="to make such an object Python runs what the file says, and a file can say anything",
            hint=f"if, and only if, you trust where it is from, take the weights out of it yourself, then give "
            f"weights.pth: {convert}",
        )
    )


def _state_dict(path: Path, content: object, notes: list[str]) -> Mapping[str, Any]:
    """Go through wrappers to the mapping that holds the tensors: inwards as long as more of them lie there."""
    trail: list[str] = []
    for _ in range(_DEPTH):
        if not isinstance(content, Mapping):
            raise _none_found(path, f"it holds a {type(content).__name__}, not a state dict")
        counts = {str(key): _tensors(value) for key, value in content.items()}
        inner = [key for key, count in counts.items() if count]
        chosen = next((key for key in _WRAPPERS if key in inner), None)
        if chosen is None and len(inner) == 1:
            chosen = inner[0]
        if chosen is None or counts[chosen] <= _tensors(content, _DEPTH):
            break
        if len(inner) > 1:
            notes.append(f"left aside {_listed([key for key in inner if key != chosen])}")
        trail.append(chosen)
        content = content[chosen]
    if trail:
        notes.append(f"took the weights under {' → '.join(f'`{key}`' for key in trail)}")
    assert isinstance(content, Mapping)
    if _tensors(content, _DEPTH):
        return content
    if _is_optimiser(content):
        raise _none_found(path, "it holds the state of an optimiser, not the weights of a network")
    if len(inner) > 1:
        why = "it holds several groups of tensors, and none has a usual name"
        raise _none_found(path, f"{why}: {_listed(inner)}")
    raise _none_found(path, f"it holds {_listed(list(counts))}" if counts else "it is empty")


def _tensors(value: object, depth: int = 0) -> int:
    """How many tensors this mapping has as its values, or a usual wrapper in it has; a scalar alone counts as none.

    `depth` is how far in this is: a file may hold a mapping that holds itself.
    """
    if not isinstance(value, Mapping) or _is_optimiser(value):
        return 0
    if not all(isinstance(key, str) for key in value):
        return 0
    tensors = [item for item in value.values() if _is_tensor(item)]
    own = len(tensors) if any(item.ndim for item in tensors) else 0
    if depth >= _DEPTH:
        return own
    return max(own, *(_tensors(value.get(key), depth + 1) for key in _WRAPPERS))


def _is_optimiser(value: Mapping[Any, Any]) -> bool:
    return "param_groups" in value and "state" in value


def _is_tensor(value: object) -> TypeGuard[torch.Tensor]:
    import torch

    return isinstance(value, torch.Tensor)


def _arrays(path: Path, state: Mapping[str, Any], notes: list[str]) -> dict[str, NDArray[Any]]:
    import torch

    arrays: dict[str, NDArray[Any]] = {}
    converted: dict[str, int] = {}
    ignored: list[str] = []
    claimed, most = 0, _SPREAD * path.stat().st_size + _SLACK
    for name, value in state.items():
        if not isinstance(value, torch.Tensor):
            ignored.append(str(name))
            continue
        claimed += 4 * value.numel()
        if claimed > most:
            raise damaged(path, "its tensors are said to be many times larger than the file")
        arrays[name] = _array(path, name, value)
        if value.is_floating_point() and value.dtype != torch.float32:
            kind = str(value.dtype).removeprefix("torch.")
            converted[kind] = converted.get(kind, 0) + 1
    notes.extend(f"{count} tensors of {kind} read as float32" for kind, count in converted.items())
    if ignored:
        notes.append(f"left out {_listed(ignored)}: not tensors")
    return arrays


def _array(path: Path, name: str, value: torch.Tensor) -> NDArray[Any]:
    import torch

    plain = value.layout == torch.strided and not value.is_quantized and value.device.type == "cpu"
    narrow = value.is_floating_point() and value.dtype.itemsize == 1
    if not plain or narrow or value.is_complex():
        kind = f"{'meta ' if value.is_meta else ''}{str(value.dtype).removeprefix('torch.')}"
        raise CompileError(
            Diagnostic(
                "RD508",
                f"`{path}`: the tensor `{name[:200]}` is of type {kind}, {str(value.layout).removeprefix('torch.')}",
                why="weights are read as dense float32",
                hint="give the weights from before they were quantised or made sparse",
            )
        )
    value = value.detach()
    if value.is_floating_point() and value.dtype != torch.float32:
        value = value.to(torch.float32)
    return np.ascontiguousarray(value.resolve_neg().numpy()).reshape(tuple(value.shape))


def _none_found(path: Path, why: str) -> CompileError:
    return CompileError(
        Diagnostic(
            "RD506",
            f"no weights are found in `{path}`",
            why=why,
            hint="save the weights by themselves: torch.save(model.state_dict(), 'weights.pth')",
        )
    )


def _listed(names: list[str], most: int = 6) -> str:
    shown = ", ".join(f"`{name[:200]}`" for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
