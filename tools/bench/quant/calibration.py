"""What calibration costs: CPU time against plain inference and onnxruntime's, and peak memory."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from graphopt import calibration, data, ir, runtime
from graphopt.passes.quant.calibration.parameters import Bounds
from graphopt.passes.quant.calibration.ranges import CALIBRATORS, Calibrator
from tools.bench.quant import peers
from tools.bench.quant.cases import Subject, stacked
from tools.bench.support.measure import Limits, run
from tools.bench.support.tables import Goal, Record, show

IMAGES, RUNS = 64, 4
LIMITS = {"minmax": 2.0}  # times plain inference
HISTOGRAMS = 3.0
OF_PEER = 1.3
GROWTH, LARGEST = 1.05, 600e6
KINDS = {"npy": "", "npz": "", "folder": "scale=0.0078125;mean=128"}  # of data, and how each is prepared

MEMORY_SCRIPT = """
import sys
from graphopt import optimize
quick = "rounding=nearest:bias_correction=false:equalise=none:absorb=false:keep_noisy_float=false"
optimize(sys.argv[1], passes=f"quant:{quick}:measure=false:calibrator={sys.argv[3]}", calibration=sys.argv[2],
         preprocess=sys.argv[4] or None, target="ort-cpu", verify="off", latency=False)
"""


def bench(record: Record, subject: Subject) -> None:
    """Time every method, then compare the memory of few and many images."""
    samples = subject.pool[:IMAGES]
    arrays = data.from_arrays(stacked(samples), ir.load(subject.path).signature.inputs)
    session = runtime.Session(subject.path)
    work: dict[str, Callable[[], object]] = {"": lambda: [session.run(sample.feeds) for sample in samples]}
    for method in CALIBRATORS:
        work[method] = partial(_collect, subject.path, arrays, method)
    found = least(work)
    plain, peer = found.pop(""), _peer(subject.path, samples)
    rows = []
    for method, seconds in found.items():
        limit = LIMITS.get(method, HISTOGRAMS)
        record.goals += [
            Goal(method, "calibration, times plain inference", seconds / plain, limit),
            Goal(method, "calibration, times onnxruntime's MinMax", seconds / peer, OF_PEER),
        ]
        rows.append((method, f"{seconds:.2f}", f"{seconds / plain:.2f}", f"{seconds / peer:.2f}"))
        record.rows.append({"method": method, "cpu": seconds, "plain": plain, "ort minmax": peer})
    show(f"calibration with {IMAGES} images", ("method", "CPU s", "of inference", "of onnxruntime"), rows)
    record.goals += _memory(subject)


def least(work: Mapping[str, Callable[[], object]], runs: int = RUNS) -> dict[str, float]:
    """Least CPU seconds of some runs of each piece of work, by turns."""
    found = dict.fromkeys(work, np.inf)
    for _ in range(runs):
        for name, run_once in work.items():
            started = time.process_time()
            run_once()
            found[name] = min(found[name], time.process_time() - started)
    return found


def _collect(path: Path, samples: data.Samples, method: str) -> None:
    model = ir.load(path)
    calibrator = Calibrator(method)
    names = [node.output.name for node in model.graph.find("Conv", "Clip", "Add", "GlobalAveragePool")]
    bounded = {node.output.name for node in model.graph.find("Clip")}
    kept = [n for n in names if not _is_absorbed(model, n)]
    requests = {n: [calibrator.statistic(Bounds(0.0) if n in bounded else Bounds())] for n in kept}
    results = calibration.collect(model, requests, samples)
    for (found,) in results.values():
        calibrator.interval(found)


def _is_absorbed(model: ir.Model, name: str) -> bool:
    """Whether a Clip follows, whose result is stored instead."""
    return any(name == node.inputs[0].name for node in model.graph.find("Clip"))


def _peer(path: Path, samples: list[data.Sample]) -> float:
    """onnxruntime's MinMax calibration by itself."""
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    def calibrate() -> None:
        with tempfile.TemporaryDirectory() as folder:
            made = create_calibrator(
                str(path), None, f"{folder}/augmented.onnx", calibrate_method=CalibrationMethod.MinMax
            )
            made.collect_data(peers.Reader(samples))
            made.compute_data()

    return least({"": calibrate}, 1)[""]


def _memory(subject: Subject) -> list[Goal]:
    (images,) = stacked(subject.pool[:100]).values()
    (name,) = (port.name for port in ir.load(subject.path).signature.inputs)
    goals = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            few, many = (_kept(Path(folder), kind, name, images, count) for count in (10, 1000))
            for method in ("minmax", "entropy"):
                peaks = [_peak(subject.path, data_path, kind, method) for data_path in (few, many)]
                goals.append(
                    Goal(f"{method}, {kind}", "memory of 1000 images by 10", peaks[1] / peaks[0], GROWTH)
                )
                goals.append(Goal(f"{method}, {kind}", "peak bytes", max(peaks), LARGEST))
    return goals


def _peak(model: Path, samples: Path, kind: str, method: str) -> float:
    command = [sys.executable, "-c", MEMORY_SCRIPT, str(model), str(samples), method, KINDS[kind]]
    done = run(command, samples.parent, Limits())
    if not done.ok:
        raise RuntimeError(done.complaint)
    return float(done.peak)


def _kept(folder: Path, kind: str, name: str, images: np.ndarray, count: int) -> Path:
    """So many images (N, 3, height, width) in a file or a folder, the same ones again when they run out."""
    path = folder / (f"{count}" if kind == "folder" else f"{count}.{kind}")
    many = np.concatenate([images] * -(-count // len(images)))[:count]
    if kind == "npy":
        np.save(path, many)
    elif kind == "npz":
        np.savez(path, **{name: many})
    else:
        path.mkdir()
        for number, image in enumerate(many):
            pixels = np.clip(image.transpose(1, 2, 0) * 64 + 128, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(path / f"{number}.png", compress_level=0)
    return path
