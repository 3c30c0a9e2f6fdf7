"""Operators without a right gradient, written with those that have one.

- ``activations``: Activations without a gradient, written with operators that have one.
- ``layers``: Layers whose gradient is missing or wrong, written with those whose gradient is right.
- ``reductions``: Reductions, pools, normalisations and sums, written with operators that have a gradient.
- ``resampling``: Operators that only move values, written with Reshape, Transpose, Expand, Gather and
  constant matrices.
- ``rewrites``: Rewrite what trainers lack a gradient for, and say what is left without one.
- ``single``: Run one node alone.
"""
