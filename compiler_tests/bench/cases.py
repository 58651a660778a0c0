"""What is measured: one function a case, each yields its rows as soon as they are known."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compiler_tests.bench.measure import (
    Measured,
    RunError,
    child,
    python,
    repeat,
    resnet_dsl,
    run,
)
from compiler_tests.bench.rows import Row, Target

NOISE = 0.98  # two equal graphs differ by less than 2 % from run to run


@dataclass(slots=True)
class Bench:
    """Where files go, how often things are run, and how progress is told."""

    folder: Path
    quick: bool
    say: Callable[[str], None]
    count: int = 0

    @property
    def runs(self) -> int:
        return 3 if self.quick else 7

    @property
    def peer_runs(self) -> int:
        return 1 if self.quick else 3

    def fresh(self) -> Path:
        """A folder that is not there yet, so that no run finds its work done."""
        self.count += 1
        return self.folder / str(self.count)

    def arguments(self, spec: str, target: str, *options: str) -> list[str]:
        """What follows `resnet-dsl` to build a spec into a fresh folder."""
        build = ["build", f"specs/{spec}.yaml", "--target", target]
        return [*build, *options, "--out", str(self.fresh())]

    def build(self, spec: str, target: str, *options: str) -> list[str]:
        return resnet_dsl(*self.arguments(spec, target, *options))

    def built(self, name: str) -> str:
        """The path of a file that the latest build wrote."""
        path = self.folder / str(self.count) / name
        if not path.exists():
            raise RunError(f"the build did not write {path}")
        return str(path)


def torch_source(bench: Bench) -> Iterator[Row]:
    """The time to compile a spec to source, against the time until torchvision has the network."""
    what = "resnet152 to torch source, whole process"
    bench.say(what)
    ours = repeat(lambda: bench.build("resnet152", "torch"), bench.runs)
    bench.say("torchvision: import, construct resnet152")
    construct = python("-c", "import torchvision; torchvision.models.resnet152()")
    peer = repeat(lambda: construct, bench.peer_runs)
    name = "torchvision: import and construct"
    yield Row("torch", what, "s", ours.seconds, peer.seconds, name, Target("at most", 0.5))
    imported = child("imported", *bench.arguments("resnet152", "torch"))
    modules = [module for module in _json(run(imported).output) if module.startswith("torch")]
    yield Row(
        "torch", "torch packages that it imports", "", len(modules), target=Target("at most", 0)
    )


def resnet1202(bench: Bench) -> Iterator[Row]:
    """CIFAR ResNet-1202, spec to ONNX file with seeded weights."""
    ours = _build_onnx(bench, "cifar/resnet1202")
    onnx = bench.built("resnet1202.onnx")
    if not bench.quick:
        run(bench.build("cifar/resnet1202", "torch"))
    source = None if bench.quick else f"{bench.built('resnet1202.py')}:resnet1202"
    yield from _against_exporter(bench, "resnet1202", ours, onnx, source, 32, 1, 75)


def resnet152(bench: Bench) -> Iterator[Row]:
    """ResNet-152, spec to ONNX file with seeded weights."""
    ours = _build_onnx(bench, "resnet152")
    onnx = bench.built("resnet152.onnx")
    source = "torchvision:resnet152"
    yield from _against_exporter(bench, "resnet152", ours, onnx, source, 224, bench.peer_runs, 8)


def latency(bench: Bench) -> Iterator[Row]:
    """ResNet-50 in ONNX Runtime: the graph we write, and the exporter's graph of the module we write."""
    bench.say("resnet50: build, export")
    run(bench.build("resnet50", "onnx", "--seed", "0"))
    ours = bench.built("resnet50.onnx")
    run(bench.build("resnet50", "torch"))
    source = f"{bench.built('resnet50.py')}:resnet50"
    peer = str(bench.folder / "exported_resnet50.onnx")
    run(child("export", source, "224", peer))
    yield Row(
        case="latency",
        what="resnet50 graph",
        unit="nodes",
        ours=_json(run(child("inspect_onnx", ours)).output)["nodes"],
        peer=_json(run(child("inspect_onnx", peer)).output)["nodes"],
        peer_name="torch.onnx",
        target=Target("at most", 122),
    )
    bench.say("resnet50: both graphs in ONNX Runtime, in turn")
    times = _json(run(child("latency", ours, peer, "30" if bench.quick else "150")).output)
    yield Row(
        case="latency",
        what="resnet50 in ONNX Runtime, batch 1, 2 threads",
        unit="ms",
        ours=times["ours"],
        peer=times["peer"],
        peer_name="torch.onnx's graph",
        target=Target("times less", NOISE),
        paired_ratio=times["ratio"],
    )


def int8(bench: Bench) -> Iterator[Row]:
    """ResNet-50 in int8, by ONNX Runtime: against our graph in fp32, and torchvision's network in torch."""
    bench.say("resnet50_v1_5: fp32 and int8 in ONNX Runtime, torchvision's in torch, in turn")
    command = ["bench", "resnet50_v1_5", "--batch", "1,8", "--json", "--out", str(bench.fresh())]
    for backend in ("torchvision", "onnxruntime"):
        command += ["--backend", backend]
    command += ["--seconds", "3" if bench.quick else "15"]
    found = json.loads(run(resnet_dsl(*command)).output)
    for batch in found["batches"]:
        points = {
            (item["backend"], item["precision"]): point
            for item in found["backends"]
            for point in item["points"]
            if point["batch"] == batch
        }
        ours = points["onnxruntime", "int8"]
        for key, name, times in (
            (("onnxruntime", "fp32"), "our fp32 graph, likewise", 2.5),
            (("torchvision", "fp32"), "torchvision's in torch", 4.0),
        ):
            peer = points[key]
            yield Row(
                case="int8",
                what=f"resnet50 int8 in ONNX Runtime, batch {batch}, {found['threads']} threads",
                unit="ms",
                ours=ours["p50_ms"],
                peer=peer["p50_ms"],
                peer_name=name,
                target=Target("times less", times),
                paired_ratio=statistics.median(
                    a / b for a, b in zip(ours["rounds"], peer["rounds"], strict=True)
                ),
            )


def engine(bench: Bench) -> Iterator[Row]:
    """ResNet-152, spec to an fp16 engine of TensorRT for RTX, with no GPU."""
    what = "resnet152 to an fp16 RTX engine, whole process"
    bench.say(what)
    compile_ = ["compile", "resnet152", "--target", "tensorrt", "--precision", "fp16"]
    ours = repeat(
        lambda: resnet_dsl(*compile_, "--out", str(bench.fresh())), 1 if bench.quick else 3
    )
    yield Row("engine", what, "s", ours.seconds, target=Target("at most", 6))
    yield Row("engine", "resnet152 to an engine, our own peak memory", "MB", ours.peak_bytes / 1e6)


def training(bench: Bench) -> Iterator[Row]:
    """Training CIFAR's ResNet-20: the emitted script, the loop of reimplementations, and a careful one by hand."""
    data, epochs = bench.fresh(), "2" if bench.quick else "3"
    bench.say("resnet20: images to train on")
    run(child("images", str(data), "5120", "256"))
    run(bench.build("cifar/resnet20", "torch"))
    source = f"{bench.built('resnet20.py')}:resnet20"
    times: dict[str, list[float]] = {"ours": [], "usual": [], "careful": []}
    for turn in range(bench.peer_runs):
        bench.say(f"resnet20: three trainings in turn, {turn + 1} of {bench.peer_runs}")
        out = bench.fresh()
        command = ["train", "cifar/resnet20", "--out", str(out), "--set", "train=fast-cifar"]
        values = {"data": "folder", "path": data, "batch_size": 128, "epochs": epochs, "warmup": 1}
        for name, value in {**values, "download": "false"}.items():
            command += ["--set", f"train.{name}={value}"]
        run(resnet_dsl(*command))
        last = (out / "run" / "metrics.jsonl").read_text().splitlines()[-1]
        times["ours"].append(1e3 / json.loads(last)["images_per_second"])
        for kind in ("usual", "careful"):
            found = run(child("training", kind, source, str(data), "128", epochs))
            times[kind].append(1e3 / _json(found.output)["images_per_second"])
    what = "resnet20 on CIFAR's size, batch 128, training"
    peers = {
        "usual": ("float32, DataLoader and transforms", Target("times less", 2)),
        "careful": ("by hand: bf16, channels last, in memory", Target("times less", NOISE)),
    }
    for kind, (name, target) in peers.items():
        ours, peer = statistics.median(times["ours"]), statistics.median(times[kind])
        yield Row("training", what, "ms an image", ours, peer, name, target)


def help_text(bench: Bench) -> Iterator[Row]:
    """The time until `--help` is on the screen, against that of a Python that does nothing."""
    what = "resnet-dsl --help, whole process"
    bench.say(what)
    ours = repeat(lambda: resnet_dsl("--help"), 2 * bench.runs)
    peer = repeat(lambda: python("-c", "pass"), 2 * bench.runs)
    name = "python -c pass"
    yield Row("help", what, "s", ours.seconds, peer.seconds, name, Target("at most", 0.2))


CASES: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "help": help_text,
    "torch": torch_source,
    "resnet152": resnet152,
    "resnet1202": resnet1202,
    "latency": latency,
    "int8": int8,
    "engine": engine,
    "training": training,
}


def _build_onnx(bench: Bench, spec: str) -> Measured:
    bench.say(f"{spec} to ONNX")
    return repeat(lambda: bench.build(spec, "onnx", "--seed", "0"), bench.runs)


def _against_exporter(
    bench: Bench,
    name: str,
    ours: Measured,
    onnx: str,
    source: str | None,
    size: int,
    runs: int,
    times: float,
) -> Iterator[Row]:
    """Rows for our whole process against torch.onnx: its call alone, its whole process, its memory, its graph.

    The call alone is the harder comparison (ours counts Python's start and every import), the whole process the even
    one. `source` None leaves the exporter out.
    """
    graph = _json(run(child("inspect_onnx", onnx)).output)
    call = whole = memory = nodes = None
    if source is not None:
        calls, wholes, memories = [], [], []
        for _ in range(runs):
            bench.say(f"{name}: torch.onnx.export")
            path = str(bench.folder / f"exported_{name}.onnx")
            finished = run(child("export", source, str(size), path))
            calls.append(_json(finished.output)["export"])
            wholes.append(finished.seconds)
            memories.append(finished.peak_bytes)
        call, whole = sorted(calls)[runs // 2], sorted(wholes)[runs // 2]
        memory = max(memories) / graph["weights"]
        nodes = _json(run(child("inspect_onnx", path)).output)["nodes"]
    target = Target("times less", times)
    what = f"{name} to ONNX, whole process"
    yield Row(name, what, "s", ours.seconds, call, "torch.onnx.export, the call alone", target)
    yield Row(name, what, "s", ours.seconds, whole, "torch.onnx.export, whole process", target)
    what = f"{name} to ONNX, peak memory over weights"
    ratio = ours.peak_bytes / graph["weights"]
    yield Row(name, what, "×", ratio, memory, "torch.onnx.export", Target("at most", 2.5))
    yield Row(name, f"{name} graph", "nodes", graph["nodes"], nodes, "torch.onnx.export")


def _json(output: str) -> Any:
    """What a child printed on its last line; libraries may print before it."""
    try:
        return json.loads(output.strip().splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise RunError(f"no JSON on the last line of: {output[-500:]!r}") from error
