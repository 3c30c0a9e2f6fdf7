"""How many times as long one network takes as another on this machine: measured once, read back ever after.

A search that goes by the clock would end elsewhere in every run; by kept ratios it repeats.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from graphopt import ir
from graphopt.cost.latency.device import Device
from graphopt.cost.latency.storage import Host, Kept, file_in
from graphopt.runtime import machine

SCHEMA = 1  # fixed: raise it when networks are timed in another way
# time: bytes of weights up to which networks are hashed to be distinguished; larger ones are measured again
LARGEST = 2**30


class Ratios:
    """Measured ratios by the two networks, for one processor, onnxruntime version and number of threads."""

    def __init__(self, file: Path | None, host: Host) -> None:
        self._kept = Kept(file, "ratios", SCHEMA, host)
        self._known = self._kept.read()

    @classmethod
    def open(cls, cache: Path | None, threads: int, device: Device | None = None) -> Ratios:
        """The ratios of this machine or of a device.

        ``cache`` is the folder of their file, None keeps them in memory.
        """
        host: Host = {**machine(threads)} if device is None else {**machine(threads), "device": device.key}
        return cls(file_in(cache, "ratios", SCHEMA, host), host)

    def of(
        self, before: ir.Model, after: ir.Model, measure: Callable[[], float], *, under: str = ""
    ) -> float:
        """Return the ratio for two networks as they stand, by ``measure`` when they are new.

        ``under`` says what else it depends on, such as the sizes of inputs.  Raises OutputError when the file
        cannot be written.
        """
        if max(before.weight_bytes, after.weight_bytes) > LARGEST:
            return measure()
        key = hashlib.sha256(_digest(before) + _digest(after) + under.encode()).hexdigest()
        if key not in self._known:
            self._known = self._kept.add({**self._known, key: round(measure(), 6)})
        return self._known[key]


def _digest(model: ir.Model) -> bytes:
    return hashlib.sha256(model.to_bytes()).digest()
