"""Quantization with QuantizeLinear and DequantizeLinear pairs.

- ``calibration``: The ranges of tensors, and the scales and zero points that follow.
- ``channels``: Channels scaled and shifted before they are stored; the function stays the same.
- ``combinations``: Options that say nothing together: refused, so that nobody believes that both were heard.
- ``insertion``: A plan carried out: pairs put in, weights and biases stored.
- ``items``: The items of a plan: plain values that print, can be edited, and say everything that surgery
  needs.
- ``options``: What can be asked of ``quant``.
- ``placement``: Which nodes run on integers, and which tensors are stored for them.
- ``plan_builder``: From a model to the items of its plan: rewrite, place, measure ranges, decide parameters.
- ``plan_reading``: The items of a plan, read back from values that somebody may have edited.
- ``plots``: Plots for the report: how well tensors are stored, what a budget tried, what rounding costs
  layers.
- ``quant``: The pass: decide what to store in 8 bits, measure ranges, put the pairs in.
- ``report``: What is reported besides changes: what really runs on integers, and what makes less of the
  result.
- ``rewrites``: What a float graph is turned into so that more of it runs on integers.
- ``rounding``: Integers of weights chosen and tuned so that the outputs move least.
- ``scheme``: What is asked for, held against what the target allows.
- ``search``: Choices made by trying and by timing.
- ``selection``: Which models are left alone, because they are quantized already.
- ``sensitivity``: What ``graphopt sensitivity`` tries: each layer alone on integers, of 8 bits and of 4.
- ``static``: The plan of static quantization: change channels, measure ranges, choose what stays float.
- ``sums``: Sums that onnxruntime must not see, since what it makes of them is not valid.
- ``verify``: Whether a target takes the result, and what really runs on integers.
"""

from .quant import Quant

__all__ = ["Quant"]
