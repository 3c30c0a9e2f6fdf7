"""Seeded inputs for any model with image-like inputs, at sizes that the model accepts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors
from PIL import Image, ImageDraw, ImageFont

Feed = dict[str, np.ndarray]

IMAGE_SIZES = ((224, 224), (320, 320), (640, 640), (48, 192))
LETTERS = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ")
REFUSALS = (runtime_errors.Fail, runtime_errors.InvalidArgument, runtime_errors.RuntimeException)
DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


def feeds(session: onnxruntime.InferenceSession, seed: int = 0) -> list[Feed]:
    """Noise, positive noise and a page of text for the first of some usual sizes that the model runs at.

    The page matters: a detector answers next to nothing to noise, and a relative difference of next to
    nothing says little.
    """
    for size in IMAGE_SIZES:
        candidates = list(_feeds(session, size, np.random.default_rng(seed)))
        if _runs(session, candidates[0]):
            return candidates
    raise ValueError(f"the model runs at none of the sizes {IMAGE_SIZES}; give a model with image inputs")


def _feeds(
    session: onnxruntime.InferenceSession, size: tuple[int, int], rng: np.random.Generator
) -> Iterator[Feed]:
    for draw in (_noise, _positive, _page):
        yield {
            port.name: draw(_shape(port.shape, size), rng).astype(DTYPES[port.type])
            for port in session.get_inputs()
        }


def _runs(session: onnxruntime.InferenceSession, feed: Feed) -> bool:
    """Whether the model accepts this feed; a refusal by the runtime is the answer no."""
    try:
        session.run(None, feed)
    except REFUSALS:
        return False
    return True


def _shape(declared: list[int | str | None], size: tuple[int, int]) -> tuple[int, ...]:
    """Fill what the model leaves open: batch 1, height and width from ``size``, 3 channels."""
    open_sizes = (1, 3, *size)
    return tuple(
        dim if isinstance(dim, int) and dim > 0 else (open_sizes[axis] if axis < 4 else 1)
        for axis, dim in enumerate(declared)
    )


def _noise(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(shape)


def _positive(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    return rng.random(shape)


def _page(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Dark lines of random letters on white, in -1..1, repeated over batch and channels (N, C, H, W)."""
    if len(shape) != 4:
        return _noise(shape, rng)
    height, width = shape[2:]
    page = Image.new("L", (width, height), 255)
    pen = ImageDraw.Draw(page)
    font = ImageFont.load_default(size=max(12, height // 12))
    for top in range(2, height, max(14, height // 6)):
        pen.text((4, top), "".join(rng.choice(LETTERS, size=max(4, width // 8))), fill=0, font=font)
    return np.broadcast_to(np.asarray(page, dtype=np.float64) / 127.5 - 1, shape)
