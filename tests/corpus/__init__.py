"""The awkward little models: generators for tests of the graph layer and of the passes.

`ROUND_TRIP` holds one construct per model, for loading and saving without loss; `NUMERIC` holds models that
are executed before and after passes. Both are tuples of `Case`; `case(name)` finds one. `unmet` compares a
model that went through ``clean,fold-bn`` with what its case expects. `random_cnn` draws small networks.
"""

from __future__ import annotations

from itertools import chain

from . import (
    activations,
    affine,
    bn_after,
    bn_before,
    bn_stays,
    control,
    elimination,
    folding,
    networks,
    noops,
    padding,
)
from ._case import Case, count_ops, graphs, random_feeds, unmet
from .random_cnn import random_cnn

_NUMERIC_THEMES = (
    bn_after,
    bn_before,
    bn_stays,
    affine,
    padding,
    elimination,
    noops,
    folding,
    control,
    activations,
    networks,
)
NUMERIC: tuple[Case, ...] = tuple(chain.from_iterable(theme.cases for theme in _NUMERIC_THEMES))
_BY_NAME = {known.name: known for known in NUMERIC}


def case(name: str) -> Case:
    """Find a case by its name; raises KeyError."""
    return _BY_NAME[name]


__all__ = ["NUMERIC", "Case", "case", "count_ops", "graphs", "random_cnn", "random_feeds", "unmet"]
