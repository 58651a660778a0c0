"""Set the project up and run one of its recipes; needs nothing but Python 3.11 or newer.

    python3 bootstrap.py demo     the main job, end to end: build, train on digits, ONNX, engine, a summary
    python3 bootstrap.py test     linters, type checker and tests
    python3 bootstrap.py bench    the benchmark, with its peers beside it
    python3 bootstrap.py setup    the set-up alone

The virtual environment is .venv, or the folder that RESNET_DSL_VENV names. It is made and filled once, and again when
pyproject.toml or constraints.txt has changed. Any recipe of the Justfile may be named; arguments after it go to it.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST = (3, 11)  # annotations below are quoted so that a Python of 2016 gets as far as saying this
ROOT = Path(__file__).resolve().parent
VENV = Path(os.environ.get("RESNET_DSL_VENV") or ROOT / ".venv").expanduser().absolute()
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
STAMP = VENV / "resnet_dsl.stamp"
LOG = VENV / "resnet_dsl.install.log"


class SetupError(Exception):
    """A step that failed, in words for the person at the terminal."""


def say(text: str) -> None:
    print(f"[bootstrap] {text}", file=sys.stderr, flush=True)


def check_python() -> None:
    """Raise SetupError on a Python that is too old, and name a newer one if the machine has it."""
    if sys.version_info >= OLDEST:
        return
    newer = [
        name
        for name in ("python3.14", "python3.13", "python3.12", "python3.11")
        if shutil.which(name)
    ]
    here = ".".join(str(part) for part in sys.version_info[:3])
    hint = (
        f"Run: {newer[-1]} bootstrap.py"
        if newer
        else "Install one from python.org or your system's packages."
    )
    raise SetupError(f"Python 3.11 or newer is needed; {sys.executable} is {here}. {hint}")


def fingerprint() -> str:
    """Hash what the installation depends on: the two files, the version, where it points to, and the interpreter."""
    digest = hashlib.sha256(f"{ROOT}\n{sys.version}\n".encode())
    for name in ("pyproject.toml", "constraints.txt", "resnet_dsl/__init__.py"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def venv_works() -> bool:
    """Whether VENV has a Python of this version that runs pip; an interrupted set-up may have left half of one."""
    probe = "import pip, sys; print(sys.version)"
    try:
        done = subprocess.run(
            [str(PYTHON), "-c", probe], capture_output=True, text=True, check=False
        )
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == sys.version.strip()


def make_venv() -> None:
    if venv_works():
        return
    if VENV.exists() and any(VENV.iterdir()) and not (VENV / "pyvenv.cfg").exists():
        raise SetupError(
            f"{VENV} is there and is no virtual environment. Name another in RESNET_DSL_VENV."
        )
    say(f"making a virtual environment in {VENV}")
    started = time.monotonic()
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode != 0:
        hint = (
            "On Debian and Ubuntu the package python3-venv is needed." if os.name == "posix" else ""
        )
        raise SetupError(
            f"no virtual environment could be made.\n{done.stdout.strip()}\n{hint}".strip()
        )
    say(f"made in {time.monotonic() - started:.1f} s")


def install() -> None:
    """Install the project, editable, with every extra but full TensorRT, at the versions of constraints.txt."""
    say("installing resnet_dsl and what it needs (several GB: the first time takes minutes)")
    started = time.monotonic()
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check"]
    command += [
        "--progress-bar",
        "off",
        "-c",
        str(ROOT / "constraints.txt"),
        "-e",
        f"{ROOT}[all,dev]",
    ]
    tail: list[str] = []
    with LOG.open("w", encoding="utf-8") as log:
        pip = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        )
        assert pip.stdout is not None
        try:
            for line in pip.stdout:
                log.write(line)
                tail = [*tail[-19:], line.rstrip()]
                word, _, rest = line.strip().partition(" ")
                if word == "Downloading" and ("MB)" in rest or "GB)" in rest):
                    name, version, *_ = rest.rsplit("/", 1)[-1].split("-")
                    say(f"  downloading {name} {version} {rest[rest.rindex('(') :]}")
                elif word == "Installing" and rest.startswith("collected"):
                    say(f"  unpacking {rest.count(',') + 1} packages")
            status = pip.wait()
        finally:
            pip.kill()
            pip.wait()
    if status != 0:
        last = "\n".join(f"  {line}" for line in tail)
        raise SetupError(
            f"pip failed with status {status}. Its last lines:\n{last}\nAll of them: {LOG}"
        )
    say(f"installed in {time.monotonic() - started:.0f} s")


def set_up() -> None:
    wanted = fingerprint()
    if STAMP.exists() and STAMP.read_text(encoding="utf-8") == wanted and PYTHON.exists():
        say(f"{VENV} is up to date")
        return
    STAMP.unlink(missing_ok=True)
    make_venv()
    install()
    STAMP.write_text(wanted, encoding="utf-8")


def run_recipe(recipe: str, arguments: "list[str]") -> int:
    """Run `just recipe` with the environment first on PATH; where exec exists, it takes the place of this process."""
    just = BIN / ("just.exe" if os.name == "nt" else "just")
    if not just.exists():
        raise SetupError(f"{just} is missing. Delete {STAMP} and run this again.")
    command = [str(just), "--justfile", str(ROOT / "Justfile"), recipe, *arguments]
    environment = {**os.environ, "RESNET_DSL_VENV": str(VENV), "VIRTUAL_ENV": str(VENV)}
    environment["PATH"] = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])
    environment.pop("PYTHONHOME", None)
    say(f"just {' '.join([recipe, *arguments])}")
    if os.name != "nt":
        os.execve(just, command, environment)
    return subprocess.run(command, env=environment, check=False).returncode


def main(arguments: "list[str]") -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print((__doc__ or "").strip())
        return 0 if arguments else 2
    try:
        check_python()
        set_up()
        return 0 if arguments[0] == "setup" else run_recipe(arguments[0], arguments[1:])
    except (SetupError, OSError) as error:
        say(f"error: {error}")
    except KeyboardInterrupt:
        say("interrupted; run the same command again to go on")
        return 130
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
