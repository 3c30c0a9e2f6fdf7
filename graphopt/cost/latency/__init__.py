"""What has to be measured: the time of layers on this machine, kept in a table, and models of it.

- ``device``: Where time counts when that is not onnxruntime here: an installed backend, or a device behind a
  command.
- ``layer_shape``: What decides how long one layer takes: operator, sizes, attributes and type, apart from any
  model.
- ``predict``: Predict how long a changed network takes, from the times of its layers.
- ``ratios``: How many times as long one network takes as another on this machine: measured once, read back
  ever after.
- ``roofline``: What this machine can do at best, and what therefore bounds a layer: arithmetic or memory.
- ``storage``: Numbers that were measured on one machine, kept in a file by what they belong to.
- ``surface``: Time of a layer over its widths: a staircase with a step for every block of channels.
- ``table``: How long layers take on this machine: measured once, kept on disk, read back ever after.
- ``timing``: Time single layers: each in a tiny model of its own, all of them in turn.
"""
