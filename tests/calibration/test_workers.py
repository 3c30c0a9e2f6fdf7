"""Who collects what changes no bit of it, and what was collected before is not collected again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from graphopt import data, ir
from graphopt.calibration import Patches, StatisticSpec, collect, collector, shards
from graphopt.errors import DataError
from graphopt.execution import LEAF, Workers, open_workers

SAMPLES = 5 * LEAF + 7
PATCHES = Patches("Conv", (3, 3), (1, 1), (1, 1), (1, 1, 1, 1))
WANTED: dict[str, list[Any]] = {
    "x": ["range", StatisticSpec.of("gram", patches=PATCHES, seed=1)],
    "r": ["histogram", "sample-ranges", StatisticSpec.of("channel-moments", axis=1), "channel-range"],
}


def network() -> ir.Model:
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4), helper.make_node("Relu", ["c"], ["r"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("r", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ir.from_bytes(proto.SerializeToString())


def samples_of(model: ir.Model, count: int = SAMPLES) -> data.Samples:
    values = np.random.default_rng(1).normal(size=(count, 3, 8, 8)).astype(np.float32)
    return data.from_arrays({"x": values}, model.signature.inputs)


def bits(results: dict[str, list[Any]]) -> dict[str, list[dict[str, bytes]]]:
    return {
        name: [{key: value.tobytes() for key, value in one.state().items()} for one in of]
        for name, of in results.items()
    }


class Shuffled(Workers):
    """Workers of this process that answer in another order, as if there were many."""

    def __init__(self, count: int, seed: int) -> None:
        super().__init__()
        self._count, self._seed = count, seed

    count = property(lambda self: self._count)  # type: ignore[assignment]
    is_here = False  # type: ignore[assignment]

    def map(self, function: Any, calls: Any) -> Any:
        order = np.random.default_rng(self._seed).permutation(len(calls))
        return ((int(number), function(*calls[number])) for number in order)


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
def test_any_number_of_workers_in_any_order_collects_the_same_bits(count: int, batch: int) -> None:
    model = network()
    samples = samples_of(model)
    expected = bits(collect(model, WANTED, samples, batch=batch))
    assert bits(collect(model, WANTED, samples, batch=batch, workers=Shuffled(count, count))) == expected


def test_processes_collect_the_same_bits() -> None:
    model = network()
    samples = samples_of(model)
    with open_workers(2) as workers:
        assert bits(collect(model, WANTED, samples, workers=workers)) == bits(collect(model, WANTED, samples))
        assert len(workers.seen.machines) <= 2


def test_samples_that_read_from_files_travel(tmp_path: Path) -> None:
    model = network()
    rng = np.random.default_rng(2)
    for number in range(LEAF + 3):
        Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8)).save(tmp_path / f"{number}.png")
    samples = data.load(tmp_path, model.signature.inputs)
    with open_workers(2) as workers:
        found = collect(model, WANTED, data.spooled(samples), workers=workers)
        assert bits(found) == bits(collect(model, WANTED, samples))
        (tmp_path / "5.png").unlink()
        with pytest.raises(DataError, match=r"5\.png cannot be read.*on the worker"):
            collect(model, WANTED, samples, workers=workers)
        (tmp_path / "5.png").write_bytes(b"no image")
        with pytest.raises(DataError, match=r"5\.png .*damaged.*on the worker"):
            collect(model, WANTED, samples, workers=workers)


def test_fewer_samples_than_workers() -> None:
    model = network()
    samples = samples_of(model, 3)
    found = collect(model, WANTED, samples, workers=Shuffled(16, 0))
    assert bits(found) == bits(collect(model, WANTED, samples))


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    samples = samples_of(model)
    expected = bits(collect(model, WANTED, samples))
    done: list[int] = []

    def stop_early(*values: Any) -> bytes:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(values[3])
        return shards.collect_shard(*values)

    monkeypatch.setattr(collector, "collect_shard", stop_early)
    with pytest.raises(KeyboardInterrupt):
        collect(model, WANTED, samples, cache=tmp_path, workers=Shuffled(2, 0))
    again: list[int] = []

    def count(*values: Any) -> bytes:
        again.append(values[3])
        return shards.collect_shard(*values)

    monkeypatch.setattr(collector, "collect_shard", count)
    # another number of workers shares what is kept
    assert bits(collect(model, WANTED, samples, cache=tmp_path, workers=Shuffled(3, 1))) == expected
    assert again and not set(again) & set(done)
    assert len(list(tmp_path.iterdir())) == 1  # parts are gone once the whole is there
    again.clear()
    assert bits(collect(model, WANTED, samples, cache=tmp_path)) == expected and not again


def test_progress_says_workers_shards_and_pace() -> None:
    model = network()
    said: list[str] = []

    def progress(description: Any, items: Any, total: int | None) -> Any:
        assert total == SAMPLES
        for item in items:
            said.append(str(description))
            yield item

    collect(model, WANTED, samples_of(model), workers=Shuffled(2, 0), progress=progress)
    assert len(said) == SAMPLES
    assert "on 2 workers" in said[-1] and "samples/s" in said[-1] and "s left" in said[-1]


def test_nothing_but_one_result_for_each_part_comes_back() -> None:
    model = network()
    sizes: list[int] = []

    class Counting(Shuffled):
        def map(self, function: Any, calls: Any) -> Any:
            for number, content in super().map(function, calls):
                sizes.append(len(content))
                yield number, content

    collect(model, {"x": WANTED["x"][1:]}, samples_of(model, 1024), workers=Counting(2, 0))
    # a Gram matrix of 28 x 28, of which one half travels, four times
    assert len(sizes) == 4 and max(sizes) < 0.6 * 28 * 28 * 8 + 600
