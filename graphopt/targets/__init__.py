"""The backends graphopt knows, one TOML file each, and what they refuse."""

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
