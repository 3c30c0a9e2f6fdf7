"""The backends graphopt knows, one TOML file each, and what they refuse."""

from graphopt.targets.target import Allowed, Grid, Operators, Target, WeightGrid, load, names
from graphopt.targets.validator import Violation, violations

__all__ = [
    "Allowed",
    "Grid",
    "Operators",
    "Target",
    "Violation",
    "WeightGrid",
    "load",
    "names",
    "violations",
]
