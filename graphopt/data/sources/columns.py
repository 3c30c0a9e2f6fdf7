"""Fits one array to one input of the model, or says in a sentence why it does not fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from graphopt.data.element_types import is_float
from graphopt.data.ports import IMAGE_CHANNELS, Dims, fits, shape_text
from graphopt.data.preprocess.config import Preprocess
from graphopt.data.preprocess.geometry import Placement, placement
from graphopt.data.preprocess.transform import Transform, resolve, value_steps
from graphopt.data.sources.rows import ArrayRows, FileRows, Rows, read_all
from graphopt.errors import DataError

if TYPE_CHECKING:
    from graphopt.ir import Port

ToFeed = Callable[[np.ndarray, str], np.ndarray]  # a raw row and its name in errors -> a feed


@dataclass(frozen=True, eq=False)
class Column:
    """The rows of one input and how a row becomes its feed; `constant` is fed to every sample instead."""

    input: str
    rows: Rows
    to_feed: ToFeed
    constant: np.ndarray | None = None
    recipe: Preprocess | None = None  # what the rows go through, for images and uint8
    channel_axis: int | None = None  # of a row that is an image

    def placement(self, row: np.ndarray) -> Placement | None:
        """Where the pixels of a raw row lie in its feed, for images."""
        if self.recipe is None or self.channel_axis is None:
            return None
        height, width = row.shape[1:] if self.channel_axis == 0 and row.ndim == 3 else row.shape[:2]
        return placement((height, width), self.recipe)


def fit(port: Port, dims: Dims | None, batched: bool, rows: Rows, recipe: Preprocess | None) -> Column:
    """Decide how `rows` feed `port`; raises DataError when dtype, rank or fixed dims do not fit.

    The first axis counts samples and stands for the batch axis.  With one axis more than the input, rows
    have the batch axis inside.  An input without batch axis takes an array of its own rank for all samples.
    """
    if port.dtype is None:
        raise DataError(
            f"input '{port.name}' is not a tensor and cannot be fed", hint="graphopt feeds tensors only"
        )
    if rows.dtype == np.uint8 and port.dtype.kind in "fiu" and (dims is None or len(dims) == 4):
        return _image_column(port, dims, rows, recipe)
    pixels = rows.dtype == np.uint8 and port.dtype.kind == "f"
    cast = _pixel_cast(port, recipe) if pixels else _cast(port, rows)
    column = _batched(port, dims, rows, cast) if batched else _unbatched(port, dims, rows, cast)
    return replace(column, recipe=cast.recipe) if isinstance(cast, _PixelCast) else column


def _batched(port: Port, dims: Dims | None, rows: Rows, cast: ToFeed) -> Column:
    if not rows.shape:
        raise DataError(
            f"{rows.where} is a single number, not rows of samples", hint="give an array with a first axis"
        )
    if dims is not None:
        rows = flattened(rows) if len(rows.shape) == len(dims) + 1 else rows
        _check_dims(port, dims, rows, dims[1:], rows.shape[1:])
    return Column(port.name, rows, _Batched(cast))


def _unbatched(port: Port, dims: Dims | None, rows: Rows, cast: ToFeed) -> Column:
    assert dims is not None  # inputs of unknown rank count as batched
    if len(rows.shape) == len(dims):
        _check_dims(port, dims, rows, dims, rows.shape)
        constant = np.asarray(rows.array if isinstance(rows, ArrayRows) else read_all(rows))
        return Column(port.name, rows, cast, cast(constant, rows.where))
    _check_dims(port, dims, rows, dims, rows.shape[1:])
    return Column(port.name, rows, cast)


def flattened(rows: Rows) -> Rows:
    """The first two axes (samples, batch) made one."""
    shape = (rows.shape[0] * rows.shape[1], *rows.shape[2:])
    if isinstance(rows, FileRows):
        return replace(rows, shape=shape)
    assert isinstance(rows, ArrayRows)
    return replace(rows, array=rows.array.reshape(shape))


def _check_dims(port: Port, dims: Dims, rows: Rows, want: Dims, have: Sequence[int]) -> None:
    if fits(have, want):
        return
    raise DataError(
        f"{rows.where} has shape {shape_text(rows.shape)}, but input '{port.name}' takes {shape_text(dims)}",
        hint=_advice(want, tuple(have), len(rows.shape) == len(want)),
    )


def _advice(want: Dims, have: tuple[int, ...], lacks_first_axis: bool) -> str:
    if len(have) == 3 and fits((have[2], have[0], have[1]), want) and have[2] in IMAGE_CHANNELS:
        return "the array is NHWC and the model NCHW: use array.transpose(0, 3, 1, 2)"
    if len(have) == 3 and fits((have[1], have[2], have[0]), want) and have[0] in IMAGE_CHANNELS:
        return "the array is NCHW and the model NHWC: use array.transpose(0, 2, 3, 1)"
    if lacks_first_axis:
        return (
            "the first axis counts samples: array[None] makes one sample, array[:, None] adds a channel axis"
        )
    return "give an array whose first axis counts samples and whose other axes are the model's"


def _cast(port: Port, rows: Rows) -> ToFeed:
    assert port.dtype is not None
    dtype = port.dtype
    lossless = rows.dtype.kind == dtype.kind and np.can_cast(rows.dtype, dtype)
    floats = is_float(rows.dtype) and is_float(dtype)
    if not (lossless or floats or rows.dtype == dtype):
        raise DataError(
            f"{rows.where} holds {rows.dtype}, but input '{port.name}' takes {dtype}",
            hint=f"convert it with array.astype('{dtype}')",
        )

    return _Cast(dtype, floats)


# What makes feeds are objects of classes, not functions in functions: samples travel to other processes.
@dataclass(frozen=True)
class _Batched:
    """A feed with a leading batch axis of 1."""

    cast: ToFeed

    def __call__(self, row: np.ndarray, where: str) -> np.ndarray:
        return self.cast(row, where)[None]


@dataclass(frozen=True)
class _Cast:
    """Another type of number; DataError for floats that are none, or too large."""

    dtype: np.dtype
    floats: bool

    def __call__(self, row: np.ndarray, where: str) -> np.ndarray:
        if self.floats and not np.isfinite(row.astype(np.float64)).all():
            raise DataError(f"{where} holds NaN or infinite values", hint="remove such samples from the data")
        with np.errstate(over="ignore"):
            feed = row.astype(self.dtype, copy=False)
        narrower = self.floats and feed.dtype.itemsize < row.dtype.itemsize
        if narrower and not np.isfinite(feed.astype(np.float64)).all():
            raise DataError(f"{where} holds values too large for {self.dtype}", hint="scale the data")
        return feed


@dataclass(frozen=True)
class _PixelCast:
    """Value steps for uint8 rows that are not images, such as flattened ones."""

    recipe: Preprocess
    dtype: np.dtype

    def __call__(self, row: np.ndarray, where: str) -> np.ndarray:
        return value_steps(row, self.recipe).astype(self.dtype)


def _pixel_cast(port: Port, recipe: Preprocess | None) -> _PixelCast:
    recipe = recipe or Preprocess(scale=1 / 255)
    if recipe.has_geometry or len(recipe.mean) > 1 or len(recipe.std) > 1:
        raise DataError(
            f"input '{port.name}' takes no images, so of preprocessing only one scale, mean and std apply",
            hint="leave the other preprocess keys out",
        )
    assert port.dtype is not None
    return _PixelCast(recipe, port.dtype)


def _image_column(port: Port, dims: Dims | None, rows: Rows, recipe: Preprocess | None) -> Column:
    """uint8 rows HxW, HxWxC or CxHxW; the channel axis has the model's channels, else 1, 3 or 4."""
    if len(rows.shape) == 5:
        rows = flattened(rows)
    settled = resolve(recipe, port, dims)
    channels = None if dims is None else dims[1 if settled.layout == "nchw" else 3]
    axis = _channel_axis(rows.shape[1:], channels, settled.layout)
    if axis is None:
        raise DataError(
            f"{rows.where} of shape {shape_text(rows.shape)} holds no images for input '{port.name}' "
            f"of shape {shape_text(dims or ())}",
            hint="give uint8 images as NxHxW, NxHxWxC or NxCxHxW with 1, 3 or 4 channels",
        )
    assert port.dtype is not None
    to_feed = _ImageFeed(Transform(settled, port.dtype, port.name, dims), axis)
    return Column(port.name, rows, to_feed, None, settled, axis)


@dataclass(frozen=True)
class _ImageFeed:
    """An image put through the preprocessing."""

    transform: Transform
    axis: int

    def __call__(self, row: np.ndarray, where: str) -> np.ndarray:
        if row.ndim == 2:
            return self.transform(row[:, :, None], where)
        return self.transform(np.ascontiguousarray(row.transpose(1, 2, 0) if self.axis == 0 else row), where)


def _channel_axis(shape: tuple[int, ...], channels: int | None, layout: str) -> int | None:
    if len(shape) == 2:
        return 2  # a channel axis is added
    if len(shape) != 3 or min(shape) == 0:
        return None
    preferred = (0, 2) if layout == "nchw" and channels is not None and shape[0] == channels else (2, 0)
    for allowed in ((channels,), IMAGE_CHANNELS):
        for axis in preferred:
            if shape[axis] in allowed:
                return axis
    return None
