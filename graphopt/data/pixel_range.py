"""Warn where a model that seems to take normalised images is fed with pixels from 0 to 255."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphopt.data.ports import looks_like_images
from graphopt.data.preprocess.transform import looks_unnormalised

if TYPE_CHECKING:
    from graphopt.data.samples import Samples
    from graphopt.ir import Model, Tensor

_PASSING = (
    *("Cast", "Concat", "DequantizeLinear", "Gather", "Identity", "Pad", "QuantizeLinear", "Reshape"),
    *("Resize", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"),
)
_SCALING = (
    *("Add", "BatchNormalization", "Div", "GroupNormalization", "InstanceNormalization"),
    *("LayerNormalization", "Mul", "Sub"),
)


def pixel_warnings(model: Model, samples: Samples) -> list[str]:
    """One sentence for each image input that gets pixel values and does not scale them itself."""
    feeds = next(iter(samples)).feeds
    inputs = {tensor.name: tensor for tensor in model.graph.inputs}
    return [
        f"input '{name}' gets values from {feed.min():g} to {feed.max():g}, as pixels have them, and the "
        "model does not scale them itself: if it was made for normalised images, give --preprocess imagenet "
        'or "scale=1/255"'
        for name, feed in feeds.items()
        if looks_like_images(feed.shape) and looks_unnormalised(feed) and not _scales(inputs[name])
    ]


def _scales(tensor: Tensor) -> bool:
    """Whether the first arithmetic that an input meets shifts or scales it."""
    pending, seen = [tensor], {tensor}
    while pending:
        for node in pending.pop().consumers:
            if node.op in _SCALING:
                return True
            if node.op in _PASSING:
                pending += [made for made in node.outputs if made not in seen]
                seen.update(node.outputs)
    return False
