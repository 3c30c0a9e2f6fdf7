"""Nodes that look as if they did nothing, and do."""

from __future__ import annotations

import numpy as np

from tests.corpus import count_ops
from tests.corpus._net import Net, floats
from tests.passes.clean.fusions import cleaned


def test_a_resize_by_one_that_cuts_a_part_out_stays() -> None:
    net = Net()
    roi, scales = floats(0, 0, 0.25, 0.25, 1, 1, 0.75, 0.75), floats(1, 1, 1, 1)
    mode = {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"}
    y = net.op("Resize", net.input(), roi, scales, **mode)
    assert count_ops(cleaned(net.model(net.tell(net.op("Neg", y), (1, 3, 8, 8)))))["Resize"] == 1


def test_a_dropout_of_constants_in_training_mode_stays_random() -> None:
    net = Net()
    noise = net.op("Dropout", net.random(4, 4), np.float32(0.5), np.array(True))
    y = net.op("MatMul", net.input(shape=(2, 4)), net.op("Mul", noise, net.array(0)))
    assert count_ops(cleaned(net.model(y)))["Dropout"] == 1


def test_a_number_stored_as_a_vector_widens_a_scalar() -> None:
    """x * clip(x + 3, 0, 6) / 6 of a number, with constants of one axis, is no HardSwish."""
    net = Net()
    x = net.input(shape=())
    clipped = net.op("Clip", net.op("Add", x, floats(3)), np.float32(0), np.float32(6))
    y = net.op("Div", net.op("Mul", x, clipped), floats(6))
    after = cleaned(net.model(net.tell(y, (1,))))
    assert count_ops(after)["HardSwish"] == 0
