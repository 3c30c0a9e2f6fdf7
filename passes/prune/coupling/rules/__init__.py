"""How channel ids travel through each operator.

- ``attention``: Products of two computed tensors: the scores of attention, and what they make of the values.
- ``elementwise``: Operators that work entry by entry or on space only: channels pass, and operands are
  coupled.
- ``fused_attention``: Attention as one operator: ONNX's Attention (opset 23) and onnxruntime's
  MultiHeadAttention.
- ``layout``: Operators that only move data along axes: they are carried out on the ids.
- ``norm``: Normalisations: of each channel by itself, of groups of channels, and over all channels.
- ``permutation``: Routes: runs of nodes that together only put channels in another order, or pick some of
  them.
- ``reshape``: Operators that give a tensor another shape: the ids are reshaped, spread or repeated like the
  data.
- ``shape_arithmetic``: Sizes taken from a tensor at run time: where a number in the graph is a count of
  channels.
- ``tables``: Where the channels of one axis come to lie when a tensor is given another shape.
- ``weighted``: Operators with weights: each makes fresh channels, and owns the axes of its parameters.
"""
