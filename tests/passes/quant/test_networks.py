"""Random networks and real models: valid, smaller, the same at every level of the runtime."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from graphopt import data, ir, runtime, targets
from graphopt.passes.quant import Quant
from graphopt.passes.quant.items import TensorItem, WeightItem
from graphopt.passes.quant.plan_reading import from_plan
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus import NUMERIC, Case, random_cnn
from tests.passes.quant.small import (
    CORPUS,
    PLAIN,
    SAMPLES,
    corpus_model,
    feeds,
    fused,
    ops,
    planned_convs,
    prepared,
    quantized,
    snr,
)


def signal_to_noise(
    exact: list[dict[str, np.ndarray]], made: list[dict[str, np.ndarray]]
) -> dict[str, float]:
    """SNR in dB of each float output over all samples."""
    names = [name for name, value in exact[0].items() if value.dtype.kind == "f"]
    return {
        n: snr(*(np.concatenate([run[n].ravel() for run in runs]) for runs in (exact, made))) for n in names
    }


def noisy_twin(model: ir.Model, items: list[Any]) -> ir.Model:
    """The float model with the noise of rounding on every tensor and weight that a plan names.

    It knows of a plan only names and steps: what the noise of 8 bits is in this network, measured without
    any of the surgery that is tested.
    """
    twin = model.copy()
    graph, seed = twin.graph, 0
    tensors = {t.name: t for node in graph.nodes for t in node.outputs} | {t.name: t for t in graph.inputs}
    rng = np.random.default_rng(0)
    for item in items:
        tensor = tensors.get(item.tensor) if isinstance(item, TensorItem) and item.like is None else None
        if tensor is not None and not graph.is_output(tensor):
            half, seed = item.parameters.scale / 2, seed + 1
            readers = list(dict.fromkeys(tensor.consumers))
            noise = graph.add_node(
                "RandomUniformLike", [tensor], {"low": -half, "high": half, "seed": float(seed)}
            )
            total = graph.add_node("Add", [tensor, noise.output], name=f"noise{seed}")
            noise.output.dtype = total.output.dtype = np.dtype(np.float32)
            for node in readers:
                node.inputs = [total.output if t is tensor else t for t in node.inputs]
    for node in graph.find("Conv", "Gemm", "MatMul"):
        weight = node.inputs[1].constant
        if any(isinstance(item, WeightItem) and item.node == node.output.name for item in items):
            axes = tuple(range(1, weight.ndim)) if node.op == "Conv" or node.attr("transB", 0) else (0,)
            step = np.abs(weight).max(axis=axes, keepdims=True) / 127
            noisy = weight + step * rng.uniform(-0.5, 0.5, weight.shape)
            graph.set_constant(node, 1, noisy.astype(np.float32))
    twin.sort()
    return twin


# dB: integer gates store one sum more, and errors at the end of a range are an offset and no noise
SLACK = 13.0
QUICK = {"measure": False}


class Judged:
    """A random network that is stored, and the noise that 8 bits may make of its outputs."""

    def __init__(self, seed: int, **options: Any) -> None:
        model = ir.from_bytes(random_cnn(seed).SerializeToString())
        self.model = prepared(model) if seed % 2 else model
        self.samples = data.synthetic(self.model.signature.inputs, Inputs(self.model).shapes, SAMPLES, 0)
        self.ctx = Context(Inputs(self.model, calibration=self.samples), target=targets.load("ort-cpu"))
        pass_ = Quant(**options)
        plan = pass_.plan(self.model, self.ctx)
        self._exact = self._outputs(runtime.Session(self.model.to_bytes()))
        twin = runtime.Session(noisy_twin(self.model, from_plan(plan)))
        self._allowed = signal_to_noise(self._exact, self._outputs(twin))
        pass_.apply(self.model, plan, self.ctx)
        self.model.check()

    def is_right(self, level: runtime.session.Optimization) -> bool:
        """Whether the outputs are as close as 8 bits bring them."""
        made = self._outputs(runtime.Session(self.model, optimization=level))
        reached = signal_to_noise(self._exact, made)
        return all(reached[name] >= wanted - SLACK for name, wanted in self._allowed.items())

    def _outputs(self, session: runtime.Session) -> list[dict[str, np.ndarray]]:
        return [session.run(sample.feeds) for sample in self.samples]


@pytest.mark.parametrize("options", [PLAIN, QUICK], ids=["plain", "default"])
@pytest.mark.parametrize("seed", range(16))
def test_random_networks(seed: int, options: dict[str, Any]) -> None:
    """Every planned Conv runs on integers, and the noise is that of 8 bits, at every level of the runtime."""
    judged = Judged(seed, **options)
    run = fused(judged.model)
    assert run["QLinearConv"] == planned_convs(judged.model)
    assert run["QLinearConv"] + len([s for s in judged.ctx.skips if s.reason]) >= ops(judged.model)["Conv"]
    assert judged.is_right("disabled")
    assert judged.is_right("all")


@pytest.mark.parametrize("seed", [1, 11, 13])
def test_a_planted_error_is_noticed(seed: int) -> None:
    """One tensor is read back twice too large."""
    judged = Judged(seed, **PLAIN)
    stores = [n for n in judged.model.graph.find("DequantizeLinear") if n.inputs[0].constant is None]
    wrong = stores[len(stores) // 2]
    scale = judged.model.graph.add_constant("wrong", wrong.inputs[1].constant * np.float32(2.0))
    wrong.inputs[1] = scale
    assert not judged.is_right("disabled")


@pytest.mark.parametrize("options", [PLAIN, QUICK], ids=["plain", "default"])
@pytest.mark.parametrize("case", [c for c in NUMERIC if c.valid and c.runs], ids=str)
def test_awkward_models_stay_valid(case: Case, options: dict[str, Any]) -> None:
    """Whatever the graph: the result loads and runs, or the model is left as it was."""
    proto = case.build()
    model = ir.from_bytes(proto.SerializeToString())
    given = case.feeds(np.random.default_rng(0))
    is_empty = any(value.shape[:1] == (0,) for value in given.values())
    samples = None if is_empty else data.from_arrays(given, model.signature.inputs)
    ctx = Context(Inputs(model, calibration=samples), target=targets.load("ort-cpu"))
    Quant(**options).run(model, ctx)  # type: ignore[arg-type]
    model.check()
    before, outputs = runtime.Session(proto.SerializeToString()).run(given), runtime.Session(model).run(given)
    assert {n: v.shape for n, v in outputs.items()} == {n: v.shape for n, v in before.items()}
    if not ctx.changes and not case.random:
        for name, value in before.items():
            np.testing.assert_allclose(outputs[name], value, rtol=1e-3, atol=1e-4)


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

    class Watched(data.Samples):
        """Samples that note how many earlier ones somebody still holds."""

        def take(self, count: int):
            return data.Samples(**vars(self)).take(count)

        def batches(self, size: int):
            for batch in super().batches(size):
                gc.collect()
                alive.append(sum(ref() is not None for ref in seen))
                feeds = {name: value.copy() for name, value in batch.feeds.items()}  # synthetic rows are kept
                seen.append(weakref.ref(next(iter(feeds.values()))))
                yield replace(batch, feeds=feeds)
                del feeds

    Quant(**PLAIN).run(model, Context(Inputs(model, calibration=Watched(**vars(ctx.calibration.take(16))))))
    assert len(alive) == 16
    assert max(alive) <= 2
