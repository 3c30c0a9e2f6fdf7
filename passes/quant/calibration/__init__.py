"""The ranges of tensors, and the scales and zero points that follow.

- ``calibration_cache``: Ranges in files: one of our own, read again by later runs, and the calibration cache
  of TensorRT.
- ``decisions``: The parameters of every stored tensor, from its range and the scheme of the run.
- ``parameters``: Scale and zero point of an activation tensor, from the range of its values.
- ``ranges``: The ranges of the tensors to be stored, from the calibration samples.
- ``thresholds``: Where to cut the range of a tensor that is stored in few levels, from its histogram alone.
"""
