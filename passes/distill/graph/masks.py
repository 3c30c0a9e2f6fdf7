"""Weights that are zero stay zero: the graph multiplies a sparse weight by its mask.

A masked element gets no gradient, so that no optimizer moves it, and weight decay of zero is zero.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from graphopt import ir
from graphopt.ir import Constant

SPARSE = ("auto", "keep", "fill")
# noise: zeros from which a weight counts as sparse: patterns leave half of the weights; rounding to 4 bits
# makes a quarter of normally distributed ones zero; in float none is zero by chance
FLOAT_SHARE, QUANTIZED_SHARE = 0.1, 0.45


def add_masks(
    graph: ir.Graph, chosen: Iterable[Constant], quantized: Collection[str], sparse: str
) -> list[str]:
    """Multiply sparse weights by where they are not zero; returns their names."""
    masked = []
    for tensor in chosen:
        values = tensor.values
        share = float(np.mean(values == 0))
        least = QUANTIZED_SHARE if tensor.name in quantized else FLOAT_SHARE
        if sparse == "fill" or values.ndim < 2 or share == 0 or (sparse == "auto" and share < least):
            continue
        mask = graph.add_constant(f"{tensor.name}.mask", (values != 0).astype(np.float32))
        readers = list(dict.fromkeys(tensor.consumers))
        product = graph.add_node("Mul", [tensor, mask], name=f"{tensor.name}.masked").output
        for node in readers:
            node.inputs = [product if t is tensor else t for t in node.inputs]
        masked.append(tensor.name)
    return masked
