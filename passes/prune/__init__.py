"""Channel pruning: `prune` removes whole channels with everything coupled to them.

In the order of a run: facts -> walk (ledger, weighted, pointwise, movers, sizes) -> coupling -> cells ->
importance -> plan -> surgery (edits).
"""

from graphopt.passes.prune.prune import Prune

__all__ = ["Prune"]
