"""Words of other frameworks, and what this language says in their place."""

from __future__ import annotations

from collections.abc import Mapping

_NORM = "`norm` is the network's normalisation; the spec's `norm:` says which"
_JOIN = "`residual` and `branches` join what they hold: `join: add`, `multiply` or `concat`"
_NOTHING = "there is no such operation, and none that it could be made of"

_SAID: Mapping[str, str] = {
    **dict.fromkeys(
        ("batchnorm", "bn", "layernorm", "ln", "groupnorm", "gn", "instancenorm"), _NORM
    ),
    **dict.fromkeys(("normalisation", "normalization", "frozenbatchnorm"), _NORM),
    **dict.fromkeys(
        ("add", "sum", "mul", "multiply", "concat", "concatenate", "cat", "gate"), _JOIN
    ),
    **dict.fromkeys(("upsample", "interpolate", "convtranspose", "deconv", "unpool"), _NOTHING),
    **dict.fromkeys(("channelshuffle", "shuffle", "split", "chunk", "slice"), _NOTHING),
    **dict.fromkeys(("attention", "selfattention", "softmax", "layerscale", "prelu"), _NOTHING),
    **dict.fromkeys(("activation", "nonlinearity"), "`act` is the network's activation"),
    **dict.fromkeys(
        ("depthwise", "depthwiseconv", "dwconv", "separableconv"),
        "a depthwise convolution has a group for each channel: `conv: {kernel: 3, groups: in}`",
    ),
    **dict.fromkeys(("identity", "skip"), "leave it out: a body without entries is the identity"),
    **dict.fromkeys(("se", "selayer", "semodule"), "`squeeze_excite` is a block of the library"),
    **dict.fromkeys(("fc", "dense"), "did you mean `linear`?"),
    "swish": "did you mean `silu`?",
    "stochasticdepth": "did you mean `drop_path`?",
    "zeropad": "did you mean `pad_channels`?",
}


def said_here(word: str) -> str | None:
    """What to write for a word that people know from elsewhere; None where nothing is known of it."""
    plain = word.lower().replace("_", "").replace("-", "")
    return _SAID.get(plain) or _SAID.get(plain.removesuffix("2d"))
