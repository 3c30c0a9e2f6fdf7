"""Random networks and real models: valid, smaller, the same at every level of the runtime."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import data, ir, runtime
from graphopt.passes.quant import Quant
from graphopt.pipeline import Context
from graphopt.pipeline.inputs import Inputs
from tests.corpus import NUMERIC, Case, random_cnn
from tests.passes.quant.small import (
    CORPUS,
    PLAIN,
    corpus_model,
    feeds,
    fused,
    ops,
    planned_convs,
    prepared,
    quantized,
)


def is_close(first: np.ndarray, second: np.ndarray, tolerance: float) -> bool:
    size = max(float(np.abs(first).max(initial=0)), 1e-3)
    return float(np.abs(first - second).max(initial=0)) <= tolerance * size


@pytest.mark.parametrize("seed", range(24))
def test_random_networks(seed: int) -> None:
    """Every Conv that is planned runs on integers, and only ties differ between the runtime's levels."""
    model = ir.from_bytes(random_cnn(seed).SerializeToString())
    model = prepared(model) if seed % 2 else model
    before = runtime.Session(model.to_bytes())
    model, ctx = quantized(model)
    run = fused(model)
    assert run["QLinearConv"] == planned_convs(model)
    assert run["QLinearConv"] + len([s for s in ctx.skips if s.reason]) >= ops(model)["Conv"]
    reference = before.run(feeds(ctx))
    first, second = (runtime.Session(model, optimization=o).run(feeds(ctx)) for o in ("disabled", "all"))
    for name, value in reference.items():
        assert np.isfinite(second[name]).all()
        assert is_close(first[name], second[name], 0.15), name
        assert is_close(value, second[name], 0.75), name


@pytest.mark.parametrize("case", [c for c in NUMERIC if c.valid and c.runs], ids=str)
def test_awkward_models_stay_valid(case: Case) -> None:
    """Whatever the graph: the result loads and runs, or the model is left as it was."""
    proto = case.build()
    model = ir.from_bytes(proto.SerializeToString())
    given = case.feeds(np.random.default_rng(0))
    is_empty = any(value.shape[:1] == (0,) for value in given.values())
    samples = None if is_empty else data.from_arrays(given, model.signature.inputs)
    ctx = Context(Inputs(model, calibration=samples))
    Quant(**PLAIN).run(model, ctx)
    model.check()
    outputs = runtime.Session(model).run(given)
    assert set(outputs) == {value.name for value in proto.graph.output}


WHOLE = {
    "fashion_resnet14_bn": {"QLinearConv": 15, "QLinearAdd": 6, "QGemm": 1},
    "fashion_mnv2_bn": {"QLinearConv": 28, "QLinearAdd": 5, "QGemm": 1},
    "cifar_resnet20_bn": {"QLinearConv": 21, "QLinearAdd": 9, "QGemm": 1},
    "efficientnet_lite0_bn": {"QLinearConv": 49, "QLinearAdd": 9, "QGemm": 1},
}


@pytest.mark.parametrize("name", WHOLE)
def test_plain_networks_run_on_integers_from_end_to_end(name: str) -> None:
    model = prepared(corpus_model(name))
    size = len(model.to_bytes())
    model, ctx = quantized(model)
    run = fused(model)
    assert {op: run[op] for op in WHOLE[name]} == WHOLE[name]
    assert run["QuantizeLinear"] == 1, "one at the entry, no island of floats"
    assert run["DequantizeLinear"] == 0
    assert ctx.skips == []
    assert len(model.to_bytes()) < size / 2.4


OTHERS = [
    "cifar_resnet20_dynamo_raw", "cifar_resnet20_dynamo_opt", "ppocr_v2_cls", "ppocr_v4_det", "ulfd_rfb320",
    "mtcnn_onet", "paddle_mobilenet_v1_rand", "silero_vad",
]  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("cleaned", [False, True], ids=["raw", "cleaned"])
def test_real_models_become_valid_and_smaller_or_say_why_not(name: str, cleaned: bool) -> None:
    model = corpus_model(name)
    model = prepared(model) if cleaned else model
    size = len(model.to_bytes())
    model, ctx = quantized(model)
    assert ctx.changes or ctx.skips
    if ctx.changes:
        assert len(model.to_bytes()) < (size / 1.4 if cleaned else size)
        assert fused(model)["QLinearConv"] == planned_convs(model)
    for value in runtime.Session(model).run(feeds(ctx)).values():
        assert np.isfinite(value).all()


@pytest.mark.slow
def test_efficientnet_keeps_its_accuracy() -> None:
    """64 unlabelled images calibrate; on others top-1 moves by less than a point, 97 % agree with float."""
    model = prepared(corpus_model("efficientnet_lite0_bn"))
    recipe = data.parse_preprocess("size=224;mean=127;std=128")
    samples = data.load(str(CORPUS / "data" / "imagenet-dev"), model.signature.inputs, recipe)
    before = runtime.Session(model.to_bytes())
    Quant(measure=False).run(model, Context(Inputs(model, calibration=samples.take(64))))
    after = runtime.Session(model)
    agreement, accuracies = runtime.Agreement(), (runtime.Accuracy(), runtime.Accuracy())
    for sample in samples.skip(64):
        scores = [next(iter(s.run(sample.feeds).values())) for s in (before, after)]
        agreement.update(*scores)
        for accuracy, one in zip(accuracies, scores, strict=True):
            accuracy.update(one, np.array([sample.label]))
    assert agreement.rate >= 0.97
    assert accuracies[1].top1 >= accuracies[0].top1 - 0.01


def test_memory_does_not_grow_with_the_samples() -> None:
    """Samples are read one at a time: none is alive when the next one is made."""
    import gc
    import weakref

    model = ir.from_bytes(random_cnn(3).SerializeToString())
    ctx = Context(Inputs(model))
    alive: list[int] = []
    seen: list[weakref.ref[np.ndarray]] = []

    class Watched:
        """Samples that note how many earlier ones somebody still holds."""

        source = "watched"
        labelled = False

        def __init__(self) -> None:
            self.samples = ctx.calibration

        def __len__(self) -> int:
            return len(self.samples)

        def __iter__(self):
            return iter(self.samples)

        def take(self, count: int):
            return self.samples.take(count)

        def batches(self, size: int):
            for batch in self.samples.batches(size):
                gc.collect()
                alive.append(sum(ref() is not None for ref in seen))
                seen.append(weakref.ref(next(iter(batch.feeds.values()))))
                yield batch

    Quant(**PLAIN).run(model, Context(Inputs(model, calibration=Watched())))
    assert len(alive) == len(ctx.calibration)
    assert max(alive) <= 2
