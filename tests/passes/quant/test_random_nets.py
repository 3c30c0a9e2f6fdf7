"""Default options on networks that no one would draw: no crash, a valid model, the same outputs nearly."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt import data, ir, runtime, targets
from graphopt.passes.quant import Quant
from graphopt.passes.quant.search import speed
from graphopt.passes.quant.verify.validator import violations
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from tests.passes.quant.random_nets import random_net
from tests.passes.quant.small import prepared, snr

SAMPLES = 6
LEAST = 8.0  # dB; what is mistaken for another tensor, axis or scale is below 3
WAYS: list[tuple[str, dict[str, object]]] = [
    ("ort-cpu", {}),
    ("ort-cpu", {"measure": False}),
    ("qnn", {}),
    ("openvino", {}),
    ("tensorrt", {}),
    ("generic", {"activations": "uint16"}),
    ("ort-cpu", {"mode": "dynamic"}),
    ("ort-cpu", {"mode": "weights"}),
]


@pytest.fixture(autouse=True)
def _quick_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times are taken with few runs: what they decide is right either way."""
    monkeypatch.setattr(speed, "ROUNDS", 3)
    monkeypatch.setattr(speed, "LEAST_ROUNDS", 1)
    monkeypatch.setattr(speed, "PROFILED_RUNS", 3)


@pytest.mark.parametrize("seed", range(40))
def test_defaults(seed: int) -> None:
    target, options = WAYS[seed % len(WAYS)]
    proto = random_net(seed)
    model = ir.from_bytes(proto.SerializeToString())
    before = runtime.Session(proto.SerializeToString())
    samples = data.synthetic(model.signature.inputs, Inputs(model).shapes, SAMPLES, 0)
    model = prepared(model) if seed % 3 else model
    signature = model.signature
    ctx = Context(Inputs(model, calibration=samples), target=targets.load(target))
    Quant(**options).run(model, ctx)  # type: ignore[arg-type]
    model.check()
    assert model.signature == signature
    assert ctx.changes or ctx.skips
    if "mode" not in options:  # the rules are those of static quantization
        assert violations(model, targets.load(target)) == []
    session = runtime.Session(model)
    pairs = [(before.run(sample.feeds), session.run(sample.feeds)) for sample in samples]
    for name, value in pairs[0][0].items():
        old, new = (np.stack([pair[i][name] for pair in pairs]) for i in (0, 1))
        assert old.shape == new.shape
        if value.dtype.kind == "f" and np.square(old.astype(np.float64)).sum() > 0:
            assert snr(old, new) > LEAST
