"""What low rank costs the accuracy of real models, over several draws of calibration samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import graphopt
from graphopt import cost, data, ir
from graphopt.runtime import Session as Runtime
from tools.bench.support.corpus import CIFAR, FASHION, IMAGENET
from tools.bench.support.tables import console

BATCH = 50


@dataclass(frozen=True)
class Case:
    """One model, what to do with it, and how many points of top-1 that may cost; None: shown, not judged.

    ``baseline`` marks plain singular value decomposition of the weights: no calibration samples.
    """

    model: str
    passes: str
    limit: float | None
    samples: int = 512
    baseline: bool = False


CASES = (
    Case("cifar_resnet20_bn", "lowrank:macs=0.7:round_to=1", 1.3),
    Case("cifar_resnet20_bn", "lowrank:macs=0.5:round_to=1", 3.2),
    Case("cifar_resnet20_bn", "lowrank:macs=0.7", None),
    Case("cifar_resnet20_bn", "lowrank:macs=0.5", None),
    Case("cifar_resnet20_bn", "lowrank:macs=0.7:round_to=1", None, baseline=True),
    Case("cifar_resnet20_bn", "lowrank:macs=0.5:round_to=1", None, baseline=True),
    Case("fashion_resnet14_bn", "lowrank:macs=0.6", 1.0),
    Case("fashion_resnet14_bn", "lowrank:macs=0.6", None, baseline=True),
    Case("efficientnet_lite0_bn", "lowrank", 1.0, samples=256),
    Case("efficientnet_lite0_bn", "lowrank:macs=0.84", None, samples=256),
    Case("efficientnet_lite0_bn", "prune:macs=0.9,lowrank:macs=0.85:shared=true", None, samples=256),
)


@dataclass(frozen=True)
class Judge:
    """A model's data: samples to calibrate with, and evaluation samples with the original's answers."""

    source: Path
    calibration: data.Samples
    evaluation: data.Samples
    right: np.ndarray  # (samples,) bool

    @classmethod
    def of(cls, corpus: Path, name: str) -> Judge:
        """Load what belongs to a model of the corpus."""
        return cls.on(corpus / "models" / f"{name}.onnx", corpus, name)

    @classmethod
    def on(cls, source: Path, corpus: Path, name: str) -> Judge:
        """Load the data of the corpus that belongs to models of this name, for any file."""
        calibration, evaluation, recipe = _data(corpus, name)
        ports, preprocess = ir.load(source).signature.inputs, data.parse_preprocess(recipe)
        judged = data.load(evaluation, ports, preprocess)
        right = _right(ir.load(source), judged)
        return cls(source, data.load(calibration, ports, preprocess), judged, right)

    def draws(self, size: int, count: int) -> Iterator[data.Samples]:
        """Yield samples to calibrate with; draws overlap where there are too few for ``count`` apart."""
        room = max(len(self.calibration) - size, 0)
        for draw in range(count):
            yield self.calibration.skip(room * draw // max(count - 1, 1)).take(size)


def run(judge: Judge, case: Case, draws: int) -> dict[str, Any]:
    """Carry out one case for each draw; points lost, their paired 95 % interval, and the MACs left."""
    first = next(iter(judge.evaluation)).feeds
    shapes = {name: value.shape for name, value in first.items()}
    before = cost.measure(ir.load(judge.source), shapes)
    lost, left = [], []
    for samples in judge.draws(case.samples, 1 if case.baseline else draws):
        given = None if case.baseline else samples
        result = graphopt.optimize(
            judge.source, case.passes, calibration=given, verify="structure", latency=False
        )
        after = cost.measure(result.model, shapes)
        left.append((after.macs or 0) / (before.macs or 1))
        lost.append(judge.right.astype(float) - _right(result.model, judge.evaluation))
    by_sample = np.mean(lost, axis=0)
    interval = 196.0 * np.sqrt(by_sample.var() / by_sample.size + _between([one.mean() for one in lost]))
    row = {
        "model": case.model,
        "passes": case.passes + (" (weights alone)" if case.baseline else ""),
        "draws": len(lost),
        "macs_left": float(np.mean(left)),
        "top1_before": float(judge.right.mean()),
        "lost": 100.0 * float(by_sample.mean()),
        "interval": float(interval),
    }
    console().print(f"{row['model']} {row['passes']}: {row['lost']:.2f} points at {row['macs_left']:.3f}")
    return row


def _between(means: list[float]) -> float:
    """Variance of the mean over draws."""
    return float(np.var(means, ddof=1) / len(means)) if len(means) > 1 else 0.0


def _right(model: ir.Model, samples: data.Samples) -> np.ndarray:
    session = Runtime(model)
    size = BATCH if _takes_batches(model) else 1
    found = []
    for batch in samples.batches(size):
        scores = next(iter(session.run(batch.feeds).values()))
        found.append(scores.reshape(len(scores), -1).argmax(axis=1) == batch.labels)
    return np.concatenate(found)


def _takes_batches(model: ir.Model) -> bool:
    shape = model.signature.inputs[0].shape
    return shape is not None and not isinstance(shape[0], int)


def _data(corpus: Path, name: str) -> tuple[str, str, str]:
    folder = corpus / "data"
    if name.startswith("cifar"):
        archive = f"{folder}/cifar10_jpeg.tar"
        return f"{archive}#train", f"{archive}#test", CIFAR
    if name.startswith("fashion"):
        samples = f"{folder}/fashion_mnist_test10k_calib2k.npz"
        return f"{samples}#x_calib", f"{samples}#x_test,y_test", FASHION
    photos = f"{folder}/imagenet-dev"
    return f"{photos}::500", f"{photos}::500:", IMAGENET
