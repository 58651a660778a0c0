"""Reading a user's weights: safetensors files and torch checkpoints, told apart by their content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import NDArray

from resnet_dsl.errors import CompileError, Diagnostic
from resnet_dsl.weights.sniff import damaged, sniff, unreadable

Array: TypeAlias = NDArray[Any]

# Wrappers that put one prefix before every name: DataParallel and DistributedDataParallel, torch.compile, Lightning
_PREFIXES = ("module.", "_orig_mod.", "model.")
_LONGEST_NAME = 1000


@dataclass(frozen=True, slots=True)
class Checkpoint(Mapping[str, Array]):
    """The tensors of a file by name. Floating ones are float32, as views of the file where it holds float32.

    `ordered` says whether the file kept the order in which the network's modules were made: torch's do, safetensors
    are sorted by type and name. `notes` say, for people, what was unwrapped, stripped, converted and left out.
    `spec_hash` is that of the spec that the weights were saved with, where the file says it, as our own files do.
    """

    arrays: dict[str, Array]
    ordered: bool
    notes: tuple[str, ...] = ()
    path: Path = field(default=Path())
    spec_hash: str | None = None

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


def load(path: Path) -> Checkpoint:
    """Read the weights at `path`; only a torch checkpoint imports torch, which opens it with `weights_only`.

    Raises CompileError: RD501 unreadable, RD502 no file of weights, RD503 damaged, RD504 holds objects that could run
    code, RD505 torch is missing, RD506 no state dict in it, RD508 a type that is not taken.
    """
    path = Path(path)
    kind = sniff(path)
    metadata: dict[str, str] = {}
    before = _stamp(path)
    if kind == "safetensors":
        from resnet_dsl.weights.safetensors_file import read_safetensors

        arrays, metadata, notes = read_safetensors(path)
    else:
        from resnet_dsl.weights.torch_file import read_torch

        arrays, notes = read_torch(path, mapped=kind == "torch zip")
    if _stamp(path) != before:
        raise damaged(path, "it was changed while it was read")
    if (longest := max(map(len, arrays), default=0)) > _LONGEST_NAME:
        raise damaged(path, f"a tensor has a name of {longest:,} letters")
    arrays = _without_prefixes(arrays, notes)
    if not arrays:
        raise CompileError(
            Diagnostic(
                "RD506",
                f"`{path}` holds no tensors",
                why="its list of tensors is empty",
                hint="save the weights with model.state_dict()",
            )
        )
    spec_hash = metadata.get("spec_sha256")
    return Checkpoint(arrays, kind != "safetensors", tuple(notes), path, spec_hash)


def _stamp(path: Path) -> tuple[int, int, int]:
    """What is another once somebody has written to the file, or put another in its place."""
    try:
        found = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    return found.st_ino, found.st_size, found.st_mtime_ns


def _without_prefixes(arrays: dict[str, Array], notes: list[str]) -> dict[str, Array]:
    """Strip the prefixes of `_PREFIXES`, in any order and number, while every name has one in common."""
    counter = "n_averaged"  # torch.optim.swa_utils.AveragedModel keeps its count beside `module.…`
    if counter in arrays and all(name == counter or name.startswith("module.") for name in arrays):
        arrays = {name: array for name, array in arrays.items() if name != counter}
        notes.append("left out `n_averaged`, the counter of an averaged model")
    stripped = ""
    while arrays and (prefix := next((p for p in _PREFIXES if _all_begin(arrays, p)), None)):
        stripped += prefix
        arrays = {name.removeprefix(prefix): array for name, array in arrays.items()}
    if stripped:
        notes.append(f"stripped `{stripped}` from every name")
    return arrays


def _all_begin(arrays: Mapping[str, Array], prefix: str) -> bool:
    return all(name.startswith(prefix) and len(name) > len(prefix) for name in arrays)
