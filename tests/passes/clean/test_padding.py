"""A Pad goes into a pool only where the pool may take it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.corpus import count_ops
from tests.corpus._net import Net, ints
from tests.passes.clean.fusions import cleaned


@pytest.mark.parametrize(("op", "value"), [("AveragePool", 0.0), ("MaxPool", -np.inf)])
@pytest.mark.parametrize(("pad", "kernel", "stays"), [(2, 2, 1), (3, 2, 1), (1, 2, 0), (2, 3, 0)])
def test_pads_as_wide_as_the_window_stay(op: str, value: float, pad: int, kernel: int, stays: int) -> None:
    net = Net()
    pads = ints(0, 0, pad, 0, 0, 0, 0, pad)
    padded = net.op("Pad", net.input(), pads, np.array(value, np.float32))
    y = net.op(op, padded, kernel_shape=[kernel, kernel])
    assert count_ops(cleaned(net.model(net.op("Clip", y, np.float32(-9)))))["Pad"] == stays
