"""The backends graphopt knows, one TOML file each, and what they refuse.

- ``host``: What this machine's processor decides: nothing, unless the result is meant to run here.
- ``target``: What a backend can do with a quantized or pruned model: plain data, read from one TOML file
  each.
"""

from graphopt.targets.target import Allowed, Grid, Operators, Target, WeightGrid, load, names

__all__ = [
    "Allowed",
    "Grid",
    "Operators",
    "Target",
    "WeightGrid",
    "load",
    "names",
]
