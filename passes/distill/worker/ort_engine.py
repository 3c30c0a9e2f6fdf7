"""Training with onnxruntime-training, on the CPU.

The package's own ``__init__`` wants PyTorch; with a bare module in its place, the parts can be imported.
"""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from .events import Failure, Job
from .layout.kernels import use_faster_kernels

LARGEST_IR = 10  # fixed: what onnxruntime 1.19 reads
TRAINING, EVALUATION = "training_model.onnx", "eval_model.onnx"  # what the library calls its graphs

_FAILURES = (
    ("no_gradient", re.compile(r"gradient builder has not been registered: (\w+) for node (\S*)")),
    (
        "no_kernel",
        re.compile(r"(?:Could not find an implementation for|No kernel.*for) (\w+)Grad.*?'([^']*)'"),
    ),
    ("no_gradient", re.compile(r"constant mode only()()")),
)


def _training() -> Any:
    """The modules ``artifacts``, ``api`` and ``onnxblock`` of onnxruntime.training."""
    name = "onnxruntime.training"
    if name not in sys.modules:
        bare = types.ModuleType(name)
        bare.__path__ = [str(Path(onnxruntime.__file__).parent / "training")]
        sys.modules[name] = bare
    from onnxruntime.training import api, artifacts, onnxblock

    return api, artifacts, onnxblock


class OrtEngine:
    """Parameters, gradients and updates of one training graph."""

    def __init__(self, job: Job) -> None:
        self._api, self._artifacts, self._blocks = _training()
        onnx.IR_VERSION = LARGEST_IR  # type: ignore[assignment]  # what the optimizer graph is stamped with
        self._job = job
        self._folder = Path("artifacts")
        self._folder.mkdir(exist_ok=True)
        self._trainable = list(job["parameters"])
        try:
            self._build()
            self._open(self._folder / "checkpoint")
        except Failure:
            raise
        except Exception as error:  # whatever the library cannot do is known by its text alone
            raise _failure(error) from error

    @staticmethod
    def versions() -> dict[str, str]:
        """The versions that a result depends on."""
        return {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__, "numpy": np.__version__}

    def step(self, feeds: list[np.ndarray]) -> float:
        """Forward and backward; gradients are added to those that wait for an update."""
        self._module.train()
        return float(self._module(*self._ordered(feeds)))

    def update(self, rate: float) -> None:
        """Move the parameters along the waiting gradients, and forget those."""
        self._optimizer.set_learning_rate(rate)
        self._optimizer.step()
        self._module.lazy_reset_grad()

    def forget(self) -> None:
        """Drop waiting gradients."""
        self._module.lazy_reset_grad()

    def evaluate(self, feeds: list[np.ndarray]) -> float:
        """The loss as it is at inference."""
        self._module.eval()
        return float(self._module(*self._ordered(feeds)))

    def parameter(self, name: str) -> np.ndarray:
        """A copy of a parameter or statistic."""
        return np.array(self._state.parameters[name].data)

    def set_parameter(self, name: str, values: np.ndarray) -> None:
        """Overwrite a parameter."""
        self._state.parameters[name] = values

    def gradient(self, name: str) -> np.ndarray:
        """A copy of the waiting gradient of a parameter."""
        return np.array(self._state.parameters[name].grad)

    def save(self, folder: Path) -> None:
        """Write parameters and the optimizer's state into ``folder``."""
        path = folder / "state"
        self._api.CheckpointState.save_checkpoint(self._state, str(path), include_optimizer_state=True)

    def load(self, folder: Path) -> None:
        """Go back to what ``save`` wrote."""
        self._open(folder / "state")

    def _build(self) -> None:
        model = onnx.load("train.onnx")

        class Loss(self._blocks.Block):  # type: ignore[name-defined,misc]
            def build(self, *_: str) -> str:
                return "loss"

        self._artifacts.generate_artifacts(
            model,
            requires_grad=self._trainable,
            frozen_params=list(self._job["statistics"]) or None,
            loss=Loss(),
            optimizer=self._optimizer_block(),
            artifact_directory=str(self._folder),
        )
        use_faster_kernels(self._folder / TRAINING, self._folder / EVALUATION)

    def _optimizer_block(self) -> Any:
        optim = self._blocks.optim
        clip = optim.ClipGradNorm(self._job["clip"]) if self._job["clip"] else None
        if self._job["optimizer"] == "sgd":
            return optim.SGD(clip_grad=clip)
        return optim.AdamW(weight_decay=self._job["weight_decay"], clip_grad=clip)

    def _open(self, checkpoint: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._job["threads"]
        options.inter_op_num_threads = 1
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        self._state = self._api.CheckpointState.load_checkpoint(str(checkpoint))
        self._module = self._api.Module(
            str(self._folder / TRAINING),
            self._state,
            str(self._folder / EVALUATION),
            session_options=options,
        )
        self._optimizer = self._api.Optimizer(str(self._folder / "optimizer_model.onnx"), self._module)
        names = self._module.train().input_names()
        self._order = [self._job["feeds"].index(name) for name in names]

    def _ordered(self, feeds: list[np.ndarray]) -> list[np.ndarray]:
        return [feeds[number] for number in self._order]


def _failure(error: Exception) -> Failure:
    """What the library's message means."""
    text = " ".join(str(error).split())
    for code, pattern in _FAILURES:
        if match := pattern.search(text):
            op, node = match[1], match[2]
            message = f"onnxruntime-training has no gradient for {op or 'this operator'}"
            return Failure(code, f"{message} ({text[-200:]})" if not op else message, node)
    return Failure("artifacts", f"onnxruntime-training cannot build the training graph: {text[:600]}")
