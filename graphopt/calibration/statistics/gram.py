"""Gram matrices of what linear layers read: all that least squares needs to know about the activations.

A layer is ``y = x W`` for each output position, with x the row of inputs under the kernel (im2col), so that
``G = sum x^T x`` and ``B = sum x^T t`` decide every least-squares question about W, whatever the data.
"""

from __future__ import annotations

import zlib

import numpy as np

from graphopt.calibration.statistics.base import State
from graphopt.calibration.statistics.patches import Patches
from graphopt.errors import DataError

POSITIONS = 64  # time: output positions looked at in each sample
_PENDING = 1024  # memory: rows multiplied at a time
_HASHED = 1024  # time: elements of a sample that decide where it is looked at


class Gram:
    """Sums of products of a layer's input rows with each other and, when given, with targets; float64.

    ``gram`` is (groups, n, n) with n = inputs x kernel, plus one for a constant 1 at the end with ``bias``;
    ``cross`` is (groups, n, outputs), ``energy`` (groups, outputs) the sum of squared targets, ``count`` the
    number of rows.  Of each sample at most ``positions`` output positions are looked at; which, depends on
    its content and ``seed``, so not on the order of the samples.
    """

    def __init__(
        self, patches: Patches, *, bias: bool = True, positions: int = POSITIONS, seed: int = 0
    ) -> None:
        self.patches = patches
        self.bias = bias
        self.positions = positions
        self.seed = seed
        self.count = 0
        self.nonfinite = 0
        self._gram = self._cross = self._energy = np.zeros(0)
        self._rows: list[np.ndarray] = []
        self._targets: list[np.ndarray] = []

    @property
    def key(self) -> str:
        return f"Gram({self.patches}, {self.bias}, {self.positions}, {self.seed})"

    @property
    def gram(self) -> np.ndarray:
        """Sum of x^T x, (groups, n, n)."""
        self._multiply()
        return self._gram

    @property
    def cross(self) -> np.ndarray:
        """Sum of x^T t, (groups, n, outputs); empty without targets."""
        self._multiply()
        return self._cross

    @property
    def energy(self) -> np.ndarray:
        """Sum of t**2, (groups, outputs); empty without targets."""
        self._multiply()
        return self._energy

    def update(self, values: np.ndarray, target: np.ndarray | None = None) -> None:
        """Take in one sample's input of the layer and, always or never, the outputs wanted for it."""
        chosen = self._choose(values)
        rows = self.patches.rows(values, chosen).astype(np.float64)
        wanted = rows[..., :0]
        if target is not None:
            wanted = self.patches.outputs(target, chosen).astype(np.float64)
        finite = np.isfinite(rows).all(axis=(0, 2)) & np.isfinite(wanted).all(axis=(0, 2))
        if not finite.all():
            bad = int((~np.isfinite(rows)).sum() + (~np.isfinite(wanted)).sum())
            self.nonfinite += bad
            rows, wanted = rows[:, finite], wanted[:, finite]
        if self.bias:
            rows = np.concatenate([rows, np.ones((*rows.shape[:2], 1))], axis=2)
        self._refuse_other(rows, wanted)
        self.count += rows.shape[1]
        self._rows.append(rows)
        self._targets.append(wanted)
        if sum(part.shape[1] for part in self._rows) >= _PENDING:
            self._multiply()

    def merge(self, other: Gram) -> Gram:
        """The sums over both sets of samples."""
        if self.key != other.key:
            raise ValueError(f"{self.key} and {other.key} do not add up")
        merged = Gram(self.patches, bias=self.bias, positions=self.positions, seed=self.seed)
        first, second = self.state(), other.state()
        if not (self.count and other.count):
            first = first if self.count else second
            merged.restore({**first, "seen": self.state()["seen"] + other.state()["seen"]})
        else:
            merged.restore({name: first[name] + second[name] for name in first})
        return merged

    def state(self) -> State:
        self._multiply()
        seen = np.array([self.count, self.nonfinite], np.int64)
        return {"seen": seen, "gram": self._gram, "cross": self._cross, "energy": self._energy}

    def restore(self, state: State) -> None:
        self._rows, self._targets = [], []
        self.count, self.nonfinite = (int(number) for number in state["seen"])
        self._gram, self._cross, self._energy = (np.array(state[n]) for n in ("gram", "cross", "energy"))

    def _choose(self, values: np.ndarray) -> np.ndarray:
        places = self.patches.places(values)
        if places <= self.positions:
            return np.arange(places)
        flat = values.reshape(-1)
        content = zlib.crc32(np.ascontiguousarray(flat[:: max(1, flat.size // _HASHED)]).tobytes())
        rng = np.random.default_rng([self.seed, content])
        return np.sort(rng.choice(places, self.positions, replace=False))

    def _refuse_other(self, rows: np.ndarray, wanted: np.ndarray) -> None:
        columns = self._rows[0].shape[2] if self._rows else self._gram.shape[-1] or rows.shape[2]
        outputs = self._targets[0].shape[2] if self._targets else wanted.shape[2]
        if rows.shape[2] != columns or wanted.shape[2] != outputs:
            raise DataError(f"has rows of {rows.shape[2]} values after {columns} in an earlier sample")

    def _multiply(self) -> None:
        """Add the pending rows to the sums."""
        if not self._rows:
            return
        rows = np.concatenate(self._rows, axis=1)
        wanted = np.concatenate(self._targets, axis=1)
        self._rows, self._targets = [], []
        turned = rows.transpose(0, 2, 1)
        sums = (turned @ rows, turned @ wanted, np.einsum("gpm,gpm->gm", wanted, wanted))
        if self._gram.size:
            sums = (self._gram + sums[0], self._cross + sums[1], self._energy + sums[2])
        self._gram, self._cross, self._energy = sums
