"""What makes a channel important, apart from the default (curves.py): one idea a file.

A criterion yields *members*: the classes along one axis that carries channels, and a score for each, large
for what matters.  ``scores`` makes one importance a class of them.
"""

from graphopt.passes.prune.criteria.grouping import NORMALISERS, REDUCTIONS, scores
from graphopt.passes.prune.criteria.table import CRITERIA, Known, members

__all__ = ["CRITERIA", "NORMALISERS", "REDUCTIONS", "Known", "members", "scores"]
