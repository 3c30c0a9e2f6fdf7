"""Run a model over samples and reduce the activations of chosen tensors on the way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt import ir
from graphopt.calibration.cache import cache_key, load_cached, store_cached
from graphopt.calibration.fused_extremes import PooledSession, poolable
from graphopt.calibration.statistics.base import Factory, Statistic
from graphopt.calibration.statistics.range import Range
from graphopt.calibration.statistics.table import make_statistic
from graphopt.calibration.tensor_groups import tensor_groups
from graphopt.errors import DataError, ModelError
from graphopt.runtime.in_order import in_order
from graphopt.runtime.session import DEFAULTS, Session, SessionOptions
from graphopt.util.progress import Progress

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Model

TENSOR_BUDGET = 512 * 2**20  # memory: bytes of activations held at a time


def collect(
    model: Model | str | Path | bytes,
    requests: Mapping[str, Sequence[Factory | str]],
    samples: Samples,
    options: SessionOptions = DEFAULTS,
    *,
    batch: int = 1,
    progress: Progress | None = None,
    tensor_budget: int = TENSOR_BUDGET,
    allow_nonfinite: bool = False,
    cache: Path | None = None,
) -> dict[str, list[Any]]:
    """Statistics of named tensors (inputs, inner tensors, outputs) over all samples.

    ``requests`` maps a tensor name to its statistics, each a registered name or what makes one, e.g.
    ``{"x": ["histogram", lambda: ChannelMoments(-1)]}``; the result has the statistics in the same order.
    Each sample's activations are reduced and dropped, so memory does not grow with the number of samples;
    when the wanted activations of one run exceed ``tensor_budget`` bytes, the tensors are split into groups
    with a pass over the data each.
    ``batch`` samples run together where the model allows it.  ``progress(description, iterable, total)``
    wraps the loop over samples.  ``cache`` is a folder of earlier results, found by model, data, request and
    machine.  Raises DataError without samples, and for a tensor with NaN or infinite values unless
    ``allow_nonfinite``; ModelError for a tensor the model does not have.
    """
    model = _as_model(model)
    results: dict[str, list[Any]] = {
        name: [make_statistic(make) for make in makers] for name, makers in requests.items()
    }
    _refuse_missing(model, results)
    if len(samples) == 0:
        raise DataError(f"{samples.source} holds no samples to calibrate with")
    path = None
    if cache is not None:
        setting = [str(options.threads), str(batch), options.provider]
        path = cache / f"{cache_key(model, samples, results, setting)}.npz"
    if path is None or not load_cached(path, results):
        for group in _groups(model, results, samples, tensor_budget // batch, options.custom_ops):
            _Run(model, group, samples, batch, options).reduce(progress)
        if path is not None:
            store_cached(path, results)
    if not allow_nonfinite:
        _refuse_nonfinite(results)
    return results


class _Run:
    """One pass over the samples for one group of tensors."""

    def __init__(
        self,
        model: Model,
        group: Mapping[str, Sequence[Statistic]],
        samples: Samples,
        batch: int,
        options: SessionOptions,
    ) -> None:
        self.group = group
        self.samples = samples
        inputs = {port.name for port in model.signature.inputs}
        computed = [name for name in group if name not in inputs]
        self.session = self._open(model, computed, options) if computed else None
        self._at_once = options.samples_at_once if computed else 1
        self.batch = batch if batch > 1 and self._can_stack(batch) else 1

    def _open(
        self, model: Model, computed: Sequence[str], options: SessionOptions
    ) -> Session | PooledSession:
        enough = [name for name in computed if all(map(_looks_for_largest, self.group[name]))]
        pooled = poolable(model, enough, next(iter(self.samples)).feeds) if enough else []
        if pooled:
            return PooledSession(model, computed, pooled, options)
        return Session(model, options, outputs=computed)

    def reduce(self, progress: Progress | None) -> None:
        """Update the statistics with every sample."""
        batches: Iterable[Any] = self.samples.batches(self.batch)
        if progress is not None:
            total = -(-len(self.samples) // self.batch)
            batches = progress("calibrating", batches, total)
        answers = in_order(lambda stacked: self._values(stacked.feeds), batches, self._at_once)
        for stacked, values in answers:
            self._update(values, stacked.samples)
            del values  # before the next ones are waited for

    def _update(self, values: Mapping[str, np.ndarray], count: int) -> None:
        for name, statistics in self.group.items():
            for sample in _split(values[name], count):
                for statistic in statistics:
                    _update_named(statistic, name, sample)

    def _values(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        computed = self.session.run(feeds) if self.session is not None else {}
        return {**feeds, **computed}

    def _can_stack(self, batch: int) -> bool:
        """Whether the model runs on stacked samples and every wanted tensor keeps one row for each."""
        first = next(iter(self.samples.batches(batch)))
        try:
            values = self._values(first.feeds)
        except (ModelError, DataError):
            return False  # its batch size is fixed; should it fail on single samples too, that run says so
        return all(values[n].ndim > 0 and values[n].shape[0] == first.samples for n in self.group)


def _looks_for_largest(statistic: Statistic) -> bool:
    """Whether the largest value of each channel is all that it needs."""
    return isinstance(statistic, Range) and statistic.floor is not None


def _split(values: np.ndarray, count: int) -> Iterator[np.ndarray]:
    """The tensor of each sample, with its leading 1."""
    if count == 1:
        yield values
        return
    for index in range(count):
        yield values[index : index + 1]


def _update_named(statistic: Statistic, name: str, values: np.ndarray) -> None:
    try:
        statistic.update(values)
    except DataError as error:
        raise DataError(f"the tensor {name} {error}", hint=error.hint) from error


def _groups(
    model: Model,
    results: Mapping[str, Sequence[Statistic]],
    samples: Samples,
    budget: int,
    custom_ops: Sequence[str],
) -> Iterator[dict[str, Sequence[Statistic]]]:
    feeds = next(iter(samples)).feeds
    for names in tensor_groups(model, list(results), feeds, budget, custom_ops):
        yield {name: results[name] for name in names}


def _as_model(model: Model | str | Path | bytes) -> Model:
    if isinstance(model, bytes):
        return ir.from_bytes(model)
    return ir.load(Path(model)) if isinstance(model, str | Path) else model


def _refuse_missing(model: Model, names: Iterable[str]) -> None:
    present = {tensor.name for node in model.graph.nodes for tensor in node.outputs}
    signature = model.signature
    present |= {port.name for port in (*signature.inputs, *signature.defaults)}
    for name in names:
        if name not in present:
            raise ModelError(
                f"the model computes no tensor {name} outside its subgraphs", hint="ask for a tensor it has"
            )


def _refuse_nonfinite(results: Mapping[str, Sequence[Statistic]]) -> None:
    bad = {name: max(s.nonfinite for s in of) for name, of in results.items() if any(s.nonfinite for s in of)}
    if not bad:
        return
    name, count = next(iter(bad.items()))
    others = f" (and {len(bad) - 1} other tensors)" if len(bad) > 1 else ""
    raise DataError(
        f"the tensor {name}{others} holds {count} NaN or infinite values on the calibration samples",
        hint="check the preprocessing, or leave the nodes around it out of the pass",
    )
