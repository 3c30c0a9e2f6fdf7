"""What a run achieved: the result measured against the original, in total and layer by layer.

- ``divergent_inputs``: Finds the inputs to which a result answers least like its original, while both are
  judged.
- ``kernel_matching``: Which node of a model each kernel of onnxruntime stands for.
- ``layers``: What became of each layer of a model: the original's nodes beside those of the result.
- ``measure``: Measures a model file: what is in it, how fast it runs, and how its answers compare with
  another's.
- ``node_facts``: What the nodes of a model are made of: attributes, tensor names, and what their weights
  hold.
- ``report_collector``: What a report shows besides totals: the size after each pass, and what became of each
  layer.
- ``result_measurer``: What a run achieved: the model as written is measured against the input, and the goals
  are judged.
- ``spread``: Let workers answer samples, each its own part, and judge the answers here in the order of the
  samples.
- ``tensor_matching``: Which tensors of a result stand for which of its original, and which channels of them
  are left.
- ``tensor_sqnr``: How far each inner tensor of a model moved: the signal-to-noise ratio of original against
  result.
"""
