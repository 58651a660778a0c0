"""docs/engines.md is what the code says, and what the commands print; and no page has a link that leads nowhere."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel
from typer.main import get_command

from compiler_tests.commands.running import REPOSITORY, call
from compiler_tests.language_tables import table
from resnet_dsl.backends.tensorrt import products
from resnet_dsl.backends.tensorrt.manifest import Manifest
from resnet_dsl.backends.tensorrt.precisions import PRECISIONS, TARGETS, support
from resnet_dsl.cli import app
from resnet_dsl.errors import CODES

FILE = REPOSITORY / "docs/engines.md"
PAGE = FILE.read_text(encoding="utf-8")
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
COMMANDS = [
    shlex.split(line, comments=True)
    for block in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("resnet-dsl")
]
MATRIX = re.compile(r"(<!-- matrix -->\n).*?(<!-- end -->)", re.DOTALL)
MEASURED_WITH = "1.7.1.116"
RELEASE = products.installed_version(products.RTX)
builds = pytest.mark.skipif(
    RELEASE != MEASURED_WITH, reason=f"the page shows TensorRT for RTX {MEASURED_WITH}"
)


def matrix() -> str:
    """Which precision is computed on which target; capabilities that have the same in common share a column."""
    columns: dict[tuple[str, ...], list[str]] = {}
    for target in TARGETS:
        answers = tuple(support(precision, target).answer for precision in PRECISIONS)
        columns.setdefault(answers, []).append(f"sm{target}")
    rows = zip(PRECISIONS, *columns, strict=True)
    head = ["", *(", ".join(names) for names in columns.values())]
    return table(head, iter([[f"`{name}`", *answers] for name, *answers in rows]))


def shown(name: str) -> list[str]:
    """The lines of the block or table that is marked with a name."""
    found = re.search(rf"<!-- {name} -->\n(?:```console\n(.*?)```|(.*?)\n\n)", PAGE, re.DOTALL)
    assert found is not None
    return (found[1] or found[2]).splitlines()


def timeless(lines: list[str]) -> list[str]:
    return [re.sub(r"built in [\d.]+ s", "built", line) for line in lines]


def test_the_matrix_is_what_the_code_says(golden: Callable[[str | Path, str], None]) -> None:
    assert MATRIX.search(PAGE)
    golden(FILE, MATRIX.sub(lambda found: f"{found[1]}{matrix()}\n{found[2]}", PAGE))


def test_every_command_can_be_typed() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]  # a group
    assert len(COMMANDS) > 3
    for _, name, *words in COMMANDS:
        commands[name].make_context(name, words)


def test_every_option_of_compile_is_on_a_page() -> None:
    pages = PAGE + (REPOSITORY / "docs/precision.md").read_text(encoding="utf-8")
    options = set(re.findall(r"--[a-z][a-z-]+", call("compile", "--help").stdout))
    general = {"--help", "--json", "--set", "--seed", "--target"}
    assert "--hardware-compatible" in options
    assert {option for option in options - general if option not in pages} == set()


def test_every_field_of_a_manifest_is_on_the_page() -> None:
    _, section = PAGE.split("### The manifest")
    told = set(re.findall(r"`(\w+)`", section.partition("\n#")[0]))
    for name, field in Manifest.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        inside = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        for word in (name, *(key for kind in inside for key in kind.model_fields)):
            assert word in told, word


def test_every_code_on_the_page_is_one() -> None:
    codes = set(re.findall(r"RD\d{3}", PAGE))
    assert len(codes) > 15
    assert codes <= CODES.keys()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if link.startswith(("http:", "https:")):
            continue
        name, _, heading = link.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", item.lower()).replace(" ", "-") for item in titles}
            assert heading in anchors, link


@builds
@pytest.mark.slow
def test_the_example_is_what_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command, *lines = shown("example")
    assert command == "$ resnet-dsl compile resnet50"
    done = call("compile", "resnet50", "--kernels")
    assert done.exit_code == 0, done.output
    printed = done.stdout.splitlines()
    kernels = shown("kernels")
    at = printed.index(kernels[0])
    assert printed[at : at + len(kernels)] == kernels
    rest = printed[: at - 1] + printed[printed.index("", printed.index("", at) + 1) + 1 :]
    assert timeless(rest) == timeless(lines)
    picture = Path("generated/resnet50/resnet50.fp16.kernels.svg").read_text(encoding="utf-8")
    assert picture == (FILE.parent / "results/resnet50.fp16.kernels.svg").read_text("utf-8")
    command, *lines = shown("inspect")
    done = call(*shlex.split(command)[2:])
    assert done.stdout.splitlines()[: len(lines)] == lines


@builds
@pytest.mark.slow
@pytest.mark.parametrize("row", shown("narrow")[2:])
def test_the_table_of_precisions_is_what_is_built(row: str, tmp_path: Path) -> None:
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    precision, _, rest = cells[0].partition(", rest ")
    narrow = ["--rest", rest, "--calibration", "fake", "--calibration-images", "1"] if rest else []
    options = ["--precision", precision, *narrow, "--out", str(tmp_path), "--json"]
    done = call("compile", "resnet50", *options)
    assert done.exit_code == 0, done.output
    (kernels,) = json.loads(done.stdout)["kernels"]
    totals = kernels["totals"]
    assert cells[1:4] == [
        str(totals["kernels"]),
        str(totals["requantise"] or "–"),
        f"{totals['additions_fused']} of {totals['additions']}",
    ]
    for cell, count in zip(
        cells[4:], (totals["bytes_moved"], kernels["memory"]["weights"]), strict=True
    ):
        assert float(cell.removesuffix(" MB")) == pytest.approx(count / 1e6, rel=0.005)
