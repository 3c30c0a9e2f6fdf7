"""What ``clean,fold-bn`` does to the latency of exported networks, and to what onnxruntime fuses in them."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import onnx

from graphopt import ir
from graphopt.runtime import Session as Runtime
from graphopt.runtime import SessionOptions
from graphopt.runtime.optimizer import optimized
from tools.bench.support import subject
from tools.bench.support.session import Session
from tools.bench.support.tables import Goal, Record, show, show_goals

PASSES = "clean,fold-bn"
SLOWDOWN, TOLERANCE = 1.02, 1e-4
FUSED = {  # operators that onnxruntime writes for several, by a short name
    "BiasGelu": "Gelu",
    "FastGelu": "Gelu",
    "FusedConv": "FusedConv",
    "FusedGemm": "FusedGemm",
    "FusedMatMul": "FusedMatMul",
    "Gelu": "Gelu",
    "LayerNormalization": "LayerNorm",
    "QuickGelu": "SiLU",
    "SkipLayerNormalization": "LayerNorm",
}
COLUMNS = ("network", "nodes", "bytes", "fused before", "fused after", "ms", "latency", "CPU", "difference")
MOST_ROUNDS = 200


@dataclass(frozen=True)
class PairedTimes:
    """Interleaved runs before and after: arrays of shape (runs, 2), in seconds.

    One thread runs a network, so the CPU time of a run is its latency on a machine that does nothing else.
    """

    wall: np.ndarray
    cpu: np.ndarray

    @property
    def ratio(self) -> float:
        """Median of latency after / before over the pairs."""
        return float(np.median(self.wall[:, 1] / self.wall[:, 0]))

    @property
    def cpu_ratio(self) -> float:
        """Median of CPU time after / before over the pairs."""
        return float(np.median(self.cpu[:, 1] / self.cpu[:, 0]))

    @property
    def cpu_spread(self) -> float:
        """Half of the 95 % interval of that median."""
        low, high = np.quantile(self.cpu[:, 1] / self.cpu[:, 0], (0.25, 0.75))
        return float(1.57 * (high - low) / len(self.cpu) ** 0.5)


@dataclass(frozen=True)
class Outcome:
    """One network before and after the passes."""

    name: str
    nodes: tuple[int, int]
    sizes: tuple[int, int]
    fused: tuple[Counter[str], Counter[str]]
    times: PairedTimes
    difference: float

    @property
    def lost(self) -> int:
        """How many fusions are gone."""
        return sum((self.fused[0] - self.fused[1]).values())


def bench(session: Session, models: Sequence[Path], seconds: float) -> Record:
    """Run the passes over every model, print the table and the goals; the record of it all."""
    record = session.record("fusions")
    outcomes = [_outcome(session, model, seconds) for model in models]
    show("clean,fold-bn on exported networks", COLUMNS, [_cells(outcome) for outcome in outcomes])
    record.rows += [_row(outcome) for outcome in outcomes]
    for outcome in outcomes:
        record.goals += [
            Goal(outcome.name, "CPU time of a run, the input's", outcome.times.cpu_ratio, SLOWDOWN),
            Goal(outcome.name, "fusions lost", float(outcome.lost), 0.0),
            Goal(outcome.name, "bytes, the input's", float(outcome.sizes[1]), float(outcome.sizes[0])),
            Goal(outcome.name, "relative difference of outputs", outcome.difference, TOLERANCE),
        ]
    if missed := [goal for goal in record.goals if not goal.met]:
        show_goals(missed)
    return record


def _outcome(session: Session, model: Path, seconds: float) -> Outcome:
    result = session.scratch / f"{model.stem}.opt.onnx"
    command = subject.optimize(session.start, model, result, PASSES, *subject.BARE)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=session.limits.cpu_seconds)
    feeds = _feeds(model)
    before, after = (
        Runtime(path, SessionOptions(session.limits.threads), timed=True) for path in (model, result)
    )
    return Outcome(
        model.stem,
        (_count(model), _count(result)),
        (model.stat().st_size, result.stat().st_size),
        (_fusions(model), _fusions(result)),
        _times(before, after, feeds, seconds),
        _difference(Runtime(model, optimization="disabled").run(feeds), after.run(feeds)),
    )


def _times(before: Runtime, after: Runtime, feeds: Mapping[str, np.ndarray], seconds: float) -> PairedTimes:
    """Run two sessions in turn, each first every other time, for so many CPU seconds."""
    sessions = (before, after)
    for session in (*sessions, *sessions):
        session.run(feeds)
    runs: list[tuple[list[float], list[float]]] = []
    deadline = process_time() + seconds
    while len(runs) < 2 or (process_time() < deadline and len(runs) < MOST_ROUNDS):
        wall, cpu = [0.0, 0.0], [0.0, 0.0]
        for place in (0, 1) if len(runs) % 2 else (1, 0):
            start, started = perf_counter(), process_time()
            sessions[place].run(feeds)
            wall[place], cpu[place] = perf_counter() - start, process_time() - started
        runs.append((wall, cpu))
    walls, cpus = zip(*runs, strict=True)
    return PairedTimes(np.array(walls), np.array(cpus))


def _feeds(path: Path) -> dict[str, np.ndarray]:
    """Noise for every input; open sizes are one."""
    rng = np.random.default_rng(0)
    ports = ir.load(path).signature.inputs
    sizes = {port.name: [d if isinstance(d, int) else 1 for d in port.shape or ()] for port in ports}
    return {port.name: rng.standard_normal(sizes[port.name]).astype(port.dtype) for port in ports}


def _fusions(path: Path) -> Counter[str]:
    nodes = onnx.ModelProto.FromString(optimized(path)).graph.node
    return Counter(FUSED[node.op_type] for node in nodes if node.op_type in FUSED)


def _count(path: Path) -> int:
    """Nodes that compute something."""
    return sum(node.op_type != "Constant" for node in onnx.load(path, load_external_data=False).graph.node)


def _difference(expected: Mapping[str, np.ndarray], found: Mapping[str, np.ndarray]) -> float:
    """The largest difference relative to the largest value, over all outputs."""
    pairs = [(expected[name].astype(np.float64), found[name].astype(np.float64)) for name in expected]
    return max(float(np.abs(a - b).max() / max(np.abs(a).max(), 1e-12)) for a, b in pairs)


def _cells(outcome: Outcome) -> list[str]:
    times = outcome.times
    return [
        outcome.name,
        f"{outcome.nodes[0]} -> {outcome.nodes[1]}",
        f"{outcome.sizes[1] / outcome.sizes[0]:.4f}",
        *(", ".join(f"{count} {op}" for op, count in sorted(f.items())) or "-" for f in outcome.fused),
        f"{1e3 * np.median(times.cpu[:, 0]):.2f}",
        f"{times.ratio:.3f}",
        f"{times.cpu_ratio:.3f} ± {times.cpu_spread:.3f}",
        f"{outcome.difference:.1e}",
    ]


def _row(outcome: Outcome) -> dict[str, object]:
    return {
        "network": outcome.name,
        "nodes": outcome.nodes,
        "bytes": outcome.sizes,
        "fused": [dict(counts) for counts in outcome.fused],
        "wall": outcome.times.wall.tolist(),
        "cpu": outcome.times.cpu.tolist(),
        "latency_ratio": outcome.times.ratio,
        "cpu_ratio": outcome.times.cpu_ratio,
        "difference": outcome.difference,
    }
