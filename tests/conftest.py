"""What tests of pipeline, report and command line share: a tiny classifier and tiny passes."""

from __future__ import annotations

import importlib
import os

# Threads of linear algebra that wait for each other burn the cores that the other worker needs.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
from hypothesis import settings
from onnx import TensorProto, helper, numpy_helper

from graphopt.errors import PassError
from graphopt.pipeline import Context, Contract, Pass, Plan, PlannedPass, option

# The same examples in every run: a test that fails now and then tells nobody what to mend.  To search for
# new counterexamples: pytest --hypothesis-profile default
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")

MOST_KEPT, LARGEST_KEPT = 4096, 32 * 32  # images and their pixels: 12 MB


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is measured out of the folder of whoever runs the tests; once a session is enough."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True, scope="session")
def images_drawn_once() -> Iterator[None]:
    """Draw each synthetic image once a session: it depends on its size and its generator's state alone."""
    module: Any = importlib.import_module(
        "graphopt.data.sources.synthetic"
    )  # the package has a function of that name
    drawn: OrderedDict[tuple[object, ...], tuple[np.ndarray, Any]] = OrderedDict()

    def natural_image(rng: np.random.Generator, height: int, width: int, channels: int) -> np.ndarray:
        if height * width > LARGEST_KEPT:
            return draw(rng, height, width, channels)
        state = rng.bit_generator.state
        key = (*state["state"].values(), height, width, channels)
        if key in drawn:
            drawn.move_to_end(key)
            image, rng.bit_generator.state = drawn[key]
        else:
            image = draw(rng, height, width, channels)
            image.flags.writeable = False
            drawn[key] = image, rng.bit_generator.state
            if len(drawn) > MOST_KEPT:
                drawn.popitem(last=False)
        return image

    draw, module.natural_image = module.natural_image, natural_image
    yield
    module.natural_image = draw


def build_classifier(batch: int | str = 1, *, side: int | str = 4, seed: int = 0) -> onnx.ModelProto:
    """x[N,2,4,4] -> Conv 2->3 -> Relu -> Identity -> mean over H, W -> Gemm -> y[N,5]."""
    rng = np.random.default_rng(seed)
    weights = {
        "w": rng.standard_normal((3, 2, 1, 1)),
        "b": rng.standard_normal(3),
        "fc": rng.standard_normal((3, 7)),
        "fc_bias": rng.standard_normal(7),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"], "conv"),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Identity", ["r"], ["i"], "copy"),
        helper.make_node("GlobalAveragePool", ["i"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "fc", "fc_bias"], ["y"], "gemm"),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 2, side, side])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 7])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@dataclass(frozen=True)
class DropIdentity(Pass):
    """Remove Identity nodes.

    The second line is not part of the summary.
    """

    name: ClassVar[str] = "drop-identity"
    contract: ClassVar[Contract] = Contract.EXACT

    def run(self, model: Any, ctx: Context) -> None:
        for node in model.graph.find("Identity"):
            name = node.name
            if model.graph.bypass(node):
                ctx.changed(name, "removed")
            else:
                ctx.skipped(node, "its place is needed")


@dataclass(frozen=True)
class Scale(PlannedPass):
    """Multiply the weights of every Conv, so that the numbers move."""

    name: ClassVar[str] = "scale"
    contract: ClassVar[Contract] = Contract.APPROXIMATE
    needs: ClassVar[tuple[str, ...]] = ("drop-identity",)
    factor: float = option(1.01, "what weights are multiplied with", minimum=0.0, maximum=2.0)
    mode: str = option("all", "which weights", choices=("all", "none"))
    only: tuple[str, ...] = option((), "names of nodes to scale")
    limit: int | None = option(None, "at most so many nodes")

    def at_step(self, step: int, steps: int) -> Scale:
        return Scale(self.factor ** ((step + 1) / steps), self.mode, self.only, self.limit)

    def plan(self, model: Any, ctx: Context) -> Plan:
        found = [] if self.mode == "none" else list(model.graph.find("Conv"))
        return Plan(tuple({"node": node.name, "factor": self.factor} for node in found))

    def apply(self, model: Any, plan: Plan, ctx: Context) -> None:
        nodes = {node.name: node for node in model.graph.find("Conv")}
        for item in plan.items:
            node = nodes[item["node"]]
            weight = node.inputs[1]
            values = (weight.constant * item["factor"]).astype(np.float32)
            node.inputs[1] = model.graph.add_constant(weight.name, values)
            ctx.changed(node, f"weights times {item['factor']}")


@dataclass(frozen=True)
class Lie(Pass):
    """Claim to be exact and scale the last weights."""

    name: ClassVar[str] = "lie"
    contract: ClassVar[Contract] = Contract.EXACT
    factor: float = option(1.5, "the lie")

    def run(self, model: Any, ctx: Context) -> None:
        for node in model.graph.find("Gemm"):
            values = (node.inputs[1].constant * self.factor).astype(np.float32)
            node.inputs[1] = model.graph.add_constant("lie", values)
            ctx.changed(node, "scaled")


WAYS = ("raise", "pass-error", "interrupt", "signature", "dangle", "goal")


@dataclass(frozen=True)
class Misbehave(Pass):
    """Break in a chosen way."""

    name: ClassVar[str] = "misbehave"
    contract: ClassVar[Contract] = Contract.EXACT
    how: str = option(
        "raise", "the way", choices=("raise", "pass-error", "interrupt", "signature", "dangle", "goal")
    )

    def run(self, model: Any, ctx: Context) -> None:
        if self.how == "raise":
            raise ZeroDivisionError("by nothing")
        if self.how == "pass-error":
            raise PassError("the node conv is not to my taste", node="conv")
        if self.how == "interrupt":
            raise KeyboardInterrupt
        if self.how == "goal":
            ctx.goal_missed("0.5 of the MACs are left, 0.3 was the goal")
        if self.how == "signature":
            model.graph.inputs[0].shape = (1, 2, 5, 5)
        if self.how == "dangle":
            next(iter(model.graph.find("Conv"))).outputs.clear()


@dataclass(frozen=True)
class Nothing(Pass):
    """Look at the calibration samples and change nothing."""

    name: ClassVar[str] = "nothing"
    contract: ClassVar[Contract] = Contract.EXACT

    def run(self, model: Any, ctx: Context) -> None:
        for _ in ctx.calibration:
            pass
        ctx.skipped("conv", "there is nothing to do")


PASSES = (DropIdentity, Scale, Lie, Misbehave, Nothing)


class Point:
    """An entry point that needs no installed package."""

    dist = None

    def __init__(self, name: str, load: Callable[[], Any]) -> None:
        self.name = name
        self.value = f"somewhere:{name}"
        self.load = load


@pytest.fixture
def fakes() -> SimpleNamespace:
    """The fake passes and what makes entry points and models of them."""
    return SimpleNamespace(Point=Point, build=build_classifier, **{owner.__name__: owner for owner in PASSES})


@pytest.fixture
def registry() -> Any:
    """A registry of the fake passes alone."""
    from graphopt.pipeline.spec.registry import Registry

    def loader(owner: type[Pass]) -> Callable[[], type[Pass]]:
        return lambda: owner

    return Registry([Point(owner.name, loader(owner)) for owner in PASSES])


@pytest.fixture
def installed(registry: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The fake passes as if they were the only installed ones."""
    import graphopt.pipeline.run.run
    import graphopt.pipeline.spec.registry

    for module in (graphopt.pipeline.spec.registry, graphopt.pipeline.run.run):
        monkeypatch.setattr(module, "passes", lambda: registry)
    return registry


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The file of the tiny classifier."""
    path = tmp_path / "tiny.onnx"
    onnx.save(build_classifier(), path)
    return path


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Twelve labelled samples for the tiny classifier."""
    rng = np.random.default_rng(1)
    path = tmp_path / "samples.npz"
    np.savez(path, x=rng.standard_normal((12, 2, 4, 4)).astype(np.float32), labels=rng.integers(0, 7, 12))
    return path
