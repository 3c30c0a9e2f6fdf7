"""Where time counts when that is not onnxruntime here: an installed backend, or a device behind a command.

Whole models are timed, single layers as models of one layer, which therefore hold what the runtime does at
its inputs and outputs.
"""

from __future__ import annotations

import math
import re
import shlex
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from graphopt import backends, ir
from graphopt.cost.latency.layer_shape import LayerShape
from graphopt.errors import ModelError, UsageError

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.util.progress import Progress

MODEL = "{model}"
TIMEOUT = 300.0  # time: seconds for one call of a command: a copy to a board, its loading, some runs
TOGETHER = 24  # memory: models that one process of a backend holds
SHORT, LONG = 1.0, 3.0  # time: seconds for timing models of one layer, and whole models, in turn
_SAFE = re.compile(r"[\w/.:+-]+")  # what no shell, here or on a board, reads as anything but a path
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")

Feeds = Mapping[str, np.ndarray]


class Device(Protocol):
    """Where models are timed; ``key`` tells it from others."""

    @property
    def key(self) -> str:
        """What times that are kept belong to."""

    def milliseconds(
        self, models: Sequence[Model], feeds: Sequence[Feeds], seconds: float = LONG
    ) -> list[float]:
        """Milliseconds of a run of each model; ModelError when one cannot be timed."""


@dataclass(frozen=True)
class BackendDevice:
    """A backend that is installed on this machine."""

    where: backends.Installed
    threads: int = 1

    @property
    def key(self) -> str:
        """Name and version of the backend, and threads."""
        return f"{self.where.backend.name} {self.where.version}, {self.threads} threads"

    def milliseconds(
        self, models: Sequence[Model], feeds: Sequence[Feeds], seconds: float = LONG
    ) -> list[float]:
        """Milliseconds of each model: the median of runs in turn."""
        times: list[float] = []
        for start in range(0, len(models), TOGETHER):
            part = slice(start, start + TOGETHER)
            times += self._together(models[part], feeds[part], seconds)
        return times

    def _together(self, models: Sequence[Model], feeds: Sequence[Feeds], seconds: float) -> list[float]:
        with tempfile.TemporaryDirectory(prefix="graphopt-device-") as folder:
            entries = []
            for index, (model, feed) in enumerate(zip(models, feeds, strict=True)):
                path = Path(folder) / f"{index}.onnx"
                model.write(path)
                entries.append(backends.Entry(path, feed, [port.name for port in model.signature.outputs]))
            answers = backends.run(self.where, entries, threads=self.threads, seconds=seconds).answers
        for answer in answers:
            if answer.median_ms is None:
                raise ModelError(
                    f"{self.where.backend.title} cannot be timed: {answer.error or 'it did not run'}"
                )
        return [answer.median_ms or 0.0 for answer in answers]


@dataclass(frozen=True)
class CommandDevice:
    """A device behind a command that takes the path of a model and prints milliseconds.

    The command is no shell text: its words are split once, and ``{model}`` in them becomes the path of a copy
    whose name holds nothing that a shell would read, since ssh hands words to one.
    """

    template: str

    def __post_init__(self) -> None:
        words = self._words()
        if not any(MODEL in word for word in words):
            raise UsageError(
                f"--measure-command has no {MODEL}, which stands for the path of a model",
                hint=f'such as --measure-command "ssh board bench {MODEL}"',
            )

    @property
    def key(self) -> str:
        """The command."""
        return self.template

    def milliseconds(
        self, models: Sequence[Model], feeds: Sequence[Feeds], seconds: float = LONG
    ) -> list[float]:
        """Milliseconds that the command prints for each model, one after the other."""
        return [self._one(model) for model in models]

    def _one(self, model: Model) -> float:
        with tempfile.TemporaryDirectory(prefix="graphopt-device-") as folder:
            path = Path(folder) / "model.onnx"
            if not _SAFE.fullmatch(path.as_posix()):
                raise UsageError(
                    f"--measure-command: the temporary folder {folder} has a name that shells read otherwise",
                    hint="name another by the environment variable TMPDIR",
                )
            model.write(path)
            return self._run([word.replace(MODEL, path.as_posix()) for word in self._words()])

    def _words(self) -> list[str]:
        try:
            words = shlex.split(self.template)
        except ValueError as error:
            raise UsageError(f"--measure-command {self.template!r} cannot be read: {error}") from error
        if not words:
            raise UsageError("--measure-command is empty")
        return words

    def _run(self, command: Sequence[str]) -> float:
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
                stdin=subprocess.DEVNULL,
            )
        except OSError as error:
            raise UsageError(
                f"--measure-command: {command[0]} cannot be started: {error.strerror or error}"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"--measure-command: {command[0]} did not end within {TIMEOUT:.0f} s") from error
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1][:300]
            raise ModelError(f"--measure-command: {command[0]} ended with {done.returncode} and says: {last}")
        return _milliseconds(done.stdout, command[0])


def layer_times(device: Device, layers: Sequence[LayerShape], progress: Progress) -> list[float]:
    """Milliseconds of layers on a device, each as a model of its own."""
    rng = np.random.default_rng(0)
    models = [_alone(layer, rng) for layer in layers]
    feeds = [{"x": _values(layer.input, layer.dtype, rng)} for layer in layers]
    times: list[float] = []
    starts = range(0, len(layers), TOGETHER)
    for start in progress(f"timing {len(layers)} layers on the device", starts, len(starts)):
        part = slice(start, start + TOGETHER)
        times += device.milliseconds(models[part], feeds[part], SHORT)
    return times


def _alone(layer: LayerShape, rng: np.random.Generator) -> Model:
    """A model of one layer."""
    model = ir.blank()
    graph = model.graph
    source = ir.Variable("x", np.dtype(layer.dtype), layer.input)
    graph.inputs = [source]
    weights = [graph.add_constant("w", _values(layer.weight, layer.dtype, rng))] if layer.weight else []
    node = graph.add_node(layer.op, [source, *weights], layer.attributes, name="layer")
    node.output.dtype, node.output.shape = np.dtype(layer.dtype), (None,) * len(layer.input)
    graph.outputs = [node.output]
    return model


def _values(dims: Sequence[int], dtype: str, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(dims, dtype=np.float32).astype(dtype)


def _milliseconds(text: str, program: str) -> float:
    """The last number of what a command prints."""
    numbers = _NUMBER.findall(text)
    value = float(numbers[-1]) if numbers else math.nan
    if not 0 < value < math.inf:
        printed = text.strip()[-200:] or "nothing"
        raise ModelError(f"--measure-command: {program} prints no number of milliseconds, but {printed!r}")
    return value
