"""The backends graphopt knows, one TOML file each."""

from graphopt.targets.target import Grid, Operators, Target, WeightGrid, load, names

__all__ = ["Grid", "Operators", "Target", "WeightGrid", "load", "names"]
