"""INT8 of networks with attention: outputs, accuracy, latency and kernels beside onnxruntime's own quantizer.

By itself: ``python -m tools.bench.quant.attention`` for the sample transformer and the hybrid, and with
``--planted`` for the same networks with a few channels of every LayerNormalization forty times as large.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from onnxruntime import quantization as ort_quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from graphopt import data, ir, optimize, runtime
from tools.bench.quant.peers import Reader
from tools.bench.support.tables import Goal, Record, own_version, show, show_goals

MODELS = Path(__file__).resolve().parents[3] / "models"
SAMPLES = MODELS / "fashion_samples.npz"
NAMES = ("fashion_transformer", "fashion_hybrid")
CALIBRATION, JUDGES = 64, 2000
PLANTED, FACTOR = 3, 40.0  # channels of every LayerNormalization, and what they are multiplied by
OURS, STATIC = "graphopt", "ort static"
LOST, PLANTED_LOST, AHEAD, NEAR = 0.1, 0.2, 4.0, 0.1  # points, points, dB, points
KERNELS = (
    "Gelu",
    "BiasGelu",
    "QGemm",
    "QLinearConv",
    "MatMulIntegerToFloat",
    "QLinearMatMul",
    "DynamicQuantizeMatMul",
)
FLOATS = ("Gemm", "MatMul", "FusedMatMul", "Conv", "FusedConv", "Erf", "QLinearSoftmax", "Softmax")

Quantizer = Callable[[Path, Path, "list[data.Sample]"], None]


@dataclass(frozen=True)
class Judge:
    """Images with their classes, and the answers of the float network to them."""

    images: np.ndarray
    labels: np.ndarray
    answers: np.ndarray
    input: str

    @classmethod
    def of(cls, path: Path, images: np.ndarray, labels: np.ndarray) -> Judge:
        name = ir.load(path).signature.inputs[0].name
        return cls(images, labels, _answers(path, images, name), name)

    def figures(self, path: Path) -> dict[str, Any]:
        """Decibels, points lost and changed answers of a quantized network, and its kernels."""
        made = _answers(path, self.images, self.input)
        noise = float(np.square(made - self.answers).sum())
        right = self.answers.argmax(1) == self.labels
        return {
            "SQNR": 10 * np.log10(float(np.square(self.answers).sum()) / max(noise, 1e-30)),
            "top-1": float((made.argmax(1) == self.labels).mean()),
            "lost": 100 * float(right.mean() - (made.argmax(1) == self.labels).mean()),
            "agreement": 100 * float((made.argmax(1) == self.answers.argmax(1)).mean()),
            "kernels": _kernels(path),
        }


def _answers(path: Path, images: np.ndarray, name: str) -> np.ndarray:
    session = runtime.Session(path)
    (output,) = session.run({name: images}).values()
    return np.asarray(output, np.float64)


def _kernels(path: Path) -> dict[str, int]:
    """How often each kernel of interest stands in the graph that onnxruntime makes of a file."""
    counts = Counter(node.op for node in ir.from_bytes(runtime.optimized(path)).graph.nodes)
    return {name: counts[name] for name in (*KERNELS, *FLOATS) if counts[name]}


def peers() -> dict[str, Quantizer]:
    """onnxruntime's static quantization in every setting that says how, and its dynamic one."""
    types, methods = ort_quantization.QuantType, ort_quantization.CalibrationMethod
    made: dict[str, Quantizer] = {}
    for method in ("MinMax", "Entropy", "Percentile"):
        for name, activation in (("u8s8", types.QUInt8), ("s8s8", types.QInt8)):
            for per_channel in (True, False):
                label = f"{STATIC} {name} {method}{' per channel' if per_channel else ''}"
                made[label] = _static(
                    activation_type=activation,
                    weight_type=types.QInt8,
                    per_channel=per_channel,
                    calibrate_method=getattr(methods, method),
                )
    made[f"{STATIC} u8s8 MinMax per channel, layers alone"] = _static(
        activation_type=types.QUInt8,
        weight_type=types.QInt8,
        per_channel=True,
        op_types_to_quantize=["Conv", "Gemm", "MatMul"],
    )
    made["ort dynamic"] = _dynamic
    return made


def _static(**settings: Any) -> Quantizer:
    def run(source: Path, output: Path, samples: list[data.Sample]) -> None:
        prepared = _prepared(source)
        ort_quantization.quantize_static(prepared, output, Reader(samples), **settings)

    return run


def _dynamic(source: Path, output: Path, samples: list[data.Sample]) -> None:
    settings = {"weight_type": ort_quantization.QuantType.QInt8, "op_types_to_quantize": ["MatMul", "Gemm"]}
    ort_quantization.quantize_dynamic(_prepared(source), output, per_channel=True, **settings)


def _prepared(source: Path) -> Path:
    path = source.with_suffix(".prepared.onnx")
    if not path.exists():
        quant_pre_process(str(source), str(path))
    return path


def ours(passes: str) -> Quantizer:
    def run(source: Path, output: Path, samples: list[data.Sample]) -> None:
        stacked = {name: np.concatenate([s.feeds[name] for s in samples]) for name in samples[0].feeds}
        arrays = data.from_arrays(stacked, ir.load(source).signature.inputs)
        optimize(source, passes=passes, calibration=arrays, target="ort-cpu", latency=False).save(
            output, force=True
        )

    return run


def plant(source: Path, output: Path, seed: int = 0) -> Path:
    """Make a few channels of every LayerNormalization large, and what reads them small: no answer changes."""
    cleaned = output.with_suffix(".clean.onnx")
    optimize(source, passes="clean,fold-bn", latency=False).save(cleaned, force=True)
    model, count = ir.load(cleaned), 0
    random = np.random.default_rng(seed)
    for node in list(model.graph.find("LayerNormalization")):
        readers = [reader for reader in node.output.consumers if reader.op != "Shape"]
        if any(r.op != "MatMul" or r.inputs[1].constant is None for r in readers):
            continue
        factors = np.ones(node.inputs[1].constant.shape, np.float32)
        factors[random.choice(len(factors), PLANTED, replace=False)] = FACTOR
        count += 1
        model.graph.set_constant(node, 1, node.inputs[1].constant * factors)
        model.graph.set_constant(node, 2, node.inputs[2].constant * factors)
        for reader in readers:
            model.graph.set_constant(reader, 1, reader.inputs[1].constant / factors[:, None])
    if not count:
        raise click.ClickException(f"{source} has no LayerNormalization that matrices alone read")
    model.save(output, force=True)
    return output


def _draws(path: Path, count: int) -> Iterator[list[data.Sample]]:
    """Calibration samples that share none with each other."""
    port = ir.load(path).signature.inputs[0]
    images = _normalised("calibration")
    for number in range(count):
        part = images[number * CALIBRATION : (number + 1) * CALIBRATION]
        yield list(data.from_arrays({port.name: part}, [port]))


def _normalised(array: str) -> np.ndarray:
    return ((np.load(SAMPLES)[array].astype(np.float32) / 255.0) - 0.2860) / 0.3530


@click.command()
@click.option("--draws", default=1, show_default=True, help="Draws of calibration images.")
@click.option("--planted", is_flag=True, help="Plant channels forty times as large first.")
@click.option("--model", "names", multiple=True, default=NAMES, show_default=True, help="Samples.")
@click.option("--ours", "own_passes", multiple=True, default=("quant",), help="Passes of graphopt's rows.")
@click.option("--pattern", default="", help="Only the peers that have this in their name.")
@click.option("--timing/--no-timing", default=True, help="Time the files against the float one.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all figures to this file.")
def main(
    draws: int,
    planted: bool,
    names: Sequence[str],
    own_passes: Sequence[str],
    pattern: str,
    timing: bool,
    json_path: Path | None,
) -> None:
    """Quantize the samples with attention, 64 images a draw, and judge on 2,000 other images."""
    record = Record("quant attention", {"graphopt": own_version()}, {"planted": planted, "draws": draws})
    tools = {f"{OURS} {passes}": ours(passes) for passes in own_passes}
    tools |= {name: made for name, made in peers().items() if pattern in name}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder) / f"{name}.onnx"
            if planted:
                plant(MODELS / f"{name}.onnx", path)
            else:
                ir.load(MODELS / f"{name}.onnx").save(path)
            rows = _measure(path, tools, draws, timing)
            record.rows += rows
            record.goals += _goals(name, rows, planted)
    show_goals(record.goals)
    if json_path is not None:
        record.write(json_path)


def _measure(path: Path, tools: dict[str, Quantizer], draws: int, timing: bool) -> list[dict[str, Any]]:
    labels = np.load(SAMPLES)["labels"][:JUDGES]
    judge = Judge.of(path, _normalised("images")[:JUDGES], labels)
    rows: list[dict[str, Any]] = []
    for draw, samples in enumerate(_draws(path, draws)):
        for tool, quantize in tools.items():
            output = path.with_suffix(f".{len(rows)}.onnx")
            row: dict[str, Any] = {"model": path.stem, "tool": tool, "draw": draw}
            try:
                quantize(path, output, samples)
                row |= judge.figures(output)
                if timing:
                    row["latency"] = _latency(path, output, judge)
            except Exception as error:  # a peer's failure is a result too
                row["failure"] = f"{type(error).__name__}: {error}".splitlines()[0]
            rows.append(row)
            click.echo(json.dumps(row))
    click.echo(json.dumps({"model": path.stem, "tool": "float", "kernels": _kernels(path)}))
    columns = ("tool", "SQNR dB", "points lost", "agreement %", "latency of float's", "kernels")
    show(path.stem, columns, [_printed(rows, tool) for tool in tools])
    return rows


def _latency(path: Path, output: Path, judge: Judge) -> float:
    feeds = {judge.input: judge.images[:1]}
    return runtime.paired_latency(runtime.Session(path), runtime.Session(output), feeds).ratio


def _printed(rows: Sequence[dict[str, Any]], tool: str) -> list[str]:
    own = [row for row in rows if row["tool"] == tool]
    if failure := next((row["failure"] for row in own if "failure" in row), ""):
        return [tool, "-", "-", "-", "-", failure]
    figures = [_mean(own, key) for key in ("SQNR", "lost", "agreement", "latency")]
    shown = ["-" if value is None else f"{value:.2f}" for value in figures]
    return [tool, *shown, ", ".join(f"{name} {n}" for name, n in own[0]["kernels"].items())]


def _mean(rows: Sequence[dict[str, Any]], key: str) -> float | None:
    values = [row[key] for row in rows if key in row]
    return float(np.mean(values)) if values else None


def _goals(name: str, rows: Sequence[dict[str, Any]], planted: bool) -> list[Goal]:
    own = [row for row in rows if row["tool"] == rows[0]["tool"]]
    static = {row["tool"] for row in rows if row["tool"].startswith(STATIC)}
    levels = [_mean([row for row in rows if row["tool"] == tool], "SQNR") for tool in static]
    best = max((level for level in levels if level is not None), default=0.0)
    goals = [
        Goal(name, "points lost", _mean(own, "lost"), PLANTED_LOST if planted else LOST),
        Goal(name, "latency of float's", _mean(own, "latency"), 1.0),
    ]
    if planted:
        short = best + AHEAD - (_mean(own, "SQNR") or 0.0)
        goals.append(Goal(name, f"dB short of {AHEAD:g} above the best static setting", short, 0.0))
    return goals


if __name__ == "__main__":
    main()
