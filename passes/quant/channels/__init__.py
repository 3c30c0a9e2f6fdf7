"""Channels scaled and shifted before they are stored; the function stays the same.

- ``absorption``: Move what channels always hold into the biases of the layers that read them: less is left to
  be stored.
- ``chains``: Layers whose output channels can be changed, and undone where they are read.
- ``equalisation``: Give the channels of a tensor similar sizes, so that one scale fits them all; the function
  stays the same.
- ``norms``: Shift and scale what a LayerNormalization hands to matrices, so that one scale and zero point fit
  it.
- ``prepare``: What a plan does to channels before anything is stored.
"""
