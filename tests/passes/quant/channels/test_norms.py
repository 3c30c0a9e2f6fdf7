"""What a LayerNormalization hands to matrices fits one scale afterwards; the float function never changes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from graphopt import data, ir, runtime
from graphopt.errors import PassError
from graphopt.passes.quant.channels.norms import ALPHAS, by_alpha, norms, shift_and_scale
from graphopt.passes.quant.items import NormItem
from graphopt.passes.quant.plan_reading import from_plan
from graphopt.pipeline import Context, Plan
from graphopt.pipeline.run.inputs import Inputs
from tests.corpus._net import Net
from tests.passes.quant.small import PLAIN, quantized, snr

WIDTH, OUTPUTS, LARGE = 16, 24, 40.0


def normed(net: Net, large: int = 0) -> str:
    """A LayerNormalization whose first ``large`` channels are forty times as large as the rest."""
    scale, bias = net.rng.uniform(0.5, 1.5, (2, WIDTH)).astype(np.float32)
    scale[:large] *= LARGE
    bias[:large] *= LARGE
    return net.op("LayerNormalization", net.input(shape=("n", 5, WIDTH)), scale, bias, name="norm", axis=-1)


def linear(net: Net, x: str, name: str, *, bias: bool = True, large: int = 0) -> str:
    """A MatMul, and an Add behind it when it has a bias; rows of large channels are small."""
    weight = net.rng.standard_normal((WIDTH, OUTPUTS)).astype(np.float32)
    weight[:large] /= LARGE
    y = net.op("MatMul", x, weight, name=name)
    return net.op("Add", net.random(OUTPUTS), y) if bias else y


def two_readers(*, bias: bool = True, large: int = 0) -> onnx.ModelProto:
    """Two matrices behind one normalisation, joined by what has no integer kernel."""
    net = Net(7)
    x = normed(net, large)
    one = linear(net, x, "one", large=large)
    other = linear(net, x, "other", bias=bias, large=large)
    return net.model(net.tell(net.op("Max", one, other), None))


def gemm(transposed: int, bias: bool) -> onnx.ModelProto:
    net = Net(7)
    scale, shift = net.rng.uniform(0.5, 1.5, (2, WIDTH)).astype(np.float32)
    x = net.op("LayerNormalization", net.input(shape=(3, WIDTH)), scale, shift, name="norm")
    shape = (OUTPUTS, WIDTH) if transposed else (WIDTH, OUTPUTS)
    return net.model(net.gemm(x, shape, bias=(OUTPUTS,) if bias else None, transB=transposed))


NETS = {
    "two matrices": two_readers(),
    "no place for a shift": two_readers(bias=False),
    "large channels": two_readers(large=3),
    "Gemm": gemm(0, True),
    "Gemm, transposed": gemm(1, True),
    "Gemm without bias": gemm(1, False),
}


@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("name", NETS)
def test_the_float_function_stays(name: str, alpha: float) -> None:
    model = ir.from_bytes(NETS[name].SerializeToString())
    ctx = Context(Inputs(model, calibration=data.synthetic(model.signature.inputs, {}, 6, 0)))
    before = runtime.Session(model.to_bytes())
    (items,) = by_alpha(model, [alpha], ctx.calibration, ctx)
    (item,) = items
    assert max(item.factors) > 1.05 * min(item.factors)
    assert any(item.middles) == (name != "no place for a shift")
    assert shift_and_scale(model.graph, items) == ["norm.out"]
    model.check()
    after = runtime.Session(model)
    for sample in ctx.calibration:
        (exact,), (made,) = before.run(sample.feeds).values(), after.run(sample.feeds).values()
        assert np.abs(made - exact).max() <= 1e-5 * np.abs(exact).max()


def test_with_alpha_1_all_channels_have_one_range_around_zero() -> None:
    model = ir.from_bytes(two_readers(large=3).SerializeToString())
    ctx = Context(Inputs(model, calibration=data.synthetic(model.signature.inputs, {}, 6, 0)))
    (items,) = by_alpha(model, [1.0], ctx.calibration, ctx)
    shift_and_scale(model.graph, items)
    session = runtime.Session(model, outputs=["norm.out"])
    seen = [session.run(s.feeds)["norm.out"].reshape(-1, WIDTH) for s in ctx.calibration]
    rows = np.concatenate(seen)
    high, low = rows.max(axis=0), rows.min(axis=0)
    np.testing.assert_allclose(high, high[0], rtol=1e-4)
    np.testing.assert_allclose(low, -high, rtol=1e-4)


def unlike(kind: str) -> onnx.ModelProto:
    """Normalisations that something else reads too, or whose parameters are not one number a channel."""
    net = Net(7)
    x = normed(net)
    y = linear(net, x, "one")
    if kind == "a residual":
        y = net.op("ReduceSum", net.op("Concat", x, y, axis=-1), np.array([2]), keepdims=0)
    elif kind == "an output":
        return net.model(net.tell(y, None), net.tell(x, ("n", 5, WIDTH)))
    elif kind == "a product of two":
        y = net.op("MatMul", x, net.op("Transpose", x, perm=[0, 2, 1]))
    return net.model(net.tell(y, None))


@pytest.mark.parametrize("kind", ["a residual", "an output", "a product of two"])
def test_what_else_reads_them_forbids_it(kind: str) -> None:
    graph = ir.from_bytes(unlike(kind).SerializeToString()).graph
    assert not list(norms(graph))
    assert len(list(norms(ir.from_bytes(unlike("nothing").SerializeToString()).graph))) == 1


def test_a_plan_for_another_model_is_refused() -> None:
    graph = ir.from_bytes(two_readers().SerializeToString()).graph
    for item in (
        NormItem("elsewhere", (1.0,) * WIDTH, (0.0,) * WIDTH),
        NormItem("norm.out", (1.0,) * 3, (0.0,) * 3),
    ):
        with pytest.raises(PassError, match="which the model does not allow"):
            shift_and_scale(graph, [item])


@pytest.mark.parametrize("wrong", [{"factors": [0.0]}, {"middles": [float("nan")]}, {"middles": None}])
def test_numbers_of_a_plan_are_checked(wrong: dict[str, object]) -> None:
    item = NormItem("norm.out", (2.0,), (0.5,))
    assert from_plan(Plan((item.to_json(),))) == [item]
    with pytest.raises(PassError, match="item 0 of the plan"):
        from_plan(Plan(({**item.to_json(), **wrong},)))


def outputs(model: ir.Model, ctx: Context) -> np.ndarray:
    session = runtime.Session(model)
    return np.concatenate([next(iter(session.run(s.feeds).values())) for s in ctx.calibration])


def test_large_channels_cost_no_bits_and_plans_repeat_it() -> None:
    original = ir.from_bytes(two_readers(large=3).SerializeToString())
    plain, ctx = quantized(two_readers(large=3))
    even, _ = quantized(two_readers(large=3), equalise="auto")
    exact = outputs(original, ctx)
    assert snr(exact, outputs(even, ctx)) > snr(exact, outputs(plain, ctx)) + 10
    assert plain.signature == even.signature


def test_what_brings_nothing_closer_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    from graphopt.passes.quant import Quant
    from graphopt.passes.quant.search import search

    monkeypatch.setattr(search._Trial, "noise", lambda self, model: -40.0)  # no choice is better
    model = ir.from_bytes(two_readers(large=3).SerializeToString())
    ctx = Context(Inputs(model, calibration=data.synthetic(model.signature.inputs, {}, 8, 0)))
    plan = Quant(**{**PLAIN, "equalise": "auto"}).plan(model, ctx)
    assert plan.items
    assert not any("shift_and_scale" in item for item in plan.items)
