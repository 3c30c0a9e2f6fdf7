"""Models for the tests of lowrank: one layer with any attributes, and small networks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from graphopt import data, ir
from graphopt.pipeline import Context
from graphopt.pipeline.run.inputs import Inputs
from graphopt.runtime import Session
from tests.corpus._net import Net


def load(proto: object) -> ir.Model:
    """A model from its proto."""
    return ir.from_bytes(proto.SerializeToString())  # type: ignore[attr-defined]


def context(model: ir.Model, **inputs: object) -> Context:
    """The run as a pass sees it."""
    return Context(Inputs(model, **inputs))  # type: ignore[arg-type]


def samples_of(model: ir.Model, count: int = 64, seed: int = 3) -> data.Samples:
    """Seeded samples that stand in for the user's."""
    return data.synthetic(model.signature.inputs, dict(context(model).shapes), count, seed)


def calibrated(model: ir.Model, count: int = 24) -> Context:
    """A run with samples that count as the user's."""
    return context(model, calibration=samples_of(model, count))


def outputs(model: ir.Model, samples: data.Samples, level: str = "all") -> np.ndarray:
    """The first output for all samples, stacked."""
    session = Session(model, optimization=level)  # type: ignore[arg-type]
    return np.concatenate([next(iter(session.run(sample.feeds).values())) for sample in samples])


@dataclass(frozen=True)
class ConvCase:
    """The attributes of one convolution on x[2, channels, ...]."""

    inputs: int
    outputs: int
    group: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]
    auto_pad: str
    bias: bool
    sizes: tuple[int, ...]
    dynamic: bool
    seed: int

    def model(self, dtype: type = np.float32) -> ir.Model:
        """The convolution alone."""
        net = Net(self.seed, dtype)
        shape = (2, self.inputs, *self.sizes)
        x = net.input(
            "x",
            (2, self.inputs, *(f"size{axis}" for axis in range(len(self.sizes)))) if self.dynamic else shape,
        )
        attrs: dict[str, object] = {"strides": self.strides, "dilations": self.dilations, "group": self.group}
        attrs |= {"pads": self.pads} if self.auto_pad == "NOTSET" else {"auto_pad": self.auto_pad}
        weight = (self.outputs, self.inputs // self.group, *self.kernel)
        return load(net.model(net.conv(x, weight, bias=self.bias, name="conv", **attrs)))


@st.composite
def conv_cases(draw: st.DrawFn, rank: int | None = None) -> ConvCase:
    """Any convolution that is neither depthwise nor a stem."""
    axes = draw(st.integers(1, 3)) if rank is None else rank
    group = draw(st.sampled_from([1, 1, 2, 3]))
    auto_pad = draw(st.sampled_from(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))

    def each(low: int, high: int, count: int = axes) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(count))

    strides, dilations = each(1, 2), each(1, 2)
    if auto_pad.startswith("SAME"):
        dilations = (1,) * axes  # onnxruntime refuses others
    return ConvCase(
        group * draw(st.integers(5, 7)),
        group * draw(st.integers(2, 9)),
        group,
        each(1, 3),
        strides,
        dilations,
        each(0, 2, 2 * axes),
        auto_pad,
        draw(st.booleans()),
        each(6, 9),
        draw(st.booleans()),
        draw(st.integers(0, 99)),
    )
