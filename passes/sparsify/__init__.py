"""Unstructured and N:M sparsity: `sparsify` sets single weights to zero.

In the order of a run: weights (what can be made sparse) -> pattern (which weights go) -> walk (what the
others become) -> size (what it buys).

- ``elimination``: Set single weights of a least-squares problem to zero, and let those after them make up for
  it.
- ``layerwise``: Make layer after layer sparse, each fitted to what the original computed on what it really
  reads by then.
- ``pattern``: Which weights go, given what each costs: a share of them, or all but N of every M.
- ``size``: What zeros buy: how small weights become when they are compressed.
- ``sparsify``: Set single weights to zero.
- ``weights``: The weights that can be made sparse, and how they look as matrices of inputs by outputs.
"""

from graphopt.passes.sparsify.sparsify import Sparsify

__all__ = ["Sparsify"]
