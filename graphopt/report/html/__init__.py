"""Reports as one self-contained page: every text escaped, every plot drawn, nothing loaded from elsewhere.

- ``charts``: Drawings on the pages: plots, curves and the graph of a model, as SVG.
- ``comparison_page``: Several runs side by side: their numbers, which of them no other beats, and what they
  did to each layer.
- ``costs``: The layers of an inspection as rows of a table and nodes of a drawing, shaded by what they cost.
- ``environment``: Templates of pages: every text escaped, every name known, and no script but ours.
- ``graph_views``: The drawings of a model that a page switches between: original and result, whole, folded, a
  block open.
- ``inspection_page``: What is in a model, as a page: its numbers, operators and layers, and where its work or
  time goes.
- ``markup``: Elements of HTML and SVG as escaped text: names in a model are never trusted.
- ``notebook``: A run as a few cards for a notebook: self-contained, with colours that fit a light and a dark
  page.
- ``risk``: Where a result could go wrong: its worst layers, those that got slower, and the inputs that moved
  most.
- ``rows``: Layers as rows of a table, each with what the passes decided about it, and what tables of layers
  share.
- ``run_page``: Report files become pages: one run with everything about it, or several runs side by side.
- ``sensitivity_page``: What each part of a model costs to compress, as a page: sorted bars at the levels that
  were measured.
- ``summary``: What a run won and what it cost: the cards at the head of a report, and the size after each
  pass.
- ``verdict``: Whether a result can be shipped, and the reasons on which that rests: the first thing a report
  says.
"""

from graphopt.report.html.inspection_page import render_inspection
from graphopt.report.html.notebook import notebook_cards
from graphopt.report.html.run_page import read_report, render_comparison, render_report
from graphopt.report.html.sensitivity_page import render_sensitivity

__all__ = [
    "notebook_cards",
    "read_report",
    "render_comparison",
    "render_inspection",
    "render_report",
    "render_sensitivity",
]
