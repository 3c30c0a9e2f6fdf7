"""Drawings on the pages: plots, curves and the graph of a model, as SVG.

- ``axes``: Frames for plots: axes with round ticks, linear or logarithmic.
- ``drawn_layers``: Which layers are drawn of a model that is too large to be drawn whole.
- ``graph``: The graph of a model as a drawing, coloured by what was decided and by how far each layer moved.
- ``graph_layout``: Lays out a graph of layers: ranks from top to bottom, tall graphs wrapped into columns.
- ``plots``: The plots of a report, drawn while it is written.
- ``roofline``: The roofline of a machine with the layers of a model under it.
- ``sensitivity``: Curves of a sensitivity study as one drawing: a line for each item, the most sensitive ones
  named.
- ``wide``: Plots as wide as the page: something of every layer, in the order they compute.
"""
