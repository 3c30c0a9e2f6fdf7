"""The teacher: a session that answers batches of any size, and what can be said of its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from graphopt.errors import DataError, ModelError

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.pipeline import Context


class Answers:
    """Runs a model for some of its tensors; a model whose batch is fixed is asked in pieces.

    ``names`` are the inputs in the order of the arrays that ``run`` takes; ``rows`` go together at most.
    """

    def __init__(
        self,
        model: Model,
        names: Sequence[str],
        tensors: Sequence[str],
        ctx: Context,
        rows: int | None = None,
    ) -> None:
        self._session = ctx.session(model, outputs=list(dict.fromkeys(tensors)))
        self._names = tuple(names)
        ports = {port.name: port for port in model.signature.inputs}
        self._dtypes = {name: ports[name].dtype for name in names}
        self._rows: int | None = None  # how many at a time, when it turned out that there is a limit
        self._most = rows
        self._limits = [
            port.shape[0]
            for port in ports.values()
            if port.shape and isinstance(port.shape[0], int) and port.shape[0] > 0
        ]

    def run(self, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """The tensors as float32, for arrays with equal first axes.  Raises DataError for NaN."""
        count = len(arrays[0])
        rows = self._rows or (self._limits[0] if self._limits else min(count, self._most or count))
        try:
            return self._pieces(arrays, count, rows)
        except (ModelError, DataError):
            if rows == 1 or self._rows is not None:
                raise
            self._rows = 1  # some models are written for one sample without saying so
            return self._pieces(arrays, count, 1)

    def _pieces(self, arrays: Sequence[np.ndarray], count: int, rows: int) -> dict[str, np.ndarray]:
        pieces = []
        for start in range(0, count, rows):
            feeds = {
                name: np.ascontiguousarray(array[start : start + rows].astype(self._dtypes[name], copy=False))
                for name, array in zip(self._names, arrays, strict=True)
            }
            pieces.append(_checked(self._session.run(feeds), len(next(iter(feeds.values())))))
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _checked(outputs: Mapping[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
    made = {}
    for name, value in outputs.items():
        if not isinstance(value, np.ndarray) or value.ndim == 0 or len(value) != rows:
            raise DataError(f"{name} has not one row for each sample, so nothing can be trained towards it")
        wide = value.astype(np.float32)
        if not np.isfinite(wide).all():
            raise DataError(
                f"the teacher answers NaN or infinity in {name}", hint="look for it in the samples"
            )
        made[name] = wide
    return made
