import pytest

from compiler_tests.bench.cases import CASES, Bench
from compiler_tests.bench.measure import RunError, python, repeat, run
from compiler_tests.bench.run import parse


def test_time_and_output_are_those_of_the_whole_process() -> None:
    finished = run(python("-c", "import time; time.sleep(0.2); print('done')"))
    assert finished.seconds >= 0.2
    assert finished.output == "done\n"


def test_peak_memory_is_that_of_this_child_and_not_of_one_before() -> None:
    # In a process of its own, as small as the benchmark's: this one may hold torch by now.
    program = (
        "from compiler_tests.bench.measure import python, run\n"
        "large = run(python('-c', 'x = bytearray(200_000_000)'))\n"
        "print(large.peak_bytes, run(python('-c', 'pass')).peak_bytes)"
    )
    large, small = map(int, run(python("-c", program)).output.split())
    assert large >= 200_000_000
    assert small < 200_000_000


def test_a_command_that_fails_raises_with_its_last_words() -> None:
    with pytest.raises(RunError, match=r"ended with status 3\ngoodbye"):
        run(python("-c", "import sys; print('goodbye', file=sys.stderr); sys.exit(3)"))


def test_a_command_that_never_ends_is_killed() -> None:
    with pytest.raises(RunError, match="status -9"):
        run(python("-c", "import time; time.sleep(60)"), limit=0.3)


def test_each_repetition_gets_a_command_of_its_own() -> None:
    asked: list[int] = []

    def command() -> list[str]:
        asked.append(len(asked))
        return python("-c", f"print({asked[-1]})")

    assert repeat(command, 2).output == "2\n"
    assert asked == [0, 1, 2]


def test_a_build_never_finds_its_folder_there(tmp_path) -> None:
    bench = Bench(tmp_path, quick=True, say=lambda text: None)
    first, second = (bench.arguments("resnet50", "onnx")[-1] for _ in range(2))
    assert first != second


def test_the_options_name_every_case() -> None:
    assert parse(["--only", "help", "--only", "torch"]).only == ["help", "torch"]
    with pytest.raises(SystemExit):
        parse(["--only", "nonsense"])
    assert {
        "help",
        "torch",
        "resnet152",
        "resnet1202",
        "latency",
        "int8",
        "engine",
        "training",
    } == set(CASES)
