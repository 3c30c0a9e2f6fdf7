"""Records and analyses as tables for people.

- ``divergence``: Where two models part, as a table for people.
- ``evaluation``: An evaluation as tables for people.
- ``front``: A front as a table for people.
- ``layers``: The layers of a model as tables for people: their costs, and which of them are worth
  compressing.
- ``models``: Inspections and comparisons as tables for people.
- ``run``: The record of a run as a table for people.
- ``sensitivity``: A sensitivity study as a table for people.
- ``text``: Lines and tables on stdout, drawn by rich: as wide as the terminal, or 80 columns where there is
  none.
- ``usage``: How a result is run: the three lines of Python for onnxruntime, or the commands to a target's
  device.
"""
