"""Building blocks: each a function that adds one thing to a draft and returns the new feature.

conv         convolutions of one to three spatial axes, transposed ones, pooling, residual and squeeze blocks
dense        matrix products of every kind, Einsum, computed biases
norms        normalisations over any axis, as operators and written out
attention    the forms that exporters write, and the fused ones
activations  activation functions as operators and spelled out, gates, deep chains
shaping      what moves, repeats, cuts and joins
indexing     what reads or writes by indices; other inputs: ids and masks
reductions   reductions of every kind, integer outputs
control      If, Loop and Scan, recurrent layers
foreign      com.microsoft, a domain that no one knows, networks that are quantized already, random numbers
"""

from tests.fuzz.graphs.blocks import (
    activations,
    attention,
    control,
    conv,
    dense,
    foreign,
    indexing,
    norms,
    reductions,
    shaping,
)
from tests.fuzz.graphs.blocks.registry import BLOCKS, Block

__all__ = [
    "BLOCKS",
    "Block",
    "activations",
    "attention",
    "control",
    "conv",
    "dense",
    "foreign",
    "indexing",
    "norms",
    "reductions",
    "shaping",
]
