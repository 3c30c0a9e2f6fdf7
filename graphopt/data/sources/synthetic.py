"""Seeded synthetic samples for runs without data: natural-like images, plausible numbers for other inputs.

Images are dead leaves (Lee, Mumford, Huang: "Occlusion models for natural images", 2001): opaque shapes whose
sizes follow a power law, which gives the edges and the 1/f spectrum of photographs, textured with octaves of
value noise and coloured mostly along the grey axis.  Only elementwise arithmetic and raw uniform numbers are
used, so that an image is the same on every machine.  An image larger than a tile is made of its reflections.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphopt.data.draws import PLAUSIBLE, Style, can_draw, draw
from graphopt.data.element_types import is_float
from graphopt.data.feeder import Row, content_key
from graphopt.data.ports import Batching, Dims, batching, image_format, known_dims, looks_like_images
from graphopt.data.preprocess.config import Preprocess
from graphopt.data.preprocess.transform import value_steps
from graphopt.data.row_cache import KeptRows
from graphopt.data.samples import Samples
from graphopt.errors import DataError

if TYPE_CHECKING:
    from graphopt.ir import InputRole, Port

SOURCE = "synthetic"
_SIDE = 224  # pixels of a dynamic image side
_MEAN, _STD = 114.0, 64.0  # roughly those of photographs; float inputs get (x - mean) / std
_LEAVES = 80
_TILE = 640  # pixels of the largest side that is drawn: drawing costs as much as many a network


def synthetic(
    inputs: Sequence[Port],
    shapes: Mapping[str, Sequence[int]] | None = None,
    count: int = 64,
    seed: int = 0,
    *,
    preprocess: Preprocess | None = None,
    style: Style = PLAUSIBLE,
    roles: Mapping[str, InputRole] | None = None,
) -> Samples:
    """`count` samples made from `seed`: sample i depends on (seed, i) and the inputs alone.

    Rank-4 inputs with 1, 3 or 4 channels get images: pixels 0..255 for integer inputs and, for float inputs,
    put through the value steps of `preprocess` or else to about mean 0 and deviation 1.  Other float inputs
    get normal numbers, integers 0 or 1, scalars 1, texts a few words; `style` draws otherwise, and `roles`
    (see ``ir.input_roles``) say which whole numbers the model takes.  Dynamic dims come from `shapes`, else
    image sides are 224 and all others 1.  Rows are kept in memory once made.  Raises DataError for inputs
    that are no tensors.
    """
    dims = {port.name: known_dims(port, shapes or {}) for port in inputs}
    roles = roles or {}
    has_values = any(role.value is not None for role in roles.values())  # which are no rows of a batch
    batches = Batching(1, frozenset()) if has_values else batching(dims)
    makers = tuple(
        _maker(port, dims[port.name], port.name in batches.inputs, preprocess, style, roles.get(port.name))
        for port in inputs
    )
    rows = count * (batches.size or 1)
    feeder = KeptRows(SyntheticFeeder(makers, seed, range(rows), style.name))
    return Samples(SOURCE, feeder, np.arange(rows), batches.size, preprocess)


@dataclass(frozen=True)
class _Maker:
    """What one input gets: dtype and full shape of one row; layout and value steps if it takes images."""

    input: str
    dtype: np.dtype
    shape: tuple[int, ...]
    layout: str | None
    recipe: Preprocess | None
    style: Style = PLAUSIBLE
    role: InputRole | None = None

    def __call__(self, rng: np.random.Generator) -> np.ndarray:
        if self.layout is None or 0 in self.shape:
            return draw(rng, self.dtype, self.shape, self.style, self.role)
        return np.concatenate([self._image(rng) for _ in range(self.shape[0])])

    def _image(self, rng: np.random.Generator) -> np.ndarray:
        form = image_format(self.input, self.shape, self.layout or "auto")
        assert form.channels and form.height and form.width  # the shape is full
        values = natural_image(rng, form.height, form.width, form.channels).astype(np.float32)
        if self.dtype.kind in "iu":
            top = np.iinfo(self.dtype).max
            values = values if top >= 255 else np.floor(values * ((top + 1) / 256))
        elif self.recipe is not None:
            values = value_steps(values, self.recipe)
        else:
            values = (values - np.float32(_MEAN)) / np.float32(_STD)
        feed = values if form.layout == "nhwc" else values.transpose(2, 0, 1)
        return np.ascontiguousarray(feed)[None].astype(self.dtype)


@dataclass(frozen=True, eq=False)
class SyntheticFeeder:
    """Rows made when they are read."""

    makers: tuple[_Maker, ...]
    seed: int
    names: range
    style: str = PLAUSIBLE.name
    labels: np.ndarray | None = None

    def read(self, rows: np.ndarray) -> Iterator[Row]:
        """Yield `rows`, each from its own generator."""
        for index in (int(row) for row in np.sort(rows)):
            feeds = {
                maker.input: maker(np.random.Generator(np.random.PCG64([self.seed, index, place])))
                for place, maker in enumerate(self.makers)
            }
            yield Row(index, feeds)

    def keys(self, rows: np.ndarray) -> Iterator[str]:
        """Yield names made of seed and number: these rows have no other content."""
        return (self._key(int(row)) for row in np.sort(rows))

    def _key(self, index: int) -> str:
        style = "" if self.style == PLAUSIBLE.name else f" {self.style}"
        return content_key(f"{SOURCE} {self.seed} {index}{style}".encode())


def _maker(
    port: Port,
    dims: Dims | None,
    batched: bool,
    recipe: Preprocess | None,
    style: Style,
    role: InputRole | None,
) -> _Maker:
    if port.dtype is None or not can_draw(port.dtype) or dims is None:
        raise DataError(
            f"no synthetic samples can be generated for input '{port.name}' ({port.dtype or 'not a tensor'})",
            hint="give real samples with --calibration",
        )
    layout, fill = None, (1,) * len(dims)
    if looks_like_images(dims):
        form = image_format(port.name, dims, recipe.layout if recipe else "auto")
        layout, fill = form.layout, _image_sizes(form.layout, form.channels or 1)
    shape = tuple(size if dim is None else dim for dim, size in zip(dims, fill, strict=True))
    shape = (1, *shape[1:]) if batched else shape
    takes_images = style.images and role is None and (is_float(port.dtype) or port.dtype.kind in "iu")
    return _Maker(port.name, port.dtype, shape, layout if takes_images else None, recipe, style, role)


def _image_sizes(layout: str, channels: int) -> tuple[int, ...]:
    """Sizes of the open dimensions of an image input."""
    return (1, channels, _SIDE, _SIDE) if layout == "nchw" else (1, _SIDE, _SIDE, channels)


def natural_image(rng: np.random.Generator, height: int, width: int, channels: int) -> np.ndarray:
    """A natural-like image, HxWxC uint8 with 1, 3 or 4 channels."""
    tile = _drawn_image(rng, min(height, _TILE), min(width, _TILE), channels)
    missing = ((0, height - tile.shape[0]), (0, width - tile.shape[1]), (0, 0))
    return tile if tile.shape[:2] == (height, width) else np.pad(tile, missing, "symmetric")


def _drawn_image(rng: np.random.Generator, height: int, width: int, channels: int) -> np.ndarray:
    luminance = 60.0 * _noise(rng, height, width, 0.6)
    image = np.empty((height, width, 3))
    image[:] = _color(rng)
    image += luminance[:, :, None]
    texture = 50.0 * _noise(rng, height, width, 0.75)
    for _ in range(_LEAVES):
        _drop_leaf(rng, image, texture)
    image += 4.0 * (rng.random((height, width, 1)) + rng.random((height, width, 1)) - 1.0)  # sensor noise
    pixels = np.clip(np.rint(image), 0, 255)
    if channels == 1:
        gray = (pixels[:, :, :1] + 2.0 * pixels[:, :, 1:2] + pixels[:, :, 2:]) / 4.0
        pixels, opaque = np.floor(gray), np.empty((height, width, 0))
    else:
        opaque = np.full((height, width, channels - 3), 255.0)
    return np.concatenate([pixels, opaque], axis=2).astype(np.uint8)


def _color(rng: np.random.Generator) -> np.ndarray:
    """A grey level with a small chroma: channels of photographs correlate at about 0.9."""
    return 20.0 + 190.0 * rng.random() + 50.0 * (rng.random(3) - 0.5)


def _drop_leaf(rng: np.random.Generator, image: np.ndarray, texture: np.ndarray) -> None:
    """Lay an opaque ellipse, box or half ellipse over `image`; radii have the density r^-3 of any scale."""
    height, width = image.shape[:2]
    side = min(height, width)
    radius = side / 40.0 / np.sqrt(1.0 - 0.995 * rng.random())
    center_y, center_x, aspect, slant, contrast = rng.random(5)
    kind = int(3 * rng.random())
    reach = 2.0 * radius
    y, x = center_y * height, center_x * width
    top, bottom = max(0, int(y - reach)), min(height, int(y + reach) + 1)
    left, right = max(0, int(x - reach)), min(width, int(x + reach) + 1)
    color = _color(rng)
    if top >= bottom or left >= right:
        return
    v = (np.arange(top, bottom)[:, None] - y) / radius
    u = (np.arange(left, right)[None, :] - x) / radius
    v = (v + (2.0 * slant - 1.0) * u) * (0.6 + aspect)  # a shear turns without trigonometry
    inside = np.maximum(np.abs(u), np.abs(v)) < 0.8 if kind == 0 else u * u + v * v < 1.0
    if kind == 2:
        inside &= u < v
    leaf = color + (contrast * texture[top:bottom, left:right] + 12.0 * v)[:, :, None]
    view = image[top:bottom, left:right]
    view[inside] = leaf[inside]


def _noise(rng: np.random.Generator, height: int, width: int, decay: float) -> np.ndarray:
    """Value noise in octaves, HxW, about -1..1; octave amplitudes fall by `decay`."""
    total = np.zeros((height, width))
    cell, weight = max(height, width), 1.0
    while cell >= 2:
        total += weight * _octave(rng, height, width, cell)
        cell, weight = cell // 2, weight * decay
    return total


def _octave(rng: np.random.Generator, height: int, width: int, cell: int) -> np.ndarray:
    """Uniform numbers -1..1 on a grid of `cell` pixels, bilinear between."""
    grid = 2.0 * rng.random((height // cell + 2, width // cell + 2)) - 1.0
    y, x = np.arange(height), np.arange(width)
    row, col = y // cell, x // cell
    down, right = ((y % cell) / cell)[:, None], ((x % cell) / cell)[None, :]
    upper = grid[row][:, col] * (1.0 - right) + grid[row][:, col + 1] * right
    lower = grid[row + 1][:, col] * (1.0 - right) + grid[row + 1][:, col + 1] * right
    return upper * (1.0 - down) + lower * down
