"""One budget over all passes: the front against a grid of hand-written specs, and whether its promise holds.

    python -m tools.bench.explore --corpus DIR --part front|grid|promise [--model NAME...] [--images 256]

``front`` explores a model and prints the points with what it took. ``grid`` runs 40 specs written by hand
beside it and compares the least latency at 0.5, 1, 2 and 4 points lost. ``promise`` optimizes with
``--max-drop 1`` on drawn images and counts how often more than a point is lost on others. One thread.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

import graphopt
from graphopt import data, ir
from graphopt.data import Samples
from graphopt.record.front import Front
from tools.bench.support.corpus import CIFAR, FASHION, IMAGENET

PASSES = "prune,quant"
LEVELS = (0.5, 1.0, 2.0, 4.0)  # points lost
JUDGES = 2000  # images that judge, at most
PRUNED = ("", "prune:macs=0.9,", "prune:macs=0.75,", "prune:macs=0.6,", "prune:macs=0.5,")
SPLIT = ("", "lowrank:macs=0.8,")
STORED = ("", "quant", "quant:keep_noisy_float=false", "quant:calibrator=mse")


@dataclass(frozen=True)
class Subject:
    """A model, the pool that calibration images are drawn from, and the images that judge."""

    name: str
    preprocess: str
    pool: str
    judges: str = ""  # without, what is not drawn from the pool judges


_CLOTHES = "fashion_mnist_test10k_calib2k.npz"
SUBJECTS = (
    Subject("cifar_resnet20_bn", CIFAR, "cifar10_jpeg.tar#train", "cifar10_jpeg.tar#test"),
    Subject("fashion_resnet14_bn", FASHION, f"{_CLOTHES}#x_calib", f"{_CLOTHES}#x_test,y_test"),
    Subject("fashion_mnv2_bn", FASHION, f"{_CLOTHES}#x_calib", f"{_CLOTHES}#x_test,y_test"),
    Subject("efficientnet_lite0_bn", IMAGENET, "imagenet-dev"),
)


@dataclass(frozen=True)
class Draw:
    """A model with the images of one draw."""

    model: Path
    calibration: Samples
    evaluation: Samples

    @classmethod
    def of(cls, subject: Subject, corpus: Path, seed: int, count: int) -> Draw:
        """Draw ``count`` images; those that judge are others."""
        model = corpus / "models" / f"{subject.name}.onnx"
        ports, recipe = ir.load(model).signature.inputs, data.parse_preprocess(subject.preprocess)
        pool = data.load(str(corpus / "data" / subject.pool), ports, recipe)
        order = np.random.default_rng(seed).permutation(pool.rows)
        rest = dataclasses.replace(pool, rows=order[count:])
        judges = data.load(str(corpus / "data" / subject.judges), ports, recipe) if subject.judges else rest
        return cls(model, dataclasses.replace(pool, rows=order[:count]), judges.take(JUDGES))

    def optimize(self, passes: str, **flags: Any) -> dict[str, float]:
        """What a run comes to: points lost, latency and bytes left, CPU seconds."""
        start = time.process_time()
        record = graphopt.optimize(
            self.model,
            passes,
            calibration=self.calibration,
            evaluation=self.evaluation,
            threads=1,
            **flags,
        ).report
        change = next(iter(record.paired.values()), None)
        return {
            "lost": 0.0 if change is None else -100 * change.difference,
            "latency": record.speed.get("ratio", 1.0),
            "bytes": record.after.bytes / record.before.bytes,
            "macs": (record.after.macs or 0) / (record.before.macs or 1),
            "cpu": time.process_time() - start,
        }

    def explore(self, points: int, output: Path | None) -> tuple[Front, float]:
        """The front, and the CPU seconds that it took."""
        start = time.process_time()
        front = graphopt.explore(
            self.model,
            PASSES,
            calibration=self.calibration,
            evaluation=self.evaluation,
            threads=1,
            points=points,
            output=output,
            force=True,
        )
        return front, time.process_time() - start


def front_part(subject: Subject, corpus: Path, images: int, draws: int) -> Iterator[dict[str, Any]]:
    """The points of a front and what they took."""
    from graphopt.report.terminal.front import print_front

    for seed in range(draws):
        front, cpu = Draw.of(subject, corpus, seed, images).explore(8, None)
        print_front(front)
        yield {
            "part": "front",
            "model": subject.name,
            "seed": seed,
            "cpu": cpu,
            "points": _points(front),
            "best": len(front.best),
        }


def grid_part(subject: Subject, corpus: Path, images: int, draws: int) -> Iterator[dict[str, Any]]:
    """The least latency at each level: of the front, and of specs written by hand."""
    for seed in range(draws):
        draw = Draw.of(subject, corpus, seed, images)
        front, cpu = draw.explore(8, None)
        specs = [f"{a}{b}{c}".rstrip(",") for a in PRUNED for b in SPLIT for c in STORED]
        runs = [draw.optimize(spec or "clean,fold-bn") for spec in specs]
        ours, theirs = _points(front), [(run["latency"], run["lost"]) for run in runs]
        yield {
            "part": "grid",
            "model": subject.name,
            "seed": seed,
            "cpu": cpu,
            "grid_cpu": sum(run["cpu"] for run in runs),
            "levels": {level: (_least(ours, level), _least(theirs, level)) for level in LEVELS},
            "points": ours,
            "grid": dict(zip(specs, runs, strict=True)),
        }


def promise_part(subject: Subject, corpus: Path, images: int, draws: int) -> Iterator[dict[str, Any]]:
    """What is lost on other images where a point may be."""
    for seed in range(draws):
        for count in (64, images):
            run = Draw.of(subject, corpus, seed, count).optimize(PASSES, max_drop=1.0)
            yield {"part": "promise", "model": subject.name, "seed": seed, "images": count, **run}


PARTS: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
    "front": front_part,
    "grid": grid_part,
    "promise": promise_part,
}


def _points(front: Front) -> list[tuple[float, float]]:
    return [(point.costs[0], point.quality) for point in front.points]


def _least(points: list[tuple[float, float]], level: float) -> float:
    return min((latency for latency, lost in points if lost <= level), default=1.0)


@click.command()
@click.option("--corpus", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--part", "parts", type=click.Choice([*PARTS]), multiple=True, required=True)
@click.option("--model", "models", multiple=True, help="Only these. [default: all]")
@click.option("--images", default=256, show_default=True, help="Calibration images.")
@click.option("--draws", default=1, show_default=True)
@click.option("--json", "output", type=click.Path(path_type=Path), help="Add a line for each row here.")
def main(
    corpus: Path,
    parts: tuple[str, ...],
    models: tuple[str, ...],
    images: int,
    draws: int,
    output: Path | None,
) -> None:
    """Measure what one budget over all passes comes to."""
    for subject in SUBJECTS:
        if models and subject.name not in models:
            continue
        for part in parts:
            for row in PARTS[part](subject, corpus, images, draws):
                click.echo(json.dumps({k: v for k, v in row.items() if k not in ("grid", "points")}))
                if output is not None:
                    with output.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
