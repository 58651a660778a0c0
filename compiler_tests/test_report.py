import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from resnet_dsl.analysis.receptive import ReceptiveField
from resnet_dsl.analysis.summary import Row, Summary
from resnet_dsl.report import table


def row(
    name: str,
    output: tuple[int, ...],
    blocks: int,
    layers: int,
    parameters: int,
    macs: int,
    field: int | None,
    train: int = 19_267_584,
    infer: int = 4_816_896,
) -> Row:
    whole = ReceptiveField((224, 224), (224, 224), whole=True)
    local = ReceptiveField((field, field), (4, 4)) if field else whole
    return Row(
        name=name,
        output=output,
        blocks=blocks,
        layers=layers,
        parameters=parameters,
        buffers=1000,
        weight_bytes=4 * parameters + 4000,
        macs=macs,
        elementwise_operations=7,
        activation_bytes_training=train,
        activation_bytes_inference_peak=infer,
        receptive_field=local,
    )


@pytest.fixture
def summary():
    return Summary(
        name="resnet152",
        doc="The paper's deepest.",
        input=(3, 224, 224),
        rows=(
            row("stem", (64, 56, 56), 0, 1, 9_536, 118_013_952, 11),
            row("layer1", (256, 56, 56), 3, 9, 215_808, 667_942_912, 35),
            row("head", (1000,), 0, 1, 2_049_000, 2_048_000, None, 8192, 12_192),
        ),
        total=row("resnet152", (1000,), 50, 152, 60_192_808, 11_282_415_616, None),
    )


def printed(summary: Summary, width: int, encoding: str = "utf-8") -> str:
    written = io.BytesIO()
    buffer = io.TextIOWrapper(written, encoding=encoding)
    console = Console(file=buffer, width=width)
    console.print(table(summary))
    buffer.flush()
    return written.getvalue().decode(encoding)


NUMBERS = ["60,192,808", "11,282,415,616", "22,564,831,232", "2,049,000", "215,808", "152", "35"]


@pytest.mark.parametrize("width", [20, 30, 60, 80, 100, 120, 200])
def test_no_number_is_cut_or_wrapped_at_any_width(summary, width):
    text = printed(summary, width)
    assert "…" not in text
    for number in NUMBERS:
        assert re.search(rf"(?<![\d,]){number}(?![\d,]*\d)", text), number
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize(("width", "headers"), [(120, 1), (80, 2), (40, 0)])
def test_wide_terminals_get_one_table_narrower_two_and_narrow_ones_a_list(summary, width, headers):
    text = printed(summary, width)
    assert len(re.findall(r"^stage ", text, re.MULTILINE)) == headers


def test_a_pipe_gets_no_escape_codes(summary):
    assert "\x1b" not in printed(summary, 120)


def test_a_terminal_that_is_not_unicode_gets_ascii(summary):
    text = printed(summary, 120, encoding="ascii")
    assert "3x224x224" in text


def test_the_wide_table_reads_as_drawn(summary):
    assert printed(summary, 120).rstrip().splitlines()[:8] == [
        "resnet152   input 3×224×224",
        "The paper's deepest.",
        "",
        "stage   output     blocks  layers  receptive field  parameters            MACs"
        "  memory (train)  memory (infer)",
        "stem    64×56×56        -       1               11       9,536     118,013,952"
        "        18.4 MiB        4.59 MiB",
        "layer1  256×56×56       3       9               35     215,808     667,942,912"
        "        18.4 MiB        4.59 MiB",
        "head    1000            -       1              all   2,049,000       2,048,000"
        "        8.00 KiB        11.9 KiB",
        "total   1000           50     152              all  60,192,808  11,282,415,616"
        "        18.4 MiB        4.59 MiB",
    ]


@pytest.mark.parametrize("width", [30, 60, 72, 80, 100, 120])
def test_no_line_ends_in_a_space(summary, width):
    long = replace(summary, doc="Eight words, with one space after each of them.   \n\n" * 3)
    assert not re.search(" $", printed(long, width), re.MULTILINE)
