"""Reports as one self-contained page: every text escaped, every plot drawn, nothing loaded from elsewhere.

- ``charts``: Drawings on the pages: plots, curves and the graph of a model, as SVG.
- ``costs``: The layers of an inspection as rows of a table and nodes of a drawing, shaded by what they cost.
- ``environment``: Templates of pages: every text escaped, every name known, and no script but ours.
- ``graph_views``: The drawings of a model that a page switches between: original and result, whole, folded, a
  block open.
- ``markup``: Elements of HTML and SVG as escaped text: names in a model are never trusted.
- ``notebook``: A run as a few cards for a notebook: self-contained, with colours that fit a light and a dark
  page.
- ``pages``: Whole pages, each made of plain values.
- ``risk``: Where a result could go wrong: its worst layers, those that got slower, and the inputs that moved
  most.
- ``rows``: Layers as rows of a table, each with what the passes decided about it, and what tables of layers
  share.
- ``summary``: What a run won and what it cost: the cards at the head of a report, and the size after each
  pass.
- ``verdict``: Whether a result can be shipped, and the reasons on which that rests: the first thing a report
  says.
"""

from graphopt.report.html.notebook import notebook_cards
from graphopt.report.html.pages.front_page import render_front
from graphopt.report.html.pages.inspection_page import render_inspection
from graphopt.report.html.pages.run_page import read_report, render_comparison, render_report
from graphopt.report.html.pages.sensitivity_page import render_sensitivity

__all__ = [
    "notebook_cards",
    "read_report",
    "render_comparison",
    "render_front",
    "render_inspection",
    "render_report",
    "render_sensitivity",
]
