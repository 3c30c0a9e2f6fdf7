"""Everything in a graph that computes nothing, or the same thing twice, or a thing known beforehand.

- ``clean``: The pass: rounds of small rules until none finds anything.
- ``folding``: What depends on nothing but constants is computed once and stored, as far as the file may grow.
- ``rules``: Small rewrites that keep the function, one idea a file.
"""

from graphopt.passes.clean.clean import Clean

__all__ = ["Clean"]
