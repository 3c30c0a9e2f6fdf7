"""The networks that quantization is judged on: models, samples, draws, and what is measured of a result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graphopt import data, ir, optimize, runtime
from tools.bench.support.corpus import CIFAR, FACES, FASHION, IMAGENET

CALIBRATION = 64


@dataclass(frozen=True)
class Case:
    """A model with the pool that calibration samples are drawn from and the samples that judge.

    With one ``pool`` for both, what is drawn does not judge.
    """

    model: str
    preprocess: str
    pool: str
    judges: str = ""
    passes: str = "clean,fold-bn"
    at_most: int = 2000


CASES = (
    Case("efficientnet_lite0_bn", IMAGENET, "{data}/imagenet-dev"),
    Case("cifar_resnet20_bn", CIFAR, "{data}/cifar10_jpeg.tar#train", "{data}/cifar10_jpeg.tar#test"),
    Case(
        "fashion_mnv2_bn",
        FASHION,
        "{data}/fashion_mnist_test10k_calib2k.npz#x_calib",
        "{data}/fashion_mnist_test10k_calib2k.npz#x_test,y_test",
    ),
    Case("ulfd_rfb320", FACES, "{data}/imagenet-dev/images", passes="clean:freeze=true,fold-bn", at_most=500),
)
LITE0 = CASES[0]


@dataclass(frozen=True)
class Subject:
    """A float network ready to be quantized, in the scratch folder, with all its samples."""

    case: Case
    path: Path
    pool: list[data.Sample]
    judges: list[data.Sample] | None

    @classmethod
    def of(cls, case: Case, corpus: Path, scratch: Path) -> Subject:
        """Fold the network and read the samples."""
        path = scratch / f"{case.model}.float.onnx"
        source = corpus / "models" / f"{case.model}.onnx"
        optimize(source, passes=case.passes).save(path, force=True)
        ports = ir.load(path).signature.inputs
        recipe = data.parse_preprocess(case.preprocess)

        def read(spec: str) -> list[data.Sample]:
            return list(data.load(spec.format(data=corpus / "data"), ports, recipe))

        return cls(case, path, read(case.pool), read(case.judges) if case.judges else None)

    def draws(self, count: int) -> Iterator[tuple[list[data.Sample], list[data.Sample]]]:
        """Calibration and judging samples of each draw."""
        for seed in range(count):
            order = np.random.default_rng(seed).permutation(len(self.pool))
            drawn = [self.pool[index] for index in order[:CALIBRATION]]
            rest = self.judges or [self.pool[index] for index in order[CALIBRATION:]]
            yield drawn, rest[: self.case.at_most]


def image_of(sample: data.Sample) -> str:
    """What tells an image from the others of its data, in every draw."""
    return str(sample.rows[0])


def stacked(samples: list[data.Sample]) -> dict[str, np.ndarray]:
    """The feeds of samples as one array for each input."""
    return {name: np.concatenate([s.feeds[name] for s in samples]) for name in samples[0].feeds}


class Reference:
    """The outputs of the float network; a sample that judges many times runs once."""

    def __init__(self, path: Path) -> None:
        self._session = runtime.Session(path)
        self._known: dict[str, dict[str, np.ndarray]] = {}

    def run(self, sample: data.Sample) -> dict[str, np.ndarray]:
        """The outputs of one sample."""
        if image_of(sample) not in self._known:
            self._known[image_of(sample)] = self._session.run(sample.feeds)
        return self._known[image_of(sample)]


def judged(
    reference: Reference, candidate: Path | bytes, samples: list[data.Sample], **options: Any
) -> dict[str, Any]:
    """SNR of every output in dB, and of a classifier agreement and points of top-1 lost, in percent.

    The mean over classes is taken off scores, since adding a constant to all changes no answer.
    """
    session = runtime.Session(candidate, **options)
    power: dict[str, float] = {}
    noise: dict[str, float] = {}
    same: dict[str, int] = {}
    change: dict[str, int] = {}
    for sample in samples:
        wanted, found = reference.run(sample), session.run(sample.feeds)
        scores = runtime.classifier_output(wanted)
        for name, value in wanted.items():
            exact, given = value.astype(np.float64), found[name].astype(np.float64)
            if name == scores:
                exact, given = exact - exact.mean(), given - given.mean()
            power[name] = power.get(name, 0.0) + float(np.square(exact).sum())
            noise[name] = noise.get(name, 0.0) + float(np.square(given - exact).sum())
        if scores is not None:
            answers = int(wanted[scores].argmax()), int(found[scores].argmax())
            same[image_of(sample)] = int(answers[0] == answers[1])
            change[image_of(sample)] = int(answers[0] == sample.label) - int(answers[1] == sample.label)
    row: dict[str, Any] = {"snr": {n: 10 * np.log10(power[n] / max(noise[n], 1e-30)) for n in power}}
    if scores is not None:
        row |= {"same": same, "agreement": 100 * float(np.mean(list(same.values())))}
        if samples[0].label is not None:
            row |= {"change": change, "lost": 100 * float(np.mean(list(change.values())))}
    return row
