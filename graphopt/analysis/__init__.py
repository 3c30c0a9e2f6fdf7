"""Functions that run models and return plain values: inspect, compare, evaluate, sensitivity.

- ``attention``: The attention of a model, in numbers that a person can check against the paper.
- ``backend_comparison``: Two model files in a backend that they are deployed to: how right both are there,
  and how fast.
- ``check``: A gate: whether a model keeps limits against a baseline, which is another model or the report of
  a run.
- ``comparison``: Two models side by side.
- ``divergence``: Where two models part: their inner tensors matched by name and compared, in the order they
  compute.
- ``evaluation``: How well a model does on samples.
- ``exploration``: The Pareto front of a model: one sweep over the moves of its passes, and a run for each
  point.
- ``inspection``: What is in a model.
- ``layer_costs``: What each layer takes on this machine, what bounds it, and whether compressing it is worth
  the while.
- ``loaded_model``: A model opened to be looked at, with the samples and sizes to run it with.
- ``sensitivity``: What each item of a plan costs alone.
"""
