"""Run a model over samples and reduce the activations of chosen tensors on the way."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt import ir
from graphopt.calibration.cache import identity_of, part_keys
from graphopt.calibration.fused_extremes import poolable
from graphopt.calibration.request import Collected, Request, StatisticSpec, Wanted
from graphopt.calibration.shards import Pass, collect_part, collect_shard
from graphopt.calibration.statistics.base import Statistic
from graphopt.calibration.tensor_groups import tensor_groups
from graphopt.errors import DataError, ModelError
from graphopt.execution import LEAF, Reduction, Shared, Store, Workers, leaves, parts
from graphopt.execution.watch import watched
from graphopt.runtime.session import DEFAULTS, SessionOptions
from graphopt.util.progress import Progress, silent

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Model

TENSOR_BUDGET = 512 * 2**20  # memory: bytes of activations held at a time
_LIKE = 8  # fixed: so many workers, or fewer, cut samples alike where results are kept: they share them


def collect(
    model: Model | str | Path | bytes,
    requests: Wanted | Request,
    samples: Samples,
    options: SessionOptions = DEFAULTS,
    *,
    batch: int = 1,
    progress: Progress | None = None,
    tensor_budget: int = TENSOR_BUDGET,
    allow_nonfinite: bool = False,
    cache: Path | None = None,
    workers: Workers | None = None,
) -> dict[str, list[Any]]:
    """Statistics of named tensors (inputs, inner tensors, outputs) over all samples.

    ``requests`` maps a tensor name to its statistics, each a registered name or class, or a ``StatisticSpec``
    with options, e.g. ``{"x": ["histogram", StatisticSpec.of("channel-moments", axis=-1)]}``; the result has
    the statistics in the same order.
    Each sample's activations are reduced and dropped, so memory does not grow with the number of samples;
    when the wanted activations of one run exceed ``tensor_budget`` bytes, the tensors are split into groups
    with a pass over the data each.
    ``batch`` samples run together where the model allows it.  ``progress(description, iterable, total)``
    wraps the loop over samples.  ``cache`` is a folder of earlier results, found by model, data, request and
    machine; a run that was stopped goes on from it.  ``workers`` share the samples between them: the result
    has the same bits as that of one process.  Raises DataError without samples, and for a tensor with NaN or
    infinite values unless ``allow_nonfinite``; ModelError for a tensor the model does not have.
    """
    model = _as_model(model)
    request = Request.of(requests)
    _refuse_missing(model, request.names)
    if len(samples) == 0:
        raise DataError(f"{samples.source} holds no samples to calibrate with")
    groups = list(_passes(model, request, samples, batch, tensor_budget, options))
    run = _Collection(model, samples, workers or Workers(), cache, progress or silent)
    statistics: dict[str, list[Any]] = {}
    for one in groups:
        statistics |= run.collect(one).statistics
    results = {name: statistics[name] for name in request.names}
    if not allow_nonfinite:
        _refuse_nonfinite(results)
    return results


class _Collection:
    """A model and samples, and who collects what of them."""

    def __init__(
        self, model: Model, samples: Samples, workers: Workers, cache: Path | None, progress: Progress
    ) -> None:
        self._given, self._samples = model, samples
        self._workers, self._progress = workers, progress
        self._store = Store(cache)
        self._model: Shared[Model] = workers.share(model, _model_bytes, ir.from_bytes)
        self._shared: Shared[Samples] = workers.share(samples, pickle.dumps, pickle.loads)

    def collect(self, one: Pass) -> Collected:
        """The statistics of one group of tensors."""
        if self._workers.is_local:
            one = replace(one, options=_share(one.options, self._workers.count))
        count = leaves(len(self._samples))
        if self._store.folder is None:
            if self._workers.is_here:
                return collect_part(self._model, self._shared, one, 0, count, self._progress)
            return self._reduce(one, self._cut(one, self._workers.count), None)
        cut = self._cut(one, max(_LIKE, self._workers.count))
        identity = identity_of(self._given, self._samples, one.request, (one.batch, one.options))
        key, keys = part_keys(identity, self._shared, len(self._samples), cut, self._workers)
        stored = self._read(one.request, key)
        if stored is None:
            stored = self._reduce(one, cut, keys)
            self._store.put(key, stored.to_bytes())
            for each in keys:
                self._store.drop(each)
        return stored

    def _cut(self, one: Pass, workers: int) -> list[tuple[int, int]]:
        return parts(leaves(len(self._samples)), workers, heavy=one.request.is_heavy)

    def _reduce(self, one: Pass, cut: list[tuple[int, int]], keys: list[str] | None) -> Collected:
        """Collect the parts that are not kept, and add up all of them."""
        total: Reduction[Collected] = Reduction(leaves(len(self._samples)))
        missing = []
        for number, (first, size) in enumerate(cut):
            kept = None if keys is None else self._read(one.request, keys[number])
            if kept is None:
                missing.append(number)
            else:
                total.add(first, size, kept)
        for number, content in self._run(one, [cut[number] for number in missing]):
            if keys is not None:
                self._store.put(keys[missing[number]], content)
            total.add(*cut[missing[number]], Collected.from_bytes(one.request, content))
        return total.result()

    def _run(self, one: Pass, cut: list[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
        calls = [(self._model, self._shared, one, first, size) for first, size in cut]
        sizes = [min(size * LEAF, len(self._samples) - first * LEAF) for first, size in cut]
        results = self._workers.map(collect_shard, calls)
        return watched(self._progress, "calibrating", self._workers, results, sizes)

    def _read(self, request: Request, key: str) -> Collected | None:
        content = self._store.get(key)
        try:
            return None if content is None else Collected.from_bytes(request, content)
        except (ValueError, KeyError):
            return None  # written by another version: it is computed and written anew


def _share(options: SessionOptions, workers: int) -> SessionOptions:
    """The options of sessions when so many processes share the threads; results do not depend on threads."""
    return replace(options, threads=max(1, options.threads // workers))


def _model_bytes(model: Model) -> bytes:
    return model.to_bytes()


def _passes(
    model: Model, request: Request, samples: Samples, batch: int, budget: int, options: SessionOptions
) -> Iterator[Pass]:
    """The passes over samples that collect a request, each with tensors that fit the memory together."""
    feeds = next(iter(samples)).feeds
    inputs = {port.name for port in model.signature.inputs}
    specs = dict(request.tensors)
    for names in tensor_groups(model, list(request.names), feeds, budget // batch, options.custom_ops):
        enough = [name for name in names if name not in inputs and all(map(_looks_for_largest, specs[name]))]
        pooled = poolable(model, enough, feeds) if enough else []
        yield Pass(request.part(names), tuple(pooled), batch, options)


def _looks_for_largest(spec: StatisticSpec) -> bool:
    """Whether the largest value of each channel is all that it needs."""
    return spec.name == "range" and dict(spec.options).get("floor") is not None


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
