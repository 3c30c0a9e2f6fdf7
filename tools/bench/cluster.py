"""What workers bring and cost: speed, bytes that travel, the memory of the asking process, equal bytes.

    python -m tools.bench.cluster MODEL.onnx [--part speed|bytes|sensitivity|memory|equal] [--images 2000]

Sessions have one thread, so that two workers are compared with one. The figures for 64 workers are a
simulation from measured task times and sizes, and say so. MODEL is an image classifier such as lite0.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import heapq
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import graphopt
from graphopt import data, ir
from graphopt.calibration import Collected, Patches, Request, StatisticSpec, collect
from graphopt.execution import Workers, leaves, open_workers, parts
from graphopt.execution.executor import Workers as Team
from graphopt.execution.processes import Processes
from graphopt.runtime import SessionOptions
from graphopt.solve import has_affordable_gram

ONE = SessionOptions(threads=1)
NETWORK = 125e6  # bytes a second of 1 Gbit/s, for the simulation
PARTS = ("speed", "bytes", "sensitivity", "memory", "equal")


def main() -> None:
    """Measure the parts that are wanted."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        measure_memory(given.model, given.images)
        return
    for part in given.part or PARTS:
        globals()[f"{part}_part"](given.model, given.images)


def speed_part(path: Path, count: int) -> None:
    """Entropy calibration: one process, one worker, two workers; then 64 workers, simulated."""
    model = ir.load(path)
    with images(model, count) as samples:
        request = ranges(model, "histogram")
        start = time.perf_counter()
        collect(model, request, samples, ONE)
        seconds = {"one process": time.perf_counter() - start}
        for workers in (1, 2):
            with Team(Processes(workers)) as team:
                list(team.map(abs, [(n,) for n in range(8 * workers)]))  # processes begin
                start = time.perf_counter()
                collect(model, request, samples, two(workers), workers=team)
                seconds[f"{workers} workers"] = time.perf_counter() - start
                task_seconds, received = sum(team.seen.seconds[8 * workers :]), team.seen.received
    one = seconds["one process"]
    for name, taken in seconds.items():
        print(f"{count} images, {name}: {taken:.1f} s, {one / taken:.2f} x")
    simulate(task_seconds / leaves(count), received / len(parts(leaves(count), 2)), 50_000, 64)


def bytes_part(path: Path, count: int) -> None:
    """What travels for ranges, histograms and Gram matrices, to and from two workers."""
    model = ir.load(path)
    for what in ("range", "histogram", "gram"):
        used = min(count, 512) if what == "gram" else count
        with images(model, used) as samples, open_workers(2) as team:
            request = grams(model) if what == "gram" else ranges(model, what)
            found = collect(model, request, samples, two(2), workers=team)
            whole = sum(one.gram.nbytes for of in found.values() for one in of) if what == "gram" else 0
            each = team.seen.received / 2 / 1e6
            sent = team.seen.shared / 1e6
            text = f" = {each * 1e6 / whole:.2f} x the matrices" if whole else ""
            print(f"{what}, {used} images: each worker sends {each:.2f} MB{text}; gets {sent:.2f} MB once")


def sensitivity_part(path: Path, count: int) -> None:
    """Sensitivity of quantizing, measured on as many samples as the command takes; one process and two."""
    model = ir.load(path)
    measured = min(count // 2, 128)
    with images(model, 2 * measured) as samples, tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "x.npy")
        np.save(file, np.concatenate([s.feeds[model.signature.inputs[0].name] for s in samples]))
        results = {}
        for workers in (1, 2):
            start = time.perf_counter()
            study = graphopt.sensitivity(
                path, "quant", str(file), samples=measured, workers=workers, threads=workers, cache="off"
            )
            results[workers] = time.perf_counter() - start, study.points
    (one, first), (two_, second) = results[1], results[2]
    print(
        f"sensitivity, {len(first)} trials: {one:.1f} s, two workers {two_:.1f} s, {one / two_:.2f} x, "
        f"{'equal' if first == second else 'NOT EQUAL'}"
    )


def memory_part(path: Path, count: int) -> None:
    """The peak memory of the asking process with 1,000 and 10,000 samples."""
    peaks = []
    for samples in (1000, 10_000):
        command = [
            sys.executable,
            "-m",
            "tools.bench.cluster",
            str(path),
            "--images",
            str(samples),
            "--child",
            "1",
        ]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    print(
        f"asking process: {peaks[0] / 1e3:.0f} MB for 1,000, {peaks[1] / 1e3:.0f} MB for 10,000 samples, "
        f"{peaks[1] / peaks[0]:.3f} x"
    )


def measure_memory(path: Path, count: int) -> None:
    """Print the peak of this process, in kB."""
    model = ir.load(path)
    with images(model, count) as samples, open_workers(2) as team:
        collect(model, ranges(model, "histogram"), samples, ONE, workers=team)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def equal_part(path: Path, count: int) -> None:
    """One hash for all numbers and kinds of workers, one of which is killed at a random time."""
    model = ir.load(path)
    wanted = Request.of({**dict(ranges(model, "histogram").tensors), **dict(grams(model, 6).tensors)})
    hashes = []
    generator = random.Random(0)
    with images(model, 640) as samples:

        def run(team: Workers | None) -> None:
            found = collect(model, wanted, samples, ONE, workers=team)
            hashes.append(hashlib.sha256(Collected(wanted, found).to_bytes()).hexdigest()[:12])
            who = "one process" if team is None else f"{team.count} of {team.description}"
            print(f"{len(hashes)}: {who}: {hashes[-1]}", flush=True)

        for _ in range(4):
            run(None)
        for workers in (1, 2, 3, 7):
            for _ in range(2):
                with Team(Processes(workers)) as team, killing(generator):
                    run(team)
        for workers in (1, 2, 3, 7):
            for _ in range(2):
                with dask_cluster(workers) as client, open_workers(client) as team, killing(generator):
                    run(team)
    print(f"{len(hashes)} runs, {len(set(hashes))} hash(es): {', '.join(sorted(set(hashes)))}")


@contextlib.contextmanager
def dask_cluster(workers: int) -> Iterator[Any]:
    """A Dask cluster of processes on this machine, each with a nanny that starts it again."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=60
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@contextlib.contextmanager
def killing(generator: random.Random) -> Iterator[None]:
    """Kill one child of this process at a random time of the next seconds."""
    import psutil

    over = threading.Event()

    def kill() -> None:
        if over.wait(generator.uniform(0.2, 3.0)):
            return
        found = [c for c in psutil.Process().children(recursive=True) if not c.children() and is_worker(c)]
        if found:
            os.kill(generator.choice(found).pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def is_worker(process: Any) -> bool:
    """Whether a child works, rather than tracks resources of others."""
    with contextlib.suppress(Exception):
        return "spawn_main" in " ".join(process.cmdline())
    return False


def simulate(leaf_seconds: float, result_bytes: float, count: int, workers: int) -> None:
    """Greedy scheduling of the real cut; results arrive one after the other over the network."""
    cut = parts(leaves(count), workers)
    free = [0.0] * workers
    arrival = 0.0
    for _, size in cut:
        end = heapq.heappop(free) + size * leaf_seconds
        heapq.heappush(free, end)
        arrival = max(arrival, end) + result_bytes / NETWORK
    makespan = max(max(free), arrival)
    ideal = leaves(count) * leaf_seconds / workers
    slowest = max(free) - ideal
    print(
        f"simulation: {workers} workers, {count} images, {len(cut)} tasks: {makespan:.1f} s, efficiency "
        f"{ideal / makespan:.2f}; {slowest:.1f} s lost at the end, {len(cut) * result_bytes / NETWORK:.1f} s "
        "of results over 1 Gbit/s"
    )


def ranges(model: ir.Model, statistic: str) -> Request:
    """A statistic of every tensor that convolutions and products read or make."""
    names = {
        tensor.name: None
        for node in model.graph.nodes
        if node.op in ("Conv", "Gemm", "MatMul", "Relu", "Clip", "Add", "GlobalAveragePool")
        for tensor in (*node.inputs[:1], *node.outputs)
        if tensor.name and tensor.constant is None
    }
    return Request.of({name: [statistic] for name in names})


def grams(model: ir.Model, most: int = 10**6) -> Request:
    """The Gram matrix of what each layer reads."""
    wanted: dict[str, list[StatisticSpec]] = {}
    for node in model.graph.nodes:
        patches = Patches.of(node) if node.op in ("Conv", "Gemm", "MatMul") else ""
        if isinstance(patches, Patches) and len(wanted) < most:
            groups, unknowns, _ = patches.shape(node.inputs[1].constant.shape)
            if has_affordable_gram(groups, unknowns):
                wanted[node.inputs[0].name] = [StatisticSpec.of("gram", patches=patches, seed=0)]
    return Request.of(wanted)


@contextlib.contextmanager
def images(model: ir.Model, count: int) -> Iterator[data.Samples]:
    """Random images of the model's size in a file, as float rows."""
    port = model.signature.inputs[0]
    shape = [size if isinstance(size, int) else 224 for size in (port.shape or ())[1:]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.npy")
        generator = np.random.default_rng(0)
        with path.open(
            "wb"
        ) as file:  # written, not mapped: pages of a map would count as memory of this process
            header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
            np.lib.format.write_array_header_1_0(file, header)
            for _ in range(count):
                file.write(generator.integers(0, 256, shape, np.uint8).tobytes())
        recipe = data.parse_preprocess("scale=0.0078125;mean=1;std=1")
        yield data.load(path, model.signature.inputs, recipe, shapes={port.name: (1, *shape)})


def two(workers: int) -> SessionOptions:
    """Options of which each of so many local workers takes one thread."""
    return SessionOptions(threads=workers)


if __name__ == "__main__":
    main()
