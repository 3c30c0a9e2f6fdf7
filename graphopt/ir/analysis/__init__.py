"""What is known of a model without running it: types, shapes, values, what is valid, what an edit left alone.

- ``attention``: Attention as exporters write it: which products, which projections, how many heads.
- ``checker``: Is this still a valid model: our own structure check, then ONNX's checker.
- ``constants``: Values of small tensors, known fully or in part: the arithmetic that exporters do on shapes.
- ``diff``: Find what an edit left as it was.
- ``facts``: What can be inferred about every tensor without running the model: type, shape, and values of
  small ones.
- ``flow``: Where the output channels of a layer get to: numbered, and followed through what moves or scales
  them.
- ``movement``: Operators that only move the entries of a tensor, carried out on any array that stands for
  one.
- ``node_inference``: ONNX's own type and shape inference, one node at a time.
- ``operators``: What attributes and constant inputs of an operator mean: padding, bounds.
- ``shape_inference``: Shape inference as advice: what it cannot infer is left unknown.
- ``subgraph``: Cut a part of a model out as a model of its own.
"""
