"""Ports, image files and the labelled data that these tests share."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graphopt.ir import Port


@pytest.fixture
def port() -> Callable[..., Port]:
    """Make an input: ``port("N", 3, 8, 8, dtype="uint8", name="x")``."""

    def make(*shape: int | str | None, dtype: str | None = "float32", name: str = "x") -> Port:
        return Port(name, None if dtype is None else np.dtype(dtype), shape)

    return make


@pytest.fixture
def pixels() -> Callable[..., np.ndarray]:
    """Make seeded uint8 noise of a shape."""

    def make(*shape: int, seed: int = 0) -> np.ndarray:
        return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)

    return make


@pytest.fixture
def png() -> Callable[..., bytes]:
    """Encode pixels as an image file."""

    def encode(array: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(array).save(buffer, kind, **options)
        return buffer.getvalue()

    return encode


@pytest.fixture
def photos(
    tmp_path: Path, pixels: Callable[..., np.ndarray], png: Callable[..., bytes]
) -> Callable[..., Path]:
    """Write a folder of 8x8 RGB images with these relative names."""

    def write(*names: str, size: tuple[int, int] = (8, 8)) -> Path:
        root = tmp_path / "photos"
        for seed, name in enumerate(names):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(png(pixels(*size, 3, seed=seed)))
        return root

    return write


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The real models and labelled data beside the checkout; the test is skipped without them."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "corpus"
    if not folder.is_dir():
        pytest.skip("the corpus of real models and data is not beside this checkout")
    return folder
