"""The layers that can be split, and what the samples say about them.

- ``layer``: The layers that can be split, and why others cannot.
- ``stage``: One of the layers that a layer becomes: its sizes and attributes, without weights.
- ``study``: What the calibration samples say about the layers: the inputs of each, and how much its output
  matters.
- ``survey``: Which layers of a model can be split, and what the samples say about them.
"""
