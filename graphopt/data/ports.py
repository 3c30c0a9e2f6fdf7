"""What a model's inputs say about the samples they take: known dims, batch axis, image layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphopt.errors import DataError, UsageError

if TYPE_CHECKING:
    from graphopt.ir import Port

Dims = tuple[int | None, ...]  # None: any size
IMAGE_CHANNELS = (1, 3, 4)  # of grey, colour and transparent images


def known_dims(port: Port, shapes: Mapping[str, Sequence[int]]) -> Dims | None:
    """The dims of `port` with dynamic ones filled from `shapes`; None when even the rank is unknown.

    A batch of 1 in `shapes` leaves a dynamic batch axis free: it is how one sample runs, not a limit.
    Raises UsageError when `shapes` contradicts what the model declares.
    """
    given = shapes.get(port.name)
    declared = None if port.shape is None else tuple(_fixed(dim) for dim in port.shape)
    if given is None:
        return declared
    if declared is None:
        declared = (None,) * len(given)
    if not fits(given, declared):
        raise UsageError(
            f"the shape {shape_text(tuple(given))} does not fit input '{port.name}', which is "
            f"{shape_text(declared)}",
            hint="give one size for each dimension, equal to the model's where the model fixes it",
        )
    dims = tuple(int(size) for size in given)
    return (None, *dims[1:]) if dims and declared[0] is None and dims[0] == 1 else dims


def _fixed(dim: int | str | None) -> int | None:
    return dim if isinstance(dim, int) and dim >= 0 else None


def fits(shape: Sequence[int], dims: Dims) -> bool:
    """True when `shape` has the rank and the fixed sizes of `dims`."""
    return len(shape) == len(dims) and all(d in (None, s) for d, s in zip(dims, shape, strict=True))


def shape_text(dims: Sequence[int | str | None]) -> str:
    """``?x3x224x224`` for humans; ``scalar`` for no dims."""
    return "x".join("?" if dim is None else str(dim) for dim in dims) or "scalar"


@dataclass(frozen=True)
class Batching:
    """How samples stack: `size` is the batch the model insists on (None: any), `inputs` have a batch axis."""

    size: int | None
    inputs: frozenset[str]


def batching(dims: Mapping[str, Dims | None]) -> Batching:
    """Find the batch axis: axis 0 of all inputs when they agree on its size.

    Otherwise (a recurrent state of 2xBx128, a scalar sample rate) only inputs whose axis 0 is 1 or dynamic
    have one, and samples run one by one.  An axis of no elements is no batch.
    """
    firsts = {name: None if d is None else d[0] if d else 0 for name, d in dims.items()}  # 0: a scalar too
    sizes = set(firsts.values())
    if len(sizes) == 1 and 0 not in sizes:
        return Batching(sizes.pop(), frozenset(firsts))
    return Batching(1, frozenset(name for name, size in firsts.items() if size in (None, 1)))


@dataclass(frozen=True)
class ImageFormat:
    """How an input takes images: axis order and the sizes it fixes (None: any)."""

    layout: str  # nchw | nhwc
    channels: int | None
    height: int | None
    width: int | None


def image_format(name: str, dims: Dims | None, layout: str = "auto") -> ImageFormat:
    """Read the image format off `dims`: the channel axis is the one of 1, 3 or 4; NCHW when both or none are.

    Raises DataError when the input is not of rank 4.
    """
    if dims is None:
        return ImageFormat("nchw" if layout == "auto" else layout, None, None, None)
    if len(dims) != 4:
        raise DataError(
            f"images do not fit input '{name}' of shape {shape_text(dims)}: it needs four dimensions",
            hint="give an .npz with an array of that shape instead",
        )
    if layout == "auto":
        layout = "nhwc" if dims[3] in IMAGE_CHANNELS and dims[1] not in IMAGE_CHANNELS else "nchw"
    if layout == "nchw":
        return ImageFormat(layout, dims[1], dims[2], dims[3])
    return ImageFormat(layout, dims[3], dims[1], dims[2])


def looks_like_images(dims: Dims | None) -> bool:
    """True for rank 4 with 1, 3 or 4 channels."""
    return dims is not None and len(dims) == 4 and (dims[1] in IMAGE_CHANNELS or dims[3] in IMAGE_CHANNELS)
