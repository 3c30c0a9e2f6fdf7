"""The engine feeds every sample to every statistic, in constant memory, whatever the grouping."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from graphopt import data, ir
from graphopt.calibration import ChannelMoments, Histogram, Range, StatisticSpec, collect, shards
from graphopt.calibration.tensor_groups import tensor_groups
from graphopt.errors import DataError, ModelError
from graphopt.runtime import SessionOptions


def model(batch: int | str = "N", op: str = "Sqrt") -> ir.Model:
    """x [N, 3, H, W] -> Relu -> r -> Sqrt -> y."""
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["r"]), helper.make_node(op, ["r"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, "H", "W"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ir.from_bytes(proto.SerializeToString())


def arrays(count: int = 7, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 6, 5)).astype(np.float32)


def samples_of(net: ir.Model, values: np.ndarray) -> data.Samples:
    return data.from_arrays({"x": values}, net.signature.inputs)


REQUESTS: dict[str, list[type]] = {"x": [Range], "r": [Histogram, ChannelMoments], "y": [Range]}


def test_statistics_are_those_of_the_activations() -> None:
    net, values = model(), arrays()
    results = collect(net, REQUESTS, samples_of(net, values))
    relu = np.maximum(values, 0)
    assert list(results) == list(REQUESTS)
    assert (results["x"][0].minimum, results["x"][0].maximum) == (values.min(), values.max())
    histogram, moments = results["r"]
    assert histogram.counts.sum() == values.size and histogram.maximum == relu.max()
    np.testing.assert_allclose(moments.mean, relu.mean(axis=(0, 2, 3), dtype=np.float64), rtol=1e-12)
    assert results["y"][0].maximum == np.sqrt(relu.max())


@pytest.mark.parametrize(
    "options", [{"batch": 3}, {"tensor_budget": 1}, {"options": SessionOptions(threads=2)}, {"batch": 100}]
)
def test_batches_groups_and_threads_do_not_change_the_result(options: dict[str, Any]) -> None:
    net, samples = model(), samples_of(model(), arrays())
    expected = collect(net, REQUESTS, samples)
    results = collect(net, REQUESTS, samples, **options)
    for name, statistics in expected.items():
        for one, two in zip(statistics, results[name], strict=True):
            for key, value in one.state().items():
                np.testing.assert_allclose(two.state()[key], value, rtol=1e-12, atol=1e-25)


def test_a_batch_of_one_in_the_file_is_respected() -> None:
    net = model(batch=1)
    results = collect(net, {"r": [Histogram]}, samples_of(net, arrays()), batch=4)
    assert results["r"][0].counts.sum() == arrays().size


def test_a_tensor_without_a_row_for_each_sample_is_not_stacked() -> None:
    net = model()
    summed = net.graph.add_node("ReduceSum", [net.graph.outputs[0]], {"keepdims": 0}).output
    results = collect(net, {summed.name: [Range]}, samples_of(net, arrays()), batch=4)
    sums = np.sqrt(np.maximum(arrays(), 0)).sum(axis=(1, 2, 3))
    assert results[summed.name][0].maximum == pytest.approx(sums.max(), rel=1e-5)


class Ragged:
    """Samples of different sizes."""

    source = "ragged"

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Any]:
        for size in self.sizes:
            yield data.Sample({"x": np.full((1, 3, size, 2), size, np.float32)}, None)

    def batches(self, size: int) -> Iterator[data.Batch]:
        return (data.Batch(sample.feeds, None, 1) for sample in self)


def test_samples_may_differ_in_size() -> None:
    histogram = collect(model(), {"r": [Histogram]}, Ragged([3, 9, 1]))["r"][0]  # type: ignore[arg-type]
    assert (histogram.minimum, histogram.maximum, histogram.counts.sum()) == (1, 9, 6 * 13)


def test_memory_does_not_grow_with_the_samples() -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        collect(model(), {"r": [Histogram]}, Ragged([200] * count))  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(2)
    assert peak(60) < peak(6) + 10_000


def test_progress_wraps_the_samples() -> None:
    seen: list[tuple[str, int | None]] = []

    def progress(description: str, iterable: Iterable[Any], total: int | None) -> Iterable[Any]:
        seen.append((description, total))
        return iterable

    net = model()
    collect(net, REQUESTS, samples_of(net, arrays(5)), batch=2, progress=progress)
    assert seen == [("calibrating", 3)]


def test_tensors_are_grouped_by_their_size() -> None:
    net, feeds = model(), {"x": np.zeros((1, 3, 10, 10), np.float32)}
    assert tensor_groups(net, ["r", "y"], feeds, 2400) == [["r", "y"]]
    assert tensor_groups(net, ["r", "y"], feeds, 2399) == [["r"], ["y"]]


def test_sizes_that_cannot_be_inferred_are_measured() -> None:
    net = model()
    found = net.graph.add_node("NonZero", [net.graph.outputs[0]]).output
    feeds = {"x": np.ones((1, 3, 10, 10), np.float32)}  # 300 nonzeros with 4 indices of 8 bytes
    before = [node.op for node in net.graph.nodes]
    assert tensor_groups(net, ["r", found.name], feeds, 1200 + 9600) == [["r", found.name]]
    assert tensor_groups(net, ["r", found.name], feeds, 1200 + 4800 - 1) == [["r"], [found.name]]
    assert [node.op for node in net.graph.nodes] == before


def test_activations_that_are_not_finite_name_the_tensor() -> None:
    net = model(op="Log")
    with pytest.raises(DataError, match=r"tensor y .*NaN or infinite"):
        collect(net, REQUESTS, samples_of(net, arrays()))
    results = collect(net, REQUESTS, samples_of(net, arrays()), allow_nonfinite=True)
    assert results["y"][0].nonfinite == np.count_nonzero(arrays() <= 0)


def test_a_statistic_that_does_not_fit_names_the_tensor() -> None:
    net = model()
    with pytest.raises(DataError, match="the tensor r of shape"):
        collect(net, {"r": [StatisticSpec.of("channel-moments", axis=7)]}, samples_of(net, arrays()))


def test_unknown_tensors_and_missing_samples_are_refused() -> None:
    net = model()
    with pytest.raises(ModelError, match="no tensor nothing"):
        collect(net, {"nothing": [Range]}, samples_of(net, arrays()))
    with pytest.raises(DataError, match="no samples"):
        collect(net, {"r": [Range]}, samples_of(net, arrays()).take(0))


def test_a_cached_result_is_the_same_and_needs_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, samples = model(), samples_of(model(), arrays())
    first = collect(net, REQUESTS, samples, cache=tmp_path)
    monkeypatch.setattr(shards, "Session", None)
    second = collect(net, REQUESTS, samples, cache=tmp_path)
    for name, statistics in first.items():
        for one, two in zip(statistics, second[name], strict=True):
            for key, value in one.state().items():
                np.testing.assert_array_equal(two.state()[key], value)
    assert len(list(tmp_path.iterdir())) == 1


def test_the_cache_distinguishes_model_data_and_request(tmp_path: Path) -> None:
    net, samples = model(), samples_of(model(), arrays())
    collect(net, {"r": [Histogram]}, samples, cache=tmp_path)
    collect(model(op="Sin"), {"r": [Histogram]}, samples, cache=tmp_path)
    collect(net, {"r": [Histogram]}, samples_of(net, arrays(seed=1)), cache=tmp_path)
    collect(net, {"r": [StatisticSpec.of("histogram", bins=64)]}, samples, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_damaged_cache_file_is_computed_anew(tmp_path: Path) -> None:
    net, samples = model(), samples_of(model(), arrays())
    expected = collect(net, {"r": [Histogram]}, samples, cache=tmp_path)["r"][0]
    (file,) = tmp_path.iterdir()
    for content in (b"", file.read_bytes()[:-200]):
        file.write_bytes(content)
        again = collect(net, {"r": [Histogram]}, samples, cache=tmp_path)["r"][0]
        np.testing.assert_array_equal(again.counts, expected.counts)
    assert file.stat().st_size > 200
