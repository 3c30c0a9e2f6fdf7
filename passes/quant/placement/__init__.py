"""Which nodes run on integers, and which tensors are stored for them.

- ``claims``: The guard of placement: a node with an input or output that no rule accounts for stays float.
- ``expectations``: Layers that weigh fixed numbers with a Softmax: the expected distance in the box branch of
  a detector.
- ``input_placement``: Placement at the inputs of integer operators, for backends that move quantization
  through the graph.
- ``mismatched_concats``: Ends of a network that put unlike numbers into one tensor: boxes in pixels beside
  scores up to 1.
- ``placement``: Which layers run on integers, and which tensors are stored in uint8 for them.
- ``rules``: Which nodes a target computes on integers: its profile, and the few conditions that data cannot
  say.
- ``spelled_gelu``: Nodes that spell a GELU, which runtimes compute in one float kernel as long as none of
  them is stored.
- ``wrong_fusions``: Operators that a backend gets wrong between a DequantizeLinear and a QuantizeLinear, as
  its profile says.
"""
