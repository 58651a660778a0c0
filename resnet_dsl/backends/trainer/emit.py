"""Training settings to the text of train.py. Pure: nothing is read but the templates, nothing is written.

The template gets finished lines; what is decided by a setting is decided here.
"""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from resnet_dsl.backends.trainer import lines
from resnet_dsl.backends.trainer.check import findings
from resnet_dsl.backends.trainer.settings import TrainSettings
from resnet_dsl.errors import CompileError

_NEEDS = {"digits": "torch, safetensors and scikit-learn", "fake": "torch and safetensors"}
_TITLES = {"digits": "scikit-learn's digits", "fake": "random images"}
_IMPORTS = {
    "digits": (
        "from sklearn.datasets import load_digits",
        "from sklearn.model_selection import train_test_split",
    ),
    "fake": (),
}


def emit(settings: TrainSettings) -> str:
    """The script. Raises CompileError where the settings do not fit the network, or one another."""
    if found := tuple(findings(settings)):
        raise CompileError(found)
    for name in (settings.name, settings.module, settings.factory):
        if not name.isidentifier():
            raise ValueError(f"not an identifier: {name!r}")
    size = "×".join(map(str, settings.input))
    return (
        _environment()
        .get_template("train.py.j2")
        .render(
            name=settings.name,
            module=settings.module,
            factory=settings.factory,
            version=settings.version,
            origin=f" from a spec with SHA-256\n{settings.spec_hash}" if settings.spec_hash else "",
            out=lines.out_folder(settings),
            data_title=f"{_TITLES[settings.data]}: {size}, {settings.classes} classes",
            recipe_title=lines.recipe(settings),
            needs=_NEEDS[settings.data],
            data_imports=_IMPORTS[settings.data],
            data_template=f"data/{settings.data}.py.j2",
            settings=lines.constants(settings),
            schedule=lines.schedule(settings),
            shifted=lines.shifted(settings),
            inference=lines.inference(settings),
            threads=["torch.set_num_threads(THREADS)"] if settings.threads else [],
            optimizer=lines.optimizer(settings),
            standardise=lines.standardise(settings),
            draws=lines.draws(settings),
            forward=lines.forward(settings),
        )
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("resnet_dsl.backends.trainer"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
