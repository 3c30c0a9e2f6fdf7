"""The largest value of each channel, found within the run.

Handing an activation out of onnxruntime costs more than computing it: fused layers keep it in a layout of
their own.  A pool reads that layout, and hands out one number a channel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphopt import ir
from graphopt.ir.analysis.facts import gather_facts
from graphopt.runtime import Session

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.runtime.session import Feeds, SessionOptions

LARGEST, MEAN = "GlobalMaxPool", "GlobalAveragePool"  # the first may pass over NaN, the second never does


class PooledSession:
    """A session that hands out the largest value of each channel in place of some tensors.

    A tensor with NaN or infinite values comes whole.
    """

    def __init__(
        self, model: Model, outputs: Sequence[str], pooled: Sequence[str], options: SessionOptions
    ) -> None:
        self._model, self._names, self._options = model, pooled, options
        self._whole: Session | None = None
        with_pools = model.copy()
        tensors = _tensors(with_pools)
        self._pools = {
            name: [with_pools.graph.add_node(op, [tensors[name]]).output.name for op in (LARGEST, MEAN)]
            for name in pooled
        }
        rest = [name for name in outputs if name not in self._pools]
        pools = [name for pair in self._pools.values() for name in pair]
        self._session = Session(with_pools, options, outputs=[*rest, *pools])

    def run(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """Arrays by name, those of pooled tensors in the shape [batch, channels, 1, ...]; see ``Session``."""
        values = self._session.run(feeds)
        largest = {}
        for name, pair in self._pools.items():
            largest[name], mean = (values.pop(pool) for pool in pair)
            if not (np.isfinite(largest[name]).all() and np.isfinite(mean).all()):
                return {**values, **self._run_whole(feeds)}
        return {**values, **largest}

    def _run_whole(self, feeds: Feeds) -> dict[str, np.ndarray]:
        if self._whole is None:
            self._whole = Session(self._model, self._options, outputs=self._names)
        return self._whole.run(feeds)


def poolable(model: Model, names: Iterable[str], feeds: Feeds) -> list[str]:
    """Those of the tensors that a pool takes: float32 [batch, channel, ...] with more than one position."""
    tensors = _tensors(model)
    facts = gather_facts(model, {name: array.shape for name, array in feeds.items()})
    return [
        name
        for name in names
        if facts.dtype(tensors[name]) == np.float32 and _has_positions(facts.shape(tensors[name]))
    ]


def _tensors(model: Model) -> dict[str, ir.Tensor]:
    return {tensor.name: tensor for node in model.graph.nodes for tensor in node.outputs}


def _has_positions(shape: Sequence[int | str | None] | None) -> bool:
    return shape is not None and len(shape) > 2 and any(size != 1 for size in shape[2:])
