"""How far the outputs of two models are apart, accumulated sample by sample."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from graphopt.data.element_types import is_float

# noise: relative, float32 and wider; sums of products in another order differ by roundings: 839 of float32
TOLERANCE = 1e-4
# noise: relative, where anything is float16 or bfloat16: 20 roundings of the one, 2.6 of the other
HALF_TOLERANCE = 2e-2
BLOCK = 2**18  # memory: elements compared at a time, so that no copy leaves the cache
STEPS = (  # of the last place in types of a few bits: what rounding may move a number by
    ("float8_e4m3", 2.0**-3),
    ("float8_e5m2", 2.0**-2),
    ("float", TOLERANCE),
)


class Verdict(Enum):
    """What a tolerance says about one output."""

    SAME = "same"
    DIFFERENT = "different"
    CANNOT_JUDGE = "cannot judge"  # the reference holds NaN or infinity: never a pass


@dataclass(frozen=True)
class Difference:
    """The distance of one output from its reference over all samples seen.

    `max_abs` is max|candidate - reference|, `peak` is max|reference|, both over the finite reference values;
    `snr_db` is 10 log10(sum reference^2 / sum difference^2), infinite for equal outputs; `cosine` is that of
    the angle between reference and candidate, all samples as one vector.
    `unequal` counts elements of integer, boolean and text outputs that differ; `nonfinite` counts reference
    values that are NaN or infinite; `mismatch` says why arrays could not be compared at all.
    """

    name: str
    dtype: str
    elements: int
    max_abs: float
    peak: float
    snr_db: float
    unequal: int
    nonfinite: int
    mismatch: str = ""
    cosine: float = 1.0

    @property
    def relative(self) -> float:
        """max|difference| / max|reference|; 0 for equal outputs, infinite where it cannot be formed."""
        if self.mismatch or self.unequal:
            return math.inf
        if self.max_abs == 0.0:
            return 0.0
        return self.max_abs / self.peak if self.peak > 0.0 else math.inf

    @property
    def is_float(self) -> bool:
        """Whether the output holds floating-point numbers."""
        return self.dtype.startswith(("float", "bfloat"))

    @property
    def tolerance(self) -> float:
        """The relative difference an exact pass may cause for this type: 0 for anything but floats."""
        if self.dtype in ("float16", "bfloat16"):
            return HALF_TOLERANCE
        return next((step for stem, step in STEPS if self.dtype.startswith(stem)), 0.0)

    def verdict(self, tolerance: float | None = None) -> Verdict:
        """Judge the output; `tolerance` (relative) replaces the default of float types."""
        limit = self.tolerance if tolerance is None or self.tolerance == 0.0 else tolerance
        if self.dtype.startswith("float8"):
            limit = max(limit, self.tolerance)  # nothing finer can be distinguished
        if self.relative > limit:
            return Verdict.DIFFERENT
        return Verdict.CANNOT_JUDGE if self.nonfinite else Verdict.SAME


@dataclass
class _Sums:
    """Running sums of one output, in float64."""

    dtype: str = ""
    elements: int = 0
    max_abs: float = 0.0
    peak: float = 0.0
    signal: float = 0.0
    noise: float = 0.0
    power: float = 0.0  # of the candidate
    unequal: int = 0
    nonfinite: int = 0
    mismatch: str = ""

    def add(self, reference: np.ndarray, candidate: np.ndarray) -> None:
        self.dtype = self.dtype or str(reference.dtype)
        if reference.shape != candidate.shape:
            self.mismatch = f"shape {candidate.shape} instead of {reference.shape}"
        elif reference.dtype != candidate.dtype:
            self.mismatch = f"type {candidate.dtype} instead of {reference.dtype}"
        elif is_float(reference.dtype):
            self.elements += reference.size
            before, after = reference.reshape(-1), candidate.reshape(-1)
            for start in range(0, before.size, BLOCK):
                part = slice(start, start + BLOCK)
                self._add_floats(before[part].astype(np.float64), after[part].astype(np.float64))
        else:
            self.elements += reference.size
            self.unequal += int(np.count_nonzero(reference != candidate))

    def _add_floats(self, reference: np.ndarray, candidate: np.ndarray) -> None:
        finite = np.isfinite(reference)
        self.nonfinite += reference.size - int(np.count_nonzero(finite))
        reference, candidate = reference[finite], candidate[finite]
        distance = np.abs(candidate - reference)
        if reference.size == 0:
            return
        distance[np.isnan(distance)] = math.inf  # a NaN where the reference has a number
        self.peak = max(self.peak, float(np.abs(reference).max()))
        self.max_abs = max(self.max_abs, float(distance.max()))
        self.signal += float(np.square(reference).sum())
        self.noise += float(np.square(distance).sum())
        self.power += float(np.square(candidate).sum())

    def result(self, name: str) -> Difference:
        return Difference(
            name=name,
            dtype=self.dtype,
            elements=self.elements,
            max_abs=self.max_abs,
            peak=self.peak,
            snr_db=_decibels(self.signal, self.noise),
            unequal=self.unequal,
            nonfinite=self.nonfinite,
            mismatch=self.mismatch,
            cosine=self._cosine(),
        )

    def _cosine(self) -> float:
        if self.noise == 0.0:
            return 1.0
        length = math.sqrt(self.signal * self.power)
        if not 0.0 < length < math.inf:
            return 0.0
        return (self.signal + self.power - self.noise) / (2.0 * length)


@dataclass
class Comparison:
    """Accumulates the differences of two models' outputs over samples, in constant memory."""

    _sums: dict[str, _Sums] = field(default_factory=dict)

    def update(self, reference: Mapping[str, Any], candidate: Mapping[str, Any]) -> None:
        """Add the outputs of both models for the same feeds; arrays by output name."""
        others = dict(_arrays(candidate))
        for name, array in _arrays(reference):
            sums = self._sums.setdefault(name, _Sums())
            if name in others:
                sums.add(array, others[name])
            else:
                sums.mismatch = "missing"

    def result(self) -> dict[str, Difference]:
        """The differences so far, by output name; elements of a sequence output are `name[i]`."""
        return {name: sums.result(name) for name, sums in self._sums.items()}


def differences(reference: Mapping[str, Any], candidate: Mapping[str, Any]) -> dict[str, Difference]:
    """Compare the outputs of one run of each model."""
    comparison = Comparison()
    comparison.update(reference, candidate)
    return comparison.result()


def _arrays(outputs: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    """Every array among the outputs; sequences and maps of ONNX are taken apart, absent optionals skipped."""
    for name, value in outputs.items():
        if isinstance(value, dict):
            yield from _arrays({f"{name}[{key}]": value[key] for key in sorted(value)})
        elif isinstance(value, list | tuple):
            yield from _arrays({f"{name}[{i}]": item for i, item in enumerate(value)})
        elif value is not None:
            yield name, np.asarray(value)


def _decibels(signal: float, noise: float) -> float:
    """Signal-to-noise ratio in dB."""
    if noise == 0.0:
        return math.inf
    if signal == 0.0 or math.isinf(noise):
        return -math.inf
    return 10.0 * math.log10(signal / noise)
