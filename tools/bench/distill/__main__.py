"""``python -m tools.bench.distill``: what distillation wins back, how fast it trains, what its trainer costs.

Accuracy is top-1 on the test images of Fashion-MNIST.  Speed is images a second within training steps, of the
same graph and loss in onnxruntime-training and in PyTorch, one thread each, interleaved, the best of several;
seconds are CPU seconds.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np

import graphopt
from graphopt import data, ir
from graphopt.passes.distill import Distill
from graphopt.passes.distill.backends.base import open_backend
from graphopt.passes.distill.job.run import Distillation, Outcome
from graphopt.passes.distill.trainer.environment import install, remove
from graphopt.pipeline.contract.context import Context, RunSettings
from graphopt.pipeline.run.inputs import Inputs
from tools.bench.distill.real import REAL, train_real
from tools.bench.distill.students import four_bit_weights
from tools.bench.support.tables import Goal, Record, own_version, show, show_goals
from tools.make_models_parts.fashion import PREPROCESS, read_split

CHECKOUT = Path(__file__).resolve().parents[3]
CORPUS = CHECKOUT.parent / "shared" / "corpus"
FASHION = Path("/usr/share/datasets/fashion-mnist")
IMAGES, EPOCHS = 6000, 3
SECTIONS = ("prune", "repair", "depthwise", "w4a8", "real", "speed", "speed-depthwise", "install", "same")


class Bench:
    """Samples, folders and rows of one run."""

    def __init__(self, work: Path, corpus: Path, fashion: Path, draws: int, runs: int) -> None:
        self.work, self.corpus, self.draws, self.runs = work, corpus, draws, runs
        self.rows: list[dict[str, Any]] = []
        self.goals: list[Goal] = []
        self._train, test = read_split(fashion, "train"), read_split(fashion, "t10k")
        self.test = work / "test.npz"
        np.savez(self.test, images=test.images, labels=test.labels)

    def images(self, draw: int) -> Path:
        """Unlabelled training images, drawn by ``draw``."""
        path = self.work / f"train-{draw}.npz"
        if not path.exists():
            chosen = np.random.default_rng(draw).choice(len(self._train.images), IMAGES, replace=False)
            np.savez(path, images=self._train.images[np.sort(chosen)])
        return path

    def optimize(self, model: Path, passes: str, out: str, draw: int) -> dict[str, Any]:
        """Run passes with test images for evaluation; the report."""
        result = graphopt.optimize(
            model,
            passes,
            output=self.work / out,
            calibration=str(self.images(draw)),
            evaluation=str(self.test),
            preprocess=PREPROCESS,
            latency=False,
            threads=1,
            seed=draw,
            force=True,
        )
        return dict(result.report.to_json())

    def tuned(self, teacher: Path, student: Path, options: str, draw: int) -> dict[str, Any]:
        """Distill a student; the report."""
        spec = f'distill:teacher="{teacher}"{options}'
        return self.optimize(student, spec, f"{student.stem}.tuned.onnx", draw)

    def add(self, section: str, what: str, **figures: Any) -> None:
        """Keep one row and say it."""
        self.rows.append({"section": section, "what": what, **figures})
        click.echo(json.dumps(self.rows[-1]))


def top1(report: dict[str, Any], when: str) -> float:
    """Top-1 in percent."""
    return 100 * float(report[when]["metrics"]["top1"])


def recovered(bench: Bench, section: str, model: Path, prune: str, options: str, limit: float) -> None:
    """Prune, then distill; the points still missing, or with ``limit`` above 1 the share won back."""
    missing, shares = [], []
    for draw in range(bench.draws):
        pruned = bench.optimize(model, prune, f"{section}.onnx", draw)
        tuned = bench.tuned(model, bench.work / f"{section}.onnx", options, draw)
        teacher, before, after = top1(pruned, "before"), top1(pruned, "after"), top1(tuned, "after")
        missing.append(teacher - after)
        shares.append((after - before) / (teacher - before) if teacher > before else 1.0)
        bench.add(section, f"draw {draw}", teacher=teacher, pruned=before, distilled=after)
    if section == "prune":
        bench.goals.append(
            Goal(section, "share of the lost points not won back", 1 - float(np.mean(shares)), limit)
        )
    else:
        bench.goals.append(Goal(section, "points below the teacher", float(np.mean(missing)), limit))


def quantized(bench: Bench, model: Path) -> None:
    """Weights in 4 bits, activations in 8: what training behind the rounding wins back."""
    shares = []
    for draw in range(bench.draws):
        stored = bench.optimize(model, "clean,fold-bn,quant", "w8a8.onnx", draw)
        student = ir.load(bench.work / "w8a8.onnx")
        four_bit_weights(student)
        student.save(bench.work / "w4a8.onnx", force=True)
        tuned = bench.tuned(model, bench.work / "w4a8.onnx", "", draw)
        teacher, before, after = top1(stored, "before"), top1(tuned, "before"), top1(tuned, "after")
        shares.append((after - before) / (teacher - before) if teacher > before else 1.0)
        bench.add("w4a8", f"draw {draw}", teacher=teacher, quantized=before, distilled=after)
    bench.goals.append(Goal("w4a8", "share of the loss not won back", 1 - float(np.mean(shares)), 0.3))


def real_graphs(bench: Bench) -> None:
    """Real graphs with noisy weights on synthetic images: steps run, the loss falls, write-back is exact."""
    for name in REAL:
        found = train_real(bench.corpus / "models" / f"{name}.onnx", *REAL[name])
        bench.add("real", name, **found)
        bench.goals.append(Goal(name, "loss after over before", found["after"] / found["before"], 0.999))
        bench.goals.append(Goal(name, "difference of the write-back", found["write_back"], 0.0))


def speed(bench: Bench, model: Path, teacher: Path, torch_python: Path | None) -> None:
    """The same job in both trainers, by turns."""
    if torch_python is None:
        click.echo("speed: no --torch, left out")
        return
    os.environ["GRAPHOPT_TORCH"] = str(torch_python)
    best: dict[str, float] = {}
    memory: dict[str, float] = {}
    for _ in range(bench.runs):
        for backend in ("ort", "torch"):
            details = _train(bench, model, teacher, Distill(epochs=1, backend=backend)).tuned.details
            best[backend] = max(best.get(backend, 0.0), details["images_per_cpu_second"])
            memory[backend] = min(memory.get(backend, np.inf), details["peak_bytes"] / 1e6)
    bench.add("speed", model.stem, images_per_cpu_second=best, peak_mb=memory)
    slower = best["torch"] / best["ort"]
    bench.goals.append(Goal(model.stem, "torch over ort, images a CPU second", slower, 1.0))
    bench.goals.append(Goal(model.stem, "ort over torch, peak memory", memory["ort"] / memory["torch"], 1.0))


def _train(bench: Bench, student: Path, teacher_path: Path, options: Distill, draw: int = 0) -> Outcome:
    """One distillation, without report."""
    teacher, model = ir.load(teacher_path), ir.load(student)
    samples = data.load(
        str(bench.images(draw)), model.signature.inputs, data.parse_preprocess(PREPROCESS)
    ).take(2000)
    ctx = Context(Inputs(model, calibration=samples), RunSettings())
    request = options.request(model, ctx)
    return Distillation(model, teacher, request, open_backend(options.backend), ctx).run(samples)


def installing(bench: Bench) -> None:
    """Seconds and size of the trainer's environment."""
    start = time.monotonic()
    path = bench.work / "trainer"
    found = install(path)
    seconds = time.monotonic() - start
    remove(path)
    bench.add("install", "trainer", seconds=seconds, mb=found.bytes / 1e6)
    bench.goals += [
        Goal("install", "seconds", seconds, 30.0),
        Goal("install", "MB", found.bytes / 1e6, 200.0),
    ]


def same_twice(bench: Bench, student: Path, teacher: Path) -> None:
    """The same seed twice: the largest difference of any weight."""
    first, second = (_train(bench, student, teacher, Distill(epochs=1)).tuned.values for _ in range(2))
    difference = max(float(np.abs(first[name] - second[name]).max()) for name in first)
    bench.add("same", "two runs", difference=difference)
    bench.goals.append(Goal("same", "difference of two runs", difference, 0.0))


@click.command()
@click.option("--section", "chosen", multiple=True, type=click.Choice(SECTIONS), help="Only these parts.")
@click.option("--draws", default=5, show_default=True, help="Draws of training images.")
@click.option("--runs", default=3, show_default=True, help="Runs of each trainer; the best counts.")
@click.option("--torch", "torch_python", type=click.Path(path_type=Path), help="A Python that has PyTorch.")
@click.option("--corpus", type=click.Path(path_type=Path), default=CORPUS, show_default=True)
@click.option("--fashion", type=click.Path(path_type=Path), default=FASHION, show_default=True)
@click.option(
    "--student", type=click.Path(path_type=Path), help="A student of the sample model for speed and same."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Write all figures to this file.")
def main(
    chosen: tuple[str, ...],
    draws: int,
    runs: int,
    torch_python: Path | None,
    corpus: Path,
    fashion: Path,
    student: Path | None,
    json_path: Path | None,
) -> None:
    """Measure distillation.  The exit code is 1 when a goal was missed."""
    with _work() as work:
        bench = Bench(work, corpus, fashion, draws, runs)
        parts = _parts(bench, student, torch_python)
        for name in chosen or SECTIONS:
            parts[name]()
    record = Record("distill", {"graphopt": own_version()}, {"draws": draws}, bench.rows, bench.goals)
    show("distill", ("part", "what", "figures"), [_row(row) for row in bench.rows])
    show_goals(bench.goals)
    if json_path:
        record.write(json_path)
    if not record.met:
        raise SystemExit(1)


def _parts(bench: Bench, student: Path | None, torch_python: Path | None) -> dict[str, Callable[[], None]]:
    """What each section measures, and its limit."""
    residual = CHECKOUT / "models" / "fashion_residual.onnx"
    depthwise = bench.corpus / "models" / "fashion_mnv2_bn.onnx"
    student = student or residual
    return {
        "prune": lambda: recovered(bench, "prune", residual, "prune:macs=0.5:repair=false", "", 0.1),
        "repair": lambda: recovered(bench, "repair", residual, "prune:macs=0.5", ":lr=5e-4", 1.0),
        "depthwise": lambda: recovered(bench, "depthwise", depthwise, "prune:macs=0.6", ":lr=5e-4", 1.5),
        "w4a8": lambda: quantized(bench, residual),
        "real": lambda: real_graphs(bench),
        "speed": lambda: speed(bench, student, residual, torch_python),
        "speed-depthwise": lambda: speed(bench, depthwise, depthwise, torch_python),
        "install": lambda: installing(bench),
        "same": lambda: same_twice(bench, student, residual),
    }


def _row(row: dict[str, Any]) -> tuple[str, str, str]:
    figures = {key: value for key, value in row.items() if key not in ("section", "what")}
    return row["section"], row["what"], ", ".join(f"{key} {_short(value)}" for key, value in figures.items())


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return " / ".join(f"{key} {_short(item)}" for key, item in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@contextmanager
def _work() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="graphopt-bench-") as folder:
        yield Path(folder)


if __name__ == "__main__":
    main(prog_name="python -m tools.bench.distill")
