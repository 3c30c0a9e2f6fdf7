"""The awkward little models: generators for tests of the graph layer and of the passes.

`ROUND_TRIP` holds one construct per model, for loading and saving without loss; `NUMERIC` holds models that
are executed before and after passes. Both are tuples of `Case`; `case(name)` finds one. `unmet` compares a
model that went through ``clean,fold-bn`` with what its case expects. `random_cnn` draws small networks.
`write_external` and `write_large_external` put models with weights beside them into a folder.
"""

from __future__ import annotations

from itertools import chain

from tests.corpus import activations, affine, control, elimination, folding, noops, padding, structure
from tests.corpus._case import Case, count_ops, graphs, random_feeds, unmet
from tests.corpus.files import attachments, storage
from tests.corpus.files.external import inline_model, write_external, write_large_external
from tests.corpus.networks import networks
from tests.corpus.networks.random_cnn import random_cnn
from tests.corpus.normalisation import after, before, stays

_ROUND_TRIP_THEMES = (attachments, storage, structure)
_NUMERIC_THEMES = (
    after,
    before,
    stays,
    affine,
    padding,
    elimination,
    noops,
    folding,
    control,
    activations,
    networks,
)
ROUND_TRIP: tuple[Case, ...] = tuple(chain.from_iterable(theme.cases for theme in _ROUND_TRIP_THEMES))
NUMERIC: tuple[Case, ...] = tuple(chain.from_iterable(theme.cases for theme in _NUMERIC_THEMES))
_BY_NAME = {known.name: known for known in (*ROUND_TRIP, *NUMERIC)}


def case(name: str) -> Case:
    """Find a case by its name; raises KeyError."""
    return _BY_NAME[name]


__all__ = [
    "NUMERIC",
    "ROUND_TRIP",
    "Case",
    "case",
    "count_ops",
    "graphs",
    "inline_model",
    "random_cnn",
    "random_feeds",
    "unmet",
    "write_external",
    "write_large_external",
]
