# `python3 bootstrap.py RECIPE` makes the environment first; `just RECIPE` runs in the one that is there.

set positional-arguments

venv := env("RESNET_DSL_VENV", justfile_directory() / ".venv")
export PATH := venv / "bin" + ":" + env("PATH")

# list the recipes
default:
    @just --list --unsorted

# make or update the virtual environment
setup:
    python3 bootstrap.py setup

# rewrite the sources in the project's format, and fix what ruff can fix
format:
    ruff check --fix-only --quiet .
    ruff format .

# ruff, mypy --strict and the import contracts
lint:
    ruff check .
    ruff format --check .
    mypy
    lint-imports --no-logo

# the tests that take seconds
test-fast *arguments:
    python -m pytest -n 2 -m "not slow and not gpu" "$@"

# lint, then every test that needs no GPU
test *arguments: lint
    python -m pytest -n 2 -m "not gpu" "$@"

# the tests that need an NVIDIA GPU
test-gpu *arguments:
    python -m pytest -m gpu "$@"

# the main job end to end: build, train on digits, ONNX, engine, a summary
demo *arguments:
    resnet-dsl demo "$@"

# the benchmark: each number with its peer beside it, measured in one run
bench *arguments:
    python -m compiler_tests.bench.run "$@"

# kill -9 at random moments of a training: is what comes of it the same, to the bit?
kill-test *arguments:
    python -m compiler_tests.commands.kill_runs "$@"

# rewrite the golden files from what the compiler says today (then read the diff)
golden *arguments:
    python -m pytest --update-golden "$@"

# delete caches and build outputs, but not the environment
clean:
    rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
    find . -path ./.venv -prune -o -type d -name __pycache__ -exec rm -rf {} +
