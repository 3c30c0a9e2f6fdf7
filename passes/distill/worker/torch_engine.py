"""Training with PyTorch, on a GPU when there is one: the graph is run node by node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from .events import Failure, Job
from .torch_ops import OPS


class TorchEngine:
    """Parameters, gradients and updates of one training graph."""

    def __init__(self, job: Job) -> None:
        torch.manual_seed(job["seed"])
        torch.set_num_threads(job["threads"])
        self._job = job
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._graph = _Graph(onnx.load("train.onnx").graph, self._device)
        self._tensors = {
            name: self._graph.constants[name] for name in (*job["parameters"], *job["statistics"])
        }
        self._trained = [self._tensors[name].requires_grad_(True) for name in job["parameters"]]
        self._optimizer = self._new_optimizer()

    @staticmethod
    def versions() -> dict[str, str]:
        """The versions that a result depends on."""
        return {"torch": torch.__version__, "onnx": onnx.__version__, "numpy": np.__version__}

    def step(self, feeds: list[np.ndarray]) -> float:
        """Forward and backward; gradients are added to those that wait for an update."""
        loss = self._graph.run(self._inputs(feeds), training=True)
        loss.backward()
        return float(loss.detach())

    def update(self, rate: float) -> None:
        """Move the parameters along the waiting gradients, and forget those."""
        if self._job["clip"]:
            torch.nn.utils.clip_grad_norm_(self._trained, self._job["clip"])
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.step()
        self.forget()

    def forget(self) -> None:
        """Drop waiting gradients."""
        self._optimizer.zero_grad(set_to_none=True)

    def evaluate(self, feeds: list[np.ndarray]) -> float:
        """The loss as it is at inference."""
        with torch.no_grad():
            return float(self._graph.run(self._inputs(feeds), training=False))

    def parameter(self, name: str) -> np.ndarray:
        """A copy of a parameter or statistic."""
        values: np.ndarray = self._tensors[name].detach().cpu().numpy().copy()
        return values

    def set_parameter(self, name: str, values: np.ndarray) -> None:
        """Overwrite a parameter."""
        with torch.no_grad():
            self._tensors[name].copy_(torch.from_numpy(np.ascontiguousarray(values)))

    def gradient(self, name: str) -> np.ndarray:
        """A copy of the waiting gradient of a parameter; zeros where nothing reaches it."""
        tensor = self._tensors[name]
        grad = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
        values: np.ndarray = grad.detach().cpu().numpy().copy()
        return values

    def save(self, folder: Path) -> None:
        """Write parameters and the optimizer's state as plain arrays: a pickle could hold anything."""
        arrays: dict[str, Any] = {f"p{i}": self.parameter(name) for i, name in enumerate(self._tensors)}
        for number, state in self._optimizer.state_dict()["state"].items():
            for key, value in state.items():
                if value is not None:
                    arrays[f"o{number}.{key}"] = torch.as_tensor(value).cpu().numpy()
        np.savez(str(folder / "state.npz"), **arrays)

    def load(self, folder: Path) -> None:
        """Go back to what ``save`` wrote."""
        with np.load(str(folder / "state.npz"), allow_pickle=False) as stored:
            for number, name in enumerate(self._tensors):
                self.set_parameter(name, stored[f"p{number}"])
            whole = self._optimizer.state_dict()
            whole["state"] = {}
            for key in stored.files:
                if key.startswith("o"):
                    place, _, what = key[1:].partition(".")
                    whole["state"].setdefault(int(place), {})[what] = torch.from_numpy(stored[key])
            self._optimizer.load_state_dict(whole)

    def _inputs(self, feeds: list[np.ndarray]) -> dict[str, Any]:
        tensors = (torch.from_numpy(feed).to(self._device) for feed in feeds)
        return dict(zip(self._job["feeds"], tensors, strict=True))

    def _new_optimizer(self) -> Any:
        if self._job["optimizer"] == "sgd":
            return torch.optim.SGD(self._trained, lr=self._job["lr"])
        decay = self._job["weight_decay"]
        return torch.optim.AdamW(self._trained, lr=self._job["lr"], eps=1e-6, weight_decay=decay)


class _Graph:
    """A graph whose nodes are run in order."""

    def __init__(self, graph: Any, device: Any) -> None:
        arrays = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
        self.constants = {name: _on(array, device) for name, array in arrays.items()}
        self._nodes = [_node(node) for node in graph.node]

    def run(self, feeds: dict[str, Any], *, training: bool) -> Any:
        """The value of ``loss``."""
        values = {**self.constants, **feeds}
        for op, attrs, inputs, outputs in self._nodes:
            if "training" in attrs:
                attrs["training"] = training
            made = op(attrs, *[values[name] if name else None for name in inputs])
            if len(outputs) == 1 or not isinstance(made, tuple):
                values[outputs[0]] = made
            else:
                values.update(zip(outputs, made, strict=False))
        return values["loss"]


def _on(array: np.ndarray, device: Any) -> Any:
    return torch.from_numpy(np.array(array)).to(device)


def _node(node: Any) -> tuple[Any, dict[str, Any], list[str], list[str]]:
    if node.op_type not in OPS:
        raise Failure("no_gradient", f"the PyTorch trainer does not know {node.op_type}", node.name)
    attrs = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    attrs["outputs"] = len(node.output)
    if node.op_type == "BatchNormalization":
        attrs["training"] = False
    return OPS[node.op_type], attrs, list(node.input), list(node.output)
