"""What makes a channel important, apart from the default (obs.py): one idea a file.

A criterion yields *members*: the classes along one axis that carries channels, and a score for each, large
for what matters.  ``scores`` makes one importance a class of them.

- ``activations``: Importance of what a channel carries on samples: its energy, and how much it varies.
- ``chance``: Importance by the dice: what every criterion has to beat.
- ``filters``: Importance of the filters that make a channel: their norms, and how far they are from all
  others.
- ``grouping``: One importance for each class of coupled channels, from the scores of its members.
- ``normalised``: Importance from batch normalisation: |gamma|, the scale that each channel was given in
  training.
- ``table``: The criteria by name: ours, and those that other packages add.
"""

from graphopt.passes.prune.importance.criteria.grouping import NORMALISERS, REDUCTIONS, scores
from graphopt.passes.prune.importance.criteria.table import (
    CRITERIA,
    Criterion,
    Evidence,
    criteria,
    criterion,
)

__all__ = [
    "CRITERIA",
    "NORMALISERS",
    "REDUCTIONS",
    "Criterion",
    "Evidence",
    "criteria",
    "criterion",
    "scores",
]
