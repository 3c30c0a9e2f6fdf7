"""Fashion-MNIST as it lies on disk, and the samples that travel with the repository."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MEAN = 0.2860
STD = 0.3530
PREPROCESS = f"scale={1 / 255!r};mean={MEAN:.4f};std={STD:.4f}"
CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Split:
    """Images of shape (N, 1, 28, 28) and their labels (N,), both uint8."""

    images: Bytes
    labels: Bytes


def read_split(folder: Path, name: str) -> Split:
    """Read `train` or `t10k` from the gzipped IDX files in `folder`."""
    images = _read_idx(folder / f"{name}-images-idx3-ubyte.gz")
    labels = _read_idx(folder / f"{name}-labels-idx1-ubyte.gz")
    return Split(images[:, np.newaxis], labels)


def normalise(images: Bytes) -> NDArray[np.float32]:
    """What `PREPROCESS` says, in float32: the input that every sample model expects."""
    scaled = images.astype(np.float32) / np.float32(255)
    normalised: NDArray[np.float32] = (scaled - np.float32(MEAN)) / np.float32(STD)
    return normalised


def write_samples(
    path: Path, train: Split, test: Split, *, calibration: int, evaluation: int, seed: int
) -> None:
    """Write unlabelled training images to calibrate on and labelled test images to evaluate on.

    The first `evaluation` test images are taken in their published order, which is already mixed; the
    training images are drawn without replacement. An image whose bytes occur on both sides is refused.
    """
    drawn = np.random.default_rng(seed).choice(len(train.images), calibration, replace=False)
    unlabelled = train.images[np.sort(drawn)]
    images, labels = test.images[:evaluation], test.labels[:evaluation]
    shared = {image.tobytes() for image in unlabelled} & {image.tobytes() for image in images}
    if shared:
        raise ValueError(f"{len(shared)} images are in both parts of {path}: choose another --seed")
    np.savez_compressed(path, calibration=unlabelled, images=images, labels=labels)


def _read_idx(path: Path) -> Bytes:
    """The IDX format: two zero bytes, a type code (8 is uint8), the rank, big-endian sizes, the values."""
    with gzip.open(path) as file:
        content = file.read()
    if content[:3] != b"\0\0\x08":
        raise ValueError(f"{path} is not an IDX file of bytes")
    rank = content[3]
    shape = np.frombuffer(content, ">u4", rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
