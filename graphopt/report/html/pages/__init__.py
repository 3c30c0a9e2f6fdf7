"""Whole pages, each made of plain values.

- ``comparison_page``: Several runs side by side: their numbers, which of them no other beats, and what they
  did to each layer.
- ``front_page``: A front as a page: its points to choose from, what each changes in which layer, and its
  command.
- ``inspection_page``: What is in a model, as a page: its numbers, operators and layers, and where its work or
  time goes.
- ``run_page``: Report files become pages: one run with everything about it, or several runs side by side.
- ``sensitivity_page``: What each part of a model costs to compress, as a page: sorted bars at the levels that
  were measured.
"""
