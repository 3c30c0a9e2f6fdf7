"""Rewrites that several passes share.

- ``affine``: Constant multiplications and additions, absorbed by the linear layer before or after them.
- ``annotate``: Write values into the metadata of nodes, where viewers such as Netron show them.
- ``concatenation``: The concatenation behind a layer: where its channels lie beside those of other layers.
- ``layer_bias``: Where the bias of a layer enters: its third input, or the Add behind a MatMul.
- ``linear``: Linear layers and the affine maps, one scale and shift per channel, that they can absorb.
- ``opset``: Move a model to a newer version of the standard operators.
- ``residual``: The residual addition behind a layer: where its output is only one summand of what the network
  reads.
- ``shortcut``: The parameter-free shortcut of residual nets (He et al. 2015, option A), as a Conv.
"""
