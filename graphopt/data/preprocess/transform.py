"""Applies a preprocessing recipe to one image: uint8 pixels in, a feed of the model's dtype out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from graphopt.data.ports import Dims, ImageFormat, fits, image_format, shape_text
from graphopt.data.preprocess.config import Preprocess, Size
from graphopt.errors import DataError

if TYPE_CHECKING:
    from graphopt.ir import Port

CHANNELS = {"gray": 1, "rgb": 3, "bgr": 3, "rgba": 4}
UNSCALED = "no preprocessing is given: image values are divided by 255, so the model gets 0..1"


def resolve(recipe: Preprocess | None, port: Port, dims: Dims | None) -> Preprocess:
    """Settle what the recipe leaves to the model: size, colour, layout, and the scale if there is no recipe.

    Raises DataError when the recipe and the model's input cannot agree.
    """
    whole = port.dtype is not None and port.dtype.kind in "iu"
    recipe = recipe or Preprocess(scale=1.0 if whole else 1 / 255)
    form = image_format(port.name, dims, recipe.layout)
    recipe = replace(recipe, layout=form.layout, color=_color(recipe.color, form, port.name))
    model_size = (form.height, form.width) if form.height and form.width else None
    for key in ("size", "letterbox"):
        if getattr(recipe, key) == "model":
            if model_size is None:
                raise DataError(
                    f"input '{port.name}' ({shape_text(dims or ())}) fixes no image size for {key}=model",
                    hint=f"write {key}=480x640 or give --shape",
                )
            recipe = (
                replace(recipe, size=model_size) if key == "size" else replace(recipe, letterbox=model_size)
            )
    _check_channels(recipe, form, port.name)
    return recipe if recipe.has_geometry or model_size is None else replace(recipe, size=model_size)


def _color(color: str | None, form: ImageFormat, name: str) -> str | None:
    if color is None:
        return {1: "gray", 3: "rgb", 4: "rgba", None: "rgb"}.get(form.channels)
    if form.channels not in (None, CHANNELS[color]):
        raise DataError(
            f"color={color} makes {CHANNELS[color]} channels, but input '{name}' takes {form.channels}",
            hint="change color, or leave it out",
        )
    return color


def _check_channels(recipe: Preprocess, form: ImageFormat, name: str) -> None:
    channels = form.channels or CHANNELS.get(recipe.color or "")
    for key in ("mean", "std"):
        count = len(getattr(recipe, key))
        if count > 1 and channels is not None and count != channels:
            raise DataError(
                f"{key} has {count} numbers, but images for input '{name}' have {channels} channels",
                hint="give one number, or one for each channel",
            )


@dataclass(frozen=True)
class Transform:
    """A resolved recipe for one input; calling it turns HxWxC uint8 pixels into a feed 1xCxHxW or 1xHxWxC."""

    recipe: Preprocess
    dtype: np.dtype
    input: str
    dims: Dims | None

    def __call__(self, pixels: np.ndarray, where: str) -> np.ndarray:
        """`where` names the image in errors; raises DataError when the result does not fit the input."""
        pixels = recolor(pixels, self.recipe.color, where)
        values = _values(_geometry(pixels, self.recipe), self.recipe, self.dtype, where)
        feed = values if self.recipe.layout == "nhwc" else values.transpose(2, 0, 1)
        if self.dims is not None and not fits(feed.shape, self.dims[1:]):
            raise DataError(
                f"{where} becomes {shape_text(feed.shape)} after preprocessing, "
                f"but input '{self.input}' takes {shape_text(self.dims[1:])}",
                hint="use size= or crop= with the model's size, or letterbox=model",
            )
        return np.ascontiguousarray(feed)[None]


def recolor(pixels: np.ndarray, color: str | None, where: str) -> np.ndarray:
    """Convert HxWxC pixels (gray, RGB or RGBA) to `color`; None leaves any number of channels as it is."""
    have = pixels.shape[2]
    if color is None or (have == CHANNELS[color] and color != "bgr"):
        return pixels
    if have not in (1, 3, 4):
        raise DataError(f"{where} has {have} channels and cannot become {color}", hint="convert it before")
    from PIL import Image

    image = Image.fromarray(pixels[:, :, 0] if have == 1 else pixels)
    mode = {"gray": "L", "rgb": "RGB", "bgr": "RGB", "rgba": "RGBA"}[color]
    changed = np.asarray(image.convert(mode)).reshape(*pixels.shape[:2], CHANNELS[color])
    return changed[:, :, ::-1] if color == "bgr" else changed


def _geometry(pixels: np.ndarray, recipe: Preprocess) -> np.ndarray:
    size = scaled_size(pixels.shape[:2], recipe)
    pixels = _scale_to(pixels, size, recipe.interpolation)
    if isinstance(recipe.letterbox, tuple):
        pixels = _place(pixels, recipe.letterbox, 114 if recipe.pad is None else recipe.pad)
    if recipe.crop is not None:
        pixels = _center_crop(pixels, recipe.crop)
    if recipe.letterbox is None and recipe.pad is not None:
        bottom, right = (-side % recipe.pad for side in pixels.shape[:2])
        pixels = np.pad(pixels, ((0, bottom), (0, right), (0, 0)))
    return pixels


def scaled_size(size: Sequence[int], recipe: Preprocess) -> Size:
    """The (height, width) an image of `size` is scaled to, as torchvision, Ultralytics and PaddleOCR do."""
    height, width = size
    if isinstance(recipe.size, tuple):
        return recipe.size
    if recipe.resize is not None:
        short = min(height, width)
        return int(recipe.resize * height / short), int(recipe.resize * width / short)
    if isinstance(recipe.letterbox, tuple):
        ratio = min(recipe.letterbox[0] / height, recipe.letterbox[1] / width)
        return max(1, round(height * ratio)), max(1, round(width * ratio))
    if recipe.height is not None:
        kept = math.ceil(recipe.height * width / height)
        return recipe.height, recipe.width if isinstance(recipe.width, int) else kept
    if recipe.longest is not None and max(height, width) > recipe.longest:
        ratio = recipe.longest / max(height, width)
        height, width = max(1, int(height * ratio)), max(1, int(width * ratio))
    if recipe.multiple is not None:
        step = recipe.multiple
        return max(step, round(height / step) * step), max(step, round(width / step) * step)
    return height, width


def _scale_to(pixels: np.ndarray, size: Size, interpolation: str) -> np.ndarray:
    if pixels.shape[:2] == size:
        return pixels
    from PIL import Image

    method = Image.Resampling[interpolation.upper()]

    def scaled(plane: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(plane).resize((size[1], size[0]), method))

    if pixels.shape[2] == 3:
        return scaled(pixels)
    # Pillow would weigh colours by alpha: channels are scaled one by one
    planes = [scaled(np.ascontiguousarray(pixels[:, :, c])) for c in range(pixels.shape[2])]
    return np.stack(planes, axis=2)


def _place(pixels: np.ndarray, size: Size, fill: int) -> np.ndarray:
    """Centre on a canvas of `size`; an odd pixel goes to the bottom and right, as Ultralytics rounds it."""
    canvas = np.full((*size, pixels.shape[2]), fill, np.uint8)
    top, left = letterbox_corner(size, (pixels.shape[0], pixels.shape[1]))
    canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return canvas


def letterbox_corner(canvas: Size, image: Size) -> Size:
    """Where (top, left) an image lies on its canvas."""
    return (canvas[0] - image[0]) // 2, (canvas[1] - image[1]) // 2


def _center_crop(pixels: np.ndarray, size: Size) -> np.ndarray:
    """Cut `size` out of the middle as torchvision does, after padding images that are smaller."""
    lacking = [max(0, want - have) for want, have in zip(size, pixels.shape[:2], strict=True)]
    if any(lacking):
        pixels = np.pad(pixels, (*((lack // 2, (lack + 1) // 2) for lack in lacking), (0, 0)))
    top, left = (_crop_start(have, want) for have, want in zip(pixels.shape[:2], size, strict=True))
    return pixels[top : top + size[0], left : left + size[1]]


def crop_corner(image: Size, size: Size) -> Size:
    """Where (top, left) the cut out part begins in the image; negative where the image was padded."""
    top, left = (
        _crop_start(have, want) if have >= want else -((want - have) // 2)
        for have, want in zip(image, size, strict=True)
    )
    return top, left


def _crop_start(have: int, want: int) -> int:
    return round((have - want) / 2.0)


def _values(pixels: np.ndarray, recipe: Preprocess, dtype: np.dtype, where: str) -> np.ndarray:
    if dtype == pixels.dtype and not recipe.has_values:
        return pixels
    values = value_steps(pixels, recipe)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if (values != np.rint(values)).any() or values.min() < limits.min or values.max() > limits.max:
            raise DataError(
                f"{where} has values {values.min():g}..{values.max():g} after preprocessing, "
                f"but the model takes whole numbers ({dtype})",
                hint="leave scale, mean and std out for this model",
            )
    return values.astype(dtype)


def value_steps(pixels: np.ndarray, recipe: Preprocess) -> np.ndarray:
    """x * scale, then (x - mean) / std along the last axis, in float32."""
    values = pixels.astype(np.float32)
    if not recipe.has_values:
        return values
    mean, std = np.asarray(recipe.mean, np.float32), np.asarray(recipe.std, np.float32)
    values *= np.float32(recipe.scale)
    values -= mean
    values /= std
    return values


def looks_unnormalised(feed: np.ndarray) -> bool:
    """True when a float feed still spans pixel values: nothing below 0, a maximum of 17 to 255.

    Meant for a warning about models that look as if they were trained on normalised images.
    """
    if feed.dtype.kind != "f" or feed.size == 0:
        return False
    low, high = float(feed.min()), float(feed.max())
    return low >= -0.5 and 16.0 < high <= 255.5
