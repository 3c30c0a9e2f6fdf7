"""Hold a backend's answers to onnxruntime's on the same file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from graphopt.runtime.difference import Difference, differences


@dataclass(frozen=True)
class Agreement:
    """How far a backend's outputs are from onnxruntime's: the differences by output name."""

    outputs: Mapping[str, Difference]

    @property
    def sqnr_db(self) -> float:
        """Of the worst output; minus infinity where one cannot be compared or integers differ."""
        return min(map(_sqnr, self.outputs.values()), default=math.inf)

    @property
    def worst(self) -> str:
        """The name of the worst output."""
        return min(self.outputs, key=lambda name: _sqnr(self.outputs[name]), default="")


def agreement(reference: Mapping[str, np.ndarray], answer: Mapping[str, np.ndarray]) -> Agreement:
    """Compare outputs by name; the backend's are first brought into the shape and type that ONNX gives them.

    Backends leave out the axis of a batch of one, keep channels last, or answer int64 in int32; what cannot
    be brought into shape is a mismatch.
    """
    arranged = {
        name: _arranged(reference[name], value) for name, value in answer.items() if name in reference
    }
    return Agreement(differences(reference, arranged))


def _arranged(reference: np.ndarray, value: np.ndarray) -> np.ndarray:
    if value.dtype != reference.dtype and value.dtype.kind == reference.dtype.kind:
        value = value.astype(reference.dtype)
    candidates = [value] if value.shape == reference.shape else []
    if value.ndim == reference.ndim > 2:
        turned = np.moveaxis(value, -1, 1)
        candidates += [turned] if turned.shape == reference.shape and turned.shape != value.shape else []
    if not candidates and _squeezed(value) == _squeezed(reference):
        candidates = [value.reshape(reference.shape)]
    return candidates[0] if candidates else value


def _squeezed(value: np.ndarray) -> tuple[int, ...]:
    return tuple(size for size in value.shape if size != 1)


def _sqnr(difference: Difference) -> float:
    if difference.mismatch or difference.unequal:
        return -math.inf
    return difference.snr_db
