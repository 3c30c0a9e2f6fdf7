"""The remaining weights fitted to what the original computed.

- ``constant_channels``: Channels that are always the same value are taken over by the biases of the layers
  that read them.
- ``constant_propagation``: Which channels do not depend on the data, as far as the weights prove it.
- ``fitting``: Fit one layer to its target by damped least squares, with an eye for what readers see of the
  target.
- ``layer_task``: What one layer should come to, and what its readers see of that.
- ``layerwise``: Fit what is left anew: every layer of the pruned network, in order, to what the original
  computed.
- ``rows``: What a layer reads at sampled output positions, and what it should come to there.
"""
