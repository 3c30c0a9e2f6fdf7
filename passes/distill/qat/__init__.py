"""Students that are quantized already.

- ``fake_quant``: Students that are quantized already: pairs of QuantizeLinear and DequantizeLinear become
  FakeQuant.
- ``pairs``: Open the pairs of QuantizeLinear and DequantizeLinear in a student: real values, rounded by
  FakeQuant.
"""
