"""The awkward little models: generators for tests of the graph layer and of the passes.

`ROUND_TRIP` holds one construct per model, for loading and saving without loss; `NUMERIC` holds models that
are executed before and after passes. Both are tuples of `Case`; `case(name)` finds one. `unmet` compares a
model that went through ``clean,fold-bn`` with what its case expects. `random_cnn` draws small networks.
"""

from __future__ import annotations

from . import bn_after, bn_before, bn_stays
from ._case import Case, count_ops, graphs, random_feeds, unmet

NUMERIC: tuple[Case, ...] = (*bn_after.cases, *bn_before.cases, *bn_stays.cases)

__all__ = ["NUMERIC", "Case", "count_ops", "graphs", "random_feeds", "unmet"]
