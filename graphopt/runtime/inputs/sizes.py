"""Unknown sizes of model inputs, and the sizes worth trying for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from typing import TYPE_CHECKING

from graphopt.data.ports import IMAGE_CHANNELS

if TYPE_CHECKING:
    from graphopt.ir import Port

Shape = tuple[int, ...]

# fixed: promised in docs/data.md; height, width of classifiers, detectors, text
IMAGE_SIZES = ((224, 224), (320, 320), (640, 640), (48, 192))
# time: tried in turn: sequences, feature vectors, audio; the first that the model runs at is announced
OTHER_SIZES = (1, 16, 128, 512)
_CHANNELS = (3, 1)  # fixed: what images have: colour, then grey
_MOST_TRIALS = 64  # time: combinations of sizes that are tried


@dataclass(frozen=True)
class Unknown:
    """A size that the model leaves open. Dimensions with equal keys get the same size."""

    key: str
    kind: str  # batch, height, width, channels or other


Template = tuple[int | Unknown, ...]


def template(port: Port) -> Template | None:
    """The declared dims of an input with its open sizes named; None when not even the rank is known."""
    if port.shape is None:
        return None
    kinds = _kinds([_fixed(dim) for dim in port.shape])
    dims: list[int | Unknown] = []
    for axis, (dim, kind) in enumerate(zip(port.shape, kinds, strict=True)):
        size = _fixed(dim)
        dims.append(Unknown(_key(port.name, axis, dim), kind) if size is None else size)
    return tuple(dims)


def bind(templates: Mapping[str, Template], given: Mapping[str, Shape]) -> dict[str, int]:
    """The sizes that the known input shapes give to shared symbols; the first input decides."""
    sizes: dict[str, int] = {}
    for name, shape in given.items():
        for dim, size in zip(templates.get(name, ()), shape, strict=False):
            if isinstance(dim, Unknown):
                sizes.setdefault(dim.key, size)
    return sizes


def fill(dims: Template, sizes: Mapping[str, int]) -> Template:
    """Replace the unknown sizes that have a value."""
    return tuple(sizes.get(d.key, d) if isinstance(d, Unknown) else d for d in dims)


def trials(templates: Sequence[Template]) -> Iterator[dict[str, int]]:
    """Sizes to try for every unknown, best guess first; image sizes vary slowest."""
    unknown = {dim.key: dim for dims in templates for dim in dims if isinstance(dim, Unknown)}
    batch = {key: 1 for key, dim in unknown.items() if dim.kind == "batch"}
    spatial = {key: dim for key, dim in unknown.items() if dim.kind in ("height", "width")}
    free = [key for key, dim in unknown.items() if dim.kind in ("channels", "other")]
    images = IMAGE_SIZES if spatial else IMAGE_SIZES[:1]
    choices = [_CHANNELS if unknown[key].kind == "channels" else OTHER_SIZES for key in free]
    combinations = product(images, product(*choices))
    for (height, width), others in islice(combinations, _MOST_TRIALS):
        sizes = {key: height if dim.kind == "height" else width for key, dim in spatial.items()}
        yield {**batch, **sizes, **dict(zip(free, others, strict=True))}


def _fixed(dim: int | str | None) -> int | None:
    """A declared size; None for symbols, "?", missing and negative dims (several exporters write -1)."""
    return dim if isinstance(dim, int) and dim >= 0 else None


def _key(name: str, axis: int, dim: int | str | None) -> str:
    """A symbol is shared by all inputs that carry it; anything anonymous stands for itself."""
    if isinstance(dim, str) and dim.strip("? ") and not dim.lstrip("-").isdigit():
        return dim
    return f"{name}[{axis}]"


def _kinds(dims: Sequence[int | None]) -> list[str]:
    """What each axis of an input most likely means; rank 4 is read as NCHW or NHWC."""
    if len(dims) == 3 and dims[0] == 3:
        return ["channels", "height", "width"]
    if len(dims) == 4:
        if dims[3] in IMAGE_CHANNELS and dims[1] not in IMAGE_CHANNELS:
            return ["batch", "height", "width", "channels"]
        if dims[1] in (*IMAGE_CHANNELS, None):
            return ["batch", "channels", "height", "width"]
    return ["batch", *["other"] * (len(dims) - 1)] if dims else []
