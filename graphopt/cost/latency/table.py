"""How long layers take on this machine: measured once, kept on disk, read back ever after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graphopt.cost.latency.device import Device, layer_times
from graphopt.cost.latency.layer_shape import LayerShape
from graphopt.cost.latency.storage import Host, Kept, file_in
from graphopt.cost.latency.timing import time_layers
from graphopt.runtime import machine
from graphopt.util.progress import Progress, silent

Timer = Callable[..., "list[float]"]

# Runs in every sitting, so that times measured on a busy day go with those of a quiet one.
REFERENCE_LAYER = LayerShape("Conv", (1, 64, 28, 28), (64, 64, 3, 3), (("pads", (1, 1, 1, 1)),))
SCHEMA = 1  # fixed: raise it when layers are timed in another way
SECONDS = 60.0  # time: for one sitting, however many layers are new


class LatencyTable:
    """Milliseconds by layer, for one processor, onnxruntime version and number of threads.

    Made by ``open``.  A layer that was timed once keeps its number: runs that plan by the table repeat
    exactly as long as its file lives.
    """

    def __init__(
        self,
        path: Path | None,
        host: Host,
        *,
        seconds: float = SECONDS,
        progress: Progress = silent,
        timer: Timer = time_layers,
    ) -> None:
        self.path = path
        self._host = host
        self._seconds = seconds
        self._progress = progress
        self._timer = timer
        self._kept = Kept(path, "milliseconds", SCHEMA, host)
        self._known = self._kept.read()

    @classmethod
    def open(
        cls,
        cache: Path | None,
        threads: int,
        *,
        seconds: float = SECONDS,
        progress: Progress = silent,
        device: Device | None = None,
    ) -> LatencyTable:
        """The table of this machine for sessions of ``threads`` threads.

        ``cache`` is the folder of its file; None keeps it in memory alone.  Measuring layers that are not
        known takes about ``seconds`` a call, shown by ``progress``.  With ``device`` it is the table of that.
        """
        if device is not None:
            return cls._of_device(cache, threads, progress, device)
        host = machine(threads)
        return cls(file_in(cache, "latency", SCHEMA, host), host, seconds=seconds, progress=progress)

    @classmethod
    def _of_device(cls, cache: Path | None, threads: int, progress: Progress, device: Device) -> LatencyTable:
        def timer(layers: Sequence[LayerShape], threads: int, **_: Any) -> list[float]:
            return layer_times(device, layers, progress)

        host = {**machine(threads), "device": device.key}
        return cls(file_in(cache, "latency", SCHEMA, host), host, progress=progress, timer=timer)

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, layer: LayerShape) -> bool:
        return layer.key() in self._known

    def milliseconds(self, layers: Sequence[LayerShape]) -> np.ndarray:
        """Time of each layer [n]; those that are new are measured together, in turn, and kept.

        Raises ModelError when onnxruntime cannot run a layer, OutputError when the file cannot be written.
        """
        new = [layer for layer in dict.fromkeys(layers) if layer not in self]
        if new:
            self._measure([REFERENCE_LAYER, *(layer for layer in new if layer != REFERENCE_LAYER)])
        return np.array([self._known[layer.key()] for layer in layers], np.float64)

    def _measure(self, layers: Sequence[LayerShape]) -> None:
        """Time layers, the yardstick first, and scale their times to the one it had before."""
        times = self._timer(layers, self._host["threads"], seconds=self._seconds, progress=self._progress)
        scale = self._known.get(REFERENCE_LAYER.key(), times[0]) / times[0]
        self._keep({layer.key(): scale * time for layer, time in zip(layers, times, strict=True)})

    def _keep(self, measured: dict[str, float]) -> None:
        """Add what was measured, unless another process kept the same layer first."""
        rounded = {key: round(time, 6) for key, time in measured.items()}
        self._known = self._kept.add({**rounded, **self._known})
