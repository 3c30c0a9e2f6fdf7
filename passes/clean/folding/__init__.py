"""What depends on nothing but constants is computed once and stored, as far as the file may grow.

- ``budget``: How far folding may let the file grow: to the size that it began with, and ``fold_limit`` bytes
  more.
- ``constants``: Constants: lift them out of nodes, and compute beforehand what depends on nothing else.
- ``defaults``: Bake the defaults of inputs.
- ``evaluation``: Compute what a model of constants yields.
"""
