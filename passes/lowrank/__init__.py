"""Low-rank decomposition: `lowrank` replaces layers by thinner ones behind each other.

In the order of a run: survey (layer, stage) -> study -> offers (candidates, ways: channel, spatial, tucker,
canonical) -> rules (choice, latency, search) -> plan -> carry (fitting, surgery).
"""

from graphopt.passes.lowrank.lowrank import LowRank

__all__ = ["LowRank"]
