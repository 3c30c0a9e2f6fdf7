"""Changes of images that the teacher sees as well: mirrored, shifted, mixed with one another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphopt.data.ports import IMAGE_CHANNELS
from graphopt.errors import UsageError

# theory: of the side: how far crop moves an image at most; 4 of 32 pixels in K. He et al., 2016
SHIFT = 1 / 8
MIX = 0.2  # theory: both parameters of the beta distribution of mixup (H. Zhang et al., 2018)


def check_images(shapes: Sequence[Sequence[int]], augment: Sequence[str]) -> None:
    """Raise UsageError unless there is one input and it looks like images, (N, C, H, W) or (N, H, W, C)."""
    if augment and (len(shapes) != 1 or _sides(shapes[0]) is None):
        raise UsageError(
            f"distill: augment={'|'.join(augment)} needs one input of images, and the model has "
            f"{' and '.join('x'.join(map(str, shape[1:])) for shape in shapes)}"
        )


def augmented(
    inputs: Sequence[np.ndarray], labels: np.ndarray | None, augment: Sequence[str], rng: np.random.Generator
) -> tuple[list[np.ndarray], np.ndarray | None]:
    """One batch, changed; ``labels`` are probabilities and are mixed as the images are."""
    if not augment:
        return list(inputs), labels
    (images,) = inputs
    sides = _sides(images.shape)
    assert sides is not None
    if "flip" in augment:
        images = _flipped(images, sides[1], rng)
    if "crop" in augment:
        images = _shifted(images, sides, rng)
    if "mixup" in augment:
        images, labels = _mixed(images, labels, rng)
    return [np.ascontiguousarray(images)], labels


def _sides(shape: Sequence[int]) -> tuple[int, int] | None:
    """The axes of height and width."""
    if len(shape) != 4:
        return None
    if shape[1] in IMAGE_CHANNELS or shape[3] not in IMAGE_CHANNELS:
        return 2, 3
    return 1, 2


def _flipped(images: np.ndarray, width: int, rng: np.random.Generator) -> np.ndarray:
    chosen = rng.random(len(images)) < 0.5
    made = images.copy()
    made[chosen] = np.flip(images[chosen], axis=width)
    return made


def _shifted(images: np.ndarray, sides: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Each image moved by up to ``SHIFT`` of its sides; its border is repeated."""
    height, width = images.shape[sides[0]], images.shape[sides[1]]
    reach = (max(1, round(height * SHIFT)), max(1, round(width * SHIFT)))
    pads = [(0, 0)] * images.ndim
    pads[sides[0]], pads[sides[1]] = (reach[0], reach[0]), (reach[1], reach[1])
    wide = np.pad(images, pads, mode="edge")
    made = np.empty_like(images)
    for number in range(len(images)):
        top, left = (int(rng.integers(0, 2 * r + 1)) for r in reach)
        view = np.moveaxis(wide[number], (sides[0] - 1, sides[1] - 1), (0, 1))
        window = view[top : top + height, left : left + width]
        made[number] = np.moveaxis(window, (0, 1), (sides[0] - 1, sides[1] - 1))
    return made


def _mixed(
    images: np.ndarray, labels: np.ndarray | None, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    share = rng.beta(MIX, MIX, len(images)).astype(np.float32)
    other = rng.permutation(len(images))
    wide = share.reshape(-1, *(1,) * (images.ndim - 1))
    mixed = wide * images + (1 - wide) * images[other]
    if labels is not None:
        labels = share[:, None] * labels + (1 - share[:, None]) * labels[other]
    return mixed.astype(images.dtype), labels
