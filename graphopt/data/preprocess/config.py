"""How images become feeds: a recipe of geometry, colour, layout and value steps.

Text: ``imagenet;size=299`` or ``size=224;interpolation=bicubic;mean=127;std=128``.  Steps run in this order,
whatever the order in the text: colour, scaling, crop, pad, ``x * scale``, ``(x - mean) / std``, layout.

========================  ====================================================================================
``resize=256``            scale the shorter side to 256, keeping the ratio; ``resize=HxW`` is ``size=HxW``
``size=224``, ``=HxW``    scale to exactly this, squashing; ``size=model`` is what the model fixes
``letterbox=640``         scale to fit inside, centre, fill with 114 (``pad=0``: with 0); also HxW, ``model``
``height=48;width=keep``  scale to this height, keeping the ratio; a number as width squashes
``longest=960``           shrink until the longer side is at most 960
``multiple=32``           then scale each side to its nearest multiple of 32
``crop=224``, ``=HxW``    centre crop, black around images that are smaller
``pad=32``                black to the right and below up to a multiple of 32
``interpolation``         bilinear (default), bicubic, nearest, box (or area), lanczos: Pillow's
``color``                 rgb, bgr, gray or rgba; by default what the model's channels suggest
``layout``                auto (default), nchw or nhwc
``scale, mean, std``      numbers (``1/255`` works); mean and std take one number or one for each channel
========================  ====================================================================================

With no scaling, crop or pad an image is squashed to the size the model fixes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from graphopt.errors import UsageError

Size = tuple[int, int]  # height, width
INTERPOLATIONS = ("bilinear", "bicubic", "nearest", "box", "lanczos")
COLORS = ("rgb", "bgr", "gray", "rgba")
LAYOUTS = ("auto", "nchw", "nhwc")
SCALERS = (("resize", "crop"), ("size",), ("letterbox",), ("height", "width"), ("longest", "multiple"))


@dataclass(frozen=True)
class Preprocess:
    """A preprocessing recipe for images and uint8 arrays; ``str()`` of it is its text.

    Sizes are (height, width) in pixels; `scale`, `mean` and `std` count in units of the 0..255 pixel values.
    Raises UsageError when the values contradict each other.
    """

    resize: int | None = None
    size: Size | str | None = None
    letterbox: Size | str | None = None
    height: int | None = None
    width: int | str | None = None
    longest: int | None = None
    multiple: int | None = None
    crop: Size | None = None
    pad: int | None = None
    interpolation: str = "bilinear"
    color: str | None = None
    layout: str = "auto"
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        used = [group for group in SCALERS if any(getattr(self, key) is not None for key in group)]
        scaling = [group for group in used if group != ("resize", "crop") or self.resize is not None]
        if len(scaling) > 1:
            names = " and ".join(next(k for k in g if getattr(self, k) is not None) for g in scaling)
            raise UsageError(
                f"preprocess has both {names}, but an image is scaled once", hint="keep one of them"
            )
        if (self.height is None) != (self.width is None):
            raise UsageError("preprocess needs height and width together", hint="write height=48;width=keep")
        if len(self.mean) > 1 < len(self.std) and len(self.mean) != len(self.std):
            raise UsageError(
                f"preprocess has {len(self.mean)} numbers in mean and {len(self.std)} in std",
                hint="give one number, or one for each channel",
            )
        if self.letterbox is not None and self.pad is not None and self.pad > 255:
            raise UsageError(f"preprocess pads a letterbox with {self.pad}", hint="use a pixel value 0..255")
        if self.letterbox is None and self.pad == 0:
            raise UsageError("preprocess pads to a multiple of 0", hint="use a number of at least 1")

    @property
    def has_geometry(self) -> bool:
        """True when the recipe itself decides the size of the images."""
        return (
            any(getattr(self, key) is not None for group in SCALERS for key in group) or self.pad is not None
        )

    @property
    def has_values(self) -> bool:
        """True when pixel values are changed."""
        return self.scale != 1.0 or any(self.mean) or any(std != 1.0 for std in self.std)

    def as_dict(self) -> dict[str, Any]:
        """The keys that differ from the defaults as JSON values; sizes are [height, width]."""
        values = ((field, getattr(self, field.name)) for field in fields(self))
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field, value in values
            if value != field.default
        }

    def __str__(self) -> str:
        return (
            ";".join(f"{key}={_text(key, value)}" for key, value in Preprocess.as_dict(self).items())
            or "scale=1"
        )


def _text(key: str, value: object) -> str:
    if isinstance(value, list):
        return ("," if key in ("mean", "std") else "x").join(map(repr, value))
    return value if isinstance(value, str) else repr(value)
