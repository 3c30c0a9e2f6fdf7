"""The backends graphopt knows, one TOML file each, and what they refuse.

- ``contradictions``: What cannot hold together in a target, found when its file is read.
- ``fitness``: Whether a float model is one that a target runs.
- ``host``: What this machine's processor decides: nothing, unless the result is meant to run here.
- ``profile``: Reads targets from TOML files: graphopt's own, those of other packages, and any file.
- ``runs``: Which backends were run last for the benchmark of targets, in which version and when.
- ``target``: What a backend can do with a quantized or pruned model: plain data.
"""

from graphopt.targets.fitness import misfits
from graphopt.targets.profile import load, names
from graphopt.targets.target import Allowed, Grid, Operators, Target, WeightGrid

__all__ = [
    "Allowed",
    "Grid",
    "Operators",
    "Target",
    "WeightGrid",
    "load",
    "misfits",
    "names",
]
