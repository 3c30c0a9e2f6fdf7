"""Low-rank decomposition: `lowrank` replaces layers by thinner ones behind each other.

In the order of a run: ``layers`` (what there is and what it reads), ``ways`` (how a layer can be split),
``ranks`` (what each split costs, and the rules that choose), the plan, ``fit`` (carry it out).
"""

from graphopt.passes.lowrank.lowrank import LowRank

__all__ = ["LowRank"]
