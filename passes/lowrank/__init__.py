"""Low-rank decomposition: `lowrank` replaces layers by thinner ones behind each other.

In the order of a run: ``layers``, ``ways``, ``ranks``, the plan, ``fit``.

- ``fit``: Carry a plan out: put the parts in, fitted to what the original computed.
- ``layers``: The layers that can be split, and what the samples say about them.
- ``lowrank``: Replace layers by thinner ones behind each other.
- ``plan``: Write a choice down so that it can be read, edited and replayed; and read it back.
- ``ranks``: What each layer could become at which price, and the rules that choose.
- ``report``: Say for every weighted layer what happened to it, or why nothing did.
- ``solve``: Decompositions and their ranks: white coordinates, splits in two, CP, variational Bayes.
- ``trials``: What sensitivity tries: each layer alone, in the way that suits it best, at several ranks.
- ``ways``: All the ways to split a layer, by name.
"""

from graphopt.passes.lowrank.lowrank import LowRank

__all__ = ["LowRank"]
