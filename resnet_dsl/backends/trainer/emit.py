"""Training settings to the text of train.py. Pure: nothing is read but the templates, nothing is written.

The template gets finished lines; what is decided by a setting is decided here.
"""

from __future__ import annotations

import ast

from resnet_dsl.backends.templates import environment
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
    name = settings.name
    if not name.isidentifier():
        raise ValueError(f"not an identifier: {name!r}")
    text = _render(settings, name, name)
    if name in _taken(text, besides=name):
        text = _render(settings, f"{name} as make_{name}", f"make_{name}")
    return text


def _render(settings: TrainSettings, imported: str, called: str) -> str:
    size = "x".join(map(str, settings.input))  # ASCII, since `--help` prints it on any terminal
    return (
        environment("resnet_dsl.backends.trainer")
        .get_template("train.py.j2")
        .render(
            name=settings.name,
            imported=imported,
            called=called,
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
            repeated=lines.repeated(settings),
        )
    )


def _taken(text: str, besides: str) -> set[str]:
    """The names that the script binds where it calls the network: at its top, and in `main`. What it imports from the
    module `besides` does not count."""
    tree = ast.parse(text)
    main = next(
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"
    )
    found: set[str] = set()
    for node in (*tree.body, *ast.walk(main)):
        match node:
            case ast.ImportFrom(module=module, names=names) if module != besides:
                found |= {each.asname or each.name for each in names}
            case ast.Import(names=names):
                found |= {each.asname or each.name for each in names}
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                found.add(name)
            case _:
                pass
    return found
