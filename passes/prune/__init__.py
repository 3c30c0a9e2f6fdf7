"""Channel pruning: `prune` removes whole channels with everything coupled to them.

In the order of a run: ``attention`` -> ``coupling`` -> ``importance`` -> ``selection`` -> plan ->
``repair`` -> ``surgery``.

- ``attention``: Attention made ready for lowering its ranks: a basis in which the last channels of each head
  matter least.
- ``coupling``: Which channels of a model can only go together, found by following channel ids through the
  graph.
- ``fingerprint``: Tell one state of a model from another, so that what was found out about it is found out
  once.
- ``importance``: What a channel is worth.
- ``options``: What can be asked of ``prune``.
- ``plan``: Choose what to remove, and write the choice down so that it can be read, edited and replayed.
- ``prune``: Remove whole channels from a model.
- ``repair``: The remaining weights fitted to what the original computed.
- ``report``: Say for every weighted layer what happened to it, or why nothing did.
- ``scope``: Which layers the user wants pruned, and how far: names, patterns, operator types, places.
- ``selection``: Which channels go: rules, goals, and what the model costs without them.
- ``surgery``: A choice of channels carried out on the graph.
"""

from graphopt.passes.prune.prune import Prune

__all__ = ["Prune"]
