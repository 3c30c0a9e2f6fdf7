"""Samples from image files: decoded one by one, oriented by EXIF, put through the preprocessing recipe."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphopt.data.feeder import Row, content_key
from graphopt.data.labels import image_labels
from graphopt.data.ports import Dims, shape_text
from graphopt.data.preprocess.config import Preprocess
from graphopt.data.preprocess.geometry import placement
from graphopt.data.preprocess.transform import Transform, resolve
from graphopt.data.sources.files import ImageFiles
from graphopt.data.sources.remote import RemoteFolder
from graphopt.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

    from graphopt.ir import Port


@dataclass(frozen=True, eq=False)
class ImageFeeder:
    """Image files as rows of the model's only input."""

    files: ImageFiles
    transform: Transform
    labels: np.ndarray | None

    @property
    def names(self) -> Sequence[str]:
        """The names of the files."""
        return self.files.names

    def read(self, rows: np.ndarray) -> Iterator[Row]:
        """Yield `rows` as feeds in the order of the files."""
        for index, content in self.files.read([int(row) for row in rows]):
            where = f"image {self.names[index]} of {self.files.where}"
            pixels = decode(content, where)
            feed = self.transform(pixels, where)
            placed = placement((pixels.shape[0], pixels.shape[1]), self.transform.recipe)
            yield Row(index, {self.transform.input: feed}, placed)

    def order(self, rows: np.ndarray) -> np.ndarray:
        """`rows` in the order of the files."""
        return np.array(self.files.order([int(row) for row in rows]), np.int64)

    def keys(self, rows: np.ndarray) -> Iterator[str]:
        """Yield the hashes of the files' bytes."""
        if isinstance(self.files, RemoteFolder):
            return self.files.keys([int(row) for row in rows])
        return (content_key(content) for _, content in self.files.read([int(row) for row in rows]))


def image_feeder(
    files: ImageFiles, ports: Sequence[Port], dims: Dims | None, recipe: Preprocess | None
) -> ImageFeeder:
    """Connect image files to a model with one image input; raises DataError for any other model."""
    if len(ports) != 1:
        raise DataError(
            f"images cannot feed the {len(ports)} inputs of this model ({', '.join(p.name for p in ports)})",
            hint="give an .npz with one array for each input",
        )
    port = ports[0]
    if port.dtype is None or port.dtype.kind not in "fiu":
        wanted = shape_text(dims or ())
        raise DataError(
            f"images do not fit input '{port.name}' ({port.dtype}, {wanted})", hint="give an .npz"
        )
    transform = Transform(resolve(recipe, port, dims), port.dtype, port.name, dims)
    return ImageFeeder(files, transform, image_labels(files.names, files.tables(), files.where))


def decode(content: bytes, where: str) -> np.ndarray:
    """Decode an image file to HxWxC uint8 (gray, RGB or RGBA), turned as its EXIF orientation says.

    16-bit images keep their upper 8 bits.  Raises DataError for what Pillow cannot read.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content)) as image:
                pixels = _pixels(ImageOps.exif_transpose(image))
    except Exception as error:  # Pillow's decoders raise many kinds for damaged files
        raise DataError(
            f"{where} cannot be read: {_reason(error)}", hint="remove or replace the file"
        ) from error
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _reason(error: Exception) -> str:
    """What Pillow says, without the addresses of our own buffers."""
    from PIL import UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "it is damaged, or an image of an unknown kind"
    return str(error)


def _pixels(image: Image.Image) -> np.ndarray:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers")
    if image.mode.startswith("I"):
        upper: np.ndarray = np.clip(np.asarray(image).astype(np.int64) >> 8, 0, 255)
        return upper.astype(np.uint8)
    if image.mode in ("L", "RGB", "RGBA"):
        return np.asarray(image)
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    transparent = image.mode in ("LA", "PA", "La", "RGBa") or "transparency" in image.info
    return np.asarray(image.convert("RGBA" if transparent else "RGB"))
