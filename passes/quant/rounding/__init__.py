"""Integers of weights chosen and tuned so that the outputs move least.

- ``refining``: Tune the integers of a quantized network, and keep of it what brings the outputs closer.
- ``second_order``: Round weights so that the outputs of the layer move least, instead of each weight by
  itself.
- ``stored_layer``: A layer of the quantized graph: the integers of its weight and bias, to look at and to
  change.
- ``tuning``: Make up for storing in integers, without labels: one walk through the network, layer by layer.
"""
