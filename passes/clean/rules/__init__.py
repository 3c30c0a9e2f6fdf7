"""Small rewrites that keep the function, one idea a file.

- ``affine``: Constant multiplications and additions: absorbed by a layer next to them, or joined.
- ``base``: What a rule of this room sees: the facts about the tensors, and a place to say what it did.
- ``branches``: If nodes whose condition is known: the branch takes the node's place.
- ``duplicates``: The same computation, or the same constant, twice.
- ``fused``: The parts of a graph that runtimes fuse into one kernel: other rules leave them as they are.
- ``merges``: Two nodes in a row that one can do.
- ``noops``: Nodes whose output equals their input.
- ``normalization``: Layer normalisation spelled out: recognised, so that it stays fusible, and written as the
  operator.
- ``padding``: Padding done by a node of its own that the convolution or pool after it can do.
- ``patterns``: Activations that exporters spell out, as the one operator that means them or as runtimes fuse
  them.
- ``products``: Products of tensors and numbers, taken apart: what spelled-out activations are recognised by.
"""
