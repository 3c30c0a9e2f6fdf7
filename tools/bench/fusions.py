"""What ``clean,fold-bn`` does to the latency of exported networks, and to what onnxruntime fuses in them."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from graphopt import ir
from graphopt.runtime import Session as Runtime
from graphopt.runtime.fusion import optimized
from graphopt.runtime.timing import PairedLatency, paired_latency
from tools.bench import subject
from tools.bench.session import Session
from tools.bench.tables import Goal, Record, show, show_goals

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
COLUMNS = ("network", "nodes", "bytes", "fused before", "fused after", "ms before", "ratio", "difference")


@dataclass(frozen=True)
class Outcome:
    """One network before and after the passes."""

    name: str
    nodes: tuple[int, int]
    sizes: tuple[int, int]
    fused: tuple[Counter[str], Counter[str]]
    latency: PairedLatency
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
            Goal(outcome.name, "latency, the input's", outcome.latency.ratio, SLOWDOWN),
            Goal(outcome.name, "fusions lost", float(outcome.lost), 0.0),
            Goal(outcome.name, "bytes, the input's", float(outcome.sizes[1]), float(outcome.sizes[0])),
            Goal(outcome.name, "relative difference of outputs", outcome.difference, TOLERANCE),
        ]
    show_goals([goal for goal in record.goals if not goal.met])
    return record


def _outcome(session: Session, model: Path, seconds: float) -> Outcome:
    result = session.scratch / f"{model.stem}.opt.onnx"
    command = subject.optimize(session.start, model, result, PASSES, *subject.BARE)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=session.limits.cpu_seconds)
    feeds = _feeds(model)
    before, after = (Runtime(path, threads=session.limits.threads) for path in (model, result))
    return Outcome(
        model.stem,
        (_count(model), _count(result)),
        (model.stat().st_size, result.stat().st_size),
        (_fusions(model), _fusions(result)),
        paired_latency(before, after, feeds, seconds=seconds),
        _difference(Runtime(model, optimization="disabled").run(feeds), after.run(feeds)),
    )


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
    times = outcome.latency
    return [
        outcome.name,
        f"{outcome.nodes[0]} -> {outcome.nodes[1]}",
        f"{outcome.sizes[1] / outcome.sizes[0]:.4f}",
        *(", ".join(f"{count} {op}" for op, count in sorted(f.items())) or "-" for f in outcome.fused),
        f"{times.a.median_ms:.2f}",
        f"{times.ratio:.3f} ± {times.spread * times.ratio:.3f}",
        f"{outcome.difference:.1e}",
    ]


def _row(outcome: Outcome) -> dict[str, object]:
    times = outcome.latency
    return {
        "network": outcome.name,
        "nodes": outcome.nodes,
        "bytes": outcome.sizes,
        "fused": [dict(counts) for counts in outcome.fused],
        "median_ms": [times.a.median_ms, times.b.median_ms],
        "minimum_ms": [times.a.minimum_ms, times.b.minimum_ms],
        "ratio": times.ratio,
        "spread": times.spread,
        "rounds": times.a.rounds,
        "difference": outcome.difference,
    }
