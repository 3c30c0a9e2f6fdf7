"""Real labelled data and real models: the float accuracies that come with the corpus are reproduced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from graphopt.data import Samples, load, parse_preprocess, shared
from graphopt.ir import Port

LITE = "size=224;interpolation=bicubic;mean=127;std=128"
CIFAR = "scale=1/255;mean=.485,.456,.406;std=.229,.224,.225"
FASHION = "scale=0.003921568627;mean=0.2860;std=0.3530"


def samples_for(folder: Path, data: str, text: str, *shape: int) -> Samples:
    port = Port("input", np.dtype("float32"), ("N", *shape))
    return load(f"{folder}/data/{data}", [port], parse_preprocess(text))


def top1(folder: Path, model: str, samples: Samples) -> float:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(folder / "models" / f"{model}.onnx", options)
    right = sum(int((session.run(None, b.feeds)[0].argmax(1) == b.labels).sum()) for b in samples.batches(32))
    return right / len(samples)


def test_imagenet_part(corpus: Path) -> None:
    part = samples_for(corpus, "imagenet-dev::64", LITE, 3, 224, 224)
    assert len(part) == 64 and part.labelled and part.warnings == ()
    assert top1(corpus, "efficientnet_lite0_bn", part) > 0.8
    assert shared(part, samples_for(corpus, "imagenet-dev::64:", LITE, 3, 224, 224)) == 0


@pytest.mark.slow
def test_imagenet_whole(corpus: Path) -> None:
    whole = samples_for(corpus, "imagenet-dev", LITE, 3, 224, 224)
    assert len(whole) == 1000
    assert top1(corpus, "efficientnet_lite0_bn", whole) >= 0.915


def test_cifar_part(corpus: Path) -> None:
    part = samples_for(corpus, "cifar10_jpeg.tar#test::400", CIFAR, 3, 32, 32)
    assert {s.label for s in part} == set(range(10))
    assert top1(corpus, "cifar_resnet20_bn", part) > 0.75


@pytest.mark.slow
def test_cifar_whole(corpus: Path) -> None:
    whole = samples_for(corpus, "cifar10_jpeg.tar#test", CIFAR, 3, 32, 32)
    assert len(whole) == 5000
    assert abs(top1(corpus, "cifar_resnet20_bn", whole) - 0.8102) < 0.001
    assert len(samples_for(corpus, "cifar10_jpeg.tar", CIFAR, 3, 32, 32)) == 7000


@pytest.mark.parametrize(
    ("model", "accuracy"), [("fashion_resnet14_bn", 0.9118), ("fashion_mnv2_bn", 0.9095)]
)
def test_fashion(corpus: Path, model: str, accuracy: float) -> None:
    name = "fashion_mnist_test10k_calib2k.npz"
    test = samples_for(corpus, f"{name}#x_test,y_test", FASHION, 1, 28, 28)
    assert len(test) == 10_000
    assert abs(top1(corpus, model, test) - accuracy) < 0.001
    assert shared(samples_for(corpus, f"{name}#x_calib,y_calib", FASHION, 1, 28, 28), test) == 0
