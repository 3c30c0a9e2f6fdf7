"""Drawings on the pages: plots, curves and the graph of a model, as SVG.

- ``axes``: Frames for plots: axes with round ticks, linear or logarithmic.
- ``bars``: A bar for each of several names.
- ``blocks``: Blocks of a network by the prefixes of its layers' names, which fold into one node each.
- ``drawn_layers``: Which layers are drawn of a model that is too large to be drawn whole.
- ``graph``: The graph of a model as a drawing, coloured by what was decided and by how far each layer moved.
- ``graph_layout``: Lays out a graph of layers: ranks from top to bottom, tall graphs wrapped into columns.
- ``histogram``: How often a tensor holds which values, and the range that can be stored.
- ``lines``: Curves over one axis, each with its name.
- ``pareto``: Runs as points of quality against cost.
- ``roofline``: The roofline of a machine with the layers of a model under it.
- ``sensitivity``: Curves of a sensitivity study as one drawing: a line for each item, the most sensitive ones
  named.
- ``spectrum``: Singular values of a layer, and how many of them are kept.
- ``wide``: Plots as wide as the page: something of every layer, in the order they compute.
"""
