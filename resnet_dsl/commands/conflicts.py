"""Options that would do nothing, or that contradict one another: refused before anything is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from resnet_dsl.errors import CompileError, Diagnostic

_ONNX = (
    *("--fold", "--no-fold", "--opset", "--dynamic-size", "--external-data", "--output"),
    *("--precision", "--for", "--rest", "--keep", "--percentile"),
    *("--calibration", "--calibration-images", "--calibration-method"),
    *("--accuracy-budget", "--accuracy-images"),
)


def check_build(targets: Sequence[str], stop_after: str | None, given: Mapping[str, bool]) -> None:
    """`given` says of each option whether it was written. Raises CompileError RD702."""
    written = [name for name, is_written in given.items() if is_written]
    found: list[Diagnostic] = []
    if stop_after is not None:
        found += [_useless(name, "--stop-after prints text, and makes nothing") for name in written]
        raise_any(found)
        return
    if "onnx" not in targets:
        why = "it says how an ONNX graph is written"
        found += [_useless(name, why, "--target onnx") for name in _ONNX if given.get(name)]
        if given["--seed"] and not given["--write-weights"] and not given["--weights"]:
            why = "a PyTorch module draws its weights when it is made, from torch's own seed"
            found.append(_useless("--seed", why, "--target onnx or --write-weights"))
    if set(targets) == {"train"} and given["--weights"]:
        why = "a script is written without weights, and is given them when it runs"
        found.append(
            Diagnostic(
                "RD702",
                "--weights would do nothing here",
                why=why,
                hint="`resnet-dsl train SPEC --weights FILE` fine-tunes; or add --target torch or --target onnx",
            )
        )
    raise_any([*found, *_weights(given)])


def check_compile(given: Mapping[str, bool]) -> None:
    """As `check_build`, for `compile`. Raises CompileError RD702."""
    raise_any(_weights(given))


def raise_any(found: Sequence[Diagnostic]) -> None:
    """Raise the findings, if there are any."""
    if found:
        raise CompileError(found)


def _weights(given: Mapping[str, bool]) -> list[Diagnostic]:
    if not (given["--seed"] and given["--weights"]):
        return []
    why = "the weights are drawn from a seed or read from a file"
    return [
        Diagnostic(
            "RD702", "--seed and --weights exclude each other", why=why, hint="leave one out"
        )
    ]


def _useless(name: str, why: str, needs: str | None = None) -> Diagnostic:
    return Diagnostic(
        "RD702",
        f"{name} would do nothing here",
        why=why,
        hint=f"leave {name} out" + (f", or add {needs}" if needs else ""),
    )
