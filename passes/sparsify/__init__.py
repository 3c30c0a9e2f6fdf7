"""Unstructured and N:M sparsity: `sparsify` sets single weights to zero.

In the order of a run: weights (what can be made sparse) -> pattern (which weights go) -> walk (what the
others become) -> size (what it buys).
"""

from graphopt.passes.sparsify.sparsify import Sparsify

__all__ = ["Sparsify"]
