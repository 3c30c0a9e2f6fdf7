"""The user's own metric: a function of outputs and labels that returns one value for each sample."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphopt.data.ground_truth.truth import load_rows
from graphopt.errors import UsageError
from graphopt.metrics.base import Metric, Outcome, Outputs
from graphopt.metrics.significance import paired_means
from graphopt.util.user_module import execute

if TYPE_CHECKING:
    from graphopt.data import Sample, Samples
    from graphopt.data.ground_truth.truth import Truth

Function = Callable[[dict[str, Any], Any], Any]


class UserFunction(Metric):
    """The mean of ``function(outputs, labels)`` over samples, higher is better.

    ``outputs`` are the arrays of a run by output name, their first axis is the samples of the run. ``labels``
    is an array with an entry for each of them: class labels of the data, or rows of the array that
    ``--labels`` names; None where there are neither. It returns one number for each sample.
    """

    name: ClassVar[str] = "function"
    labels: ClassVar[str] = "rows"
    takes_class_labels: ClassVar[bool] = True

    def __init__(self, function: Function, name: str = "") -> None:
        self._function = function
        self.main = name or getattr(function, "__name__", "metric")
        self._after: list[np.ndarray] = []
        self._before: list[np.ndarray] = []

    @staticmethod
    def load(text: str) -> UserFunction:
        """The function that ``FILE.py:FUNCTION`` names, from its file, which is executed.

        Raises UsageError when it cannot be loaded.
        """
        file, _, name = text.rpartition(":")
        path = Path(file)
        if not file or path.suffix != ".py" or not name.isidentifier():
            raise UsageError(f"--metric {text} is not of the form FILE.py:FUNCTION")
        if not path.is_file():
            raise UsageError(f"--metric {text}: there is no file {file}")
        return UserFunction(_function(text, file, name, path.stat().st_mtime_ns), name)

    def update(self, outputs: Outputs, reference: Outputs | None, sample: Sample, truth: Any) -> None:
        """Raises UsageError when the function fails, or returns no finite value for a good sample."""
        labels = None if truth is None else np.asarray(truth)
        rows = len(next(iter(sample.feeds.values())))
        values = self._values(outputs, labels, rows)
        if reference is None:
            self._check(values)
        else:
            before = self._values(reference, labels, rows)
            self._check(before)
            self._before.append(before)
        self._after.append(values)

    def outcome(self, seed: int | None = 0) -> Outcome:
        """The mean of the values, under the name of the function; NaN where the model's answers give NaN."""
        if not self._after:
            return Outcome()
        after = np.concatenate(self._after)
        if not self._before:
            return Outcome({self.main: float(after.mean())})
        before = np.concatenate(self._before)
        paired = {}
        if seed is not None and np.isfinite(after).all():
            paired[self.main] = paired_means(before, after, seed)
        return Outcome({self.main: float(after.mean())}, {self.main: float(before.mean())}, paired=paired)

    def truth(self, spec: Any, samples: Samples) -> Truth:
        """An array with a row for each sample, of any shape."""
        return load_rows(spec, samples)

    def _values(self, outputs: Outputs, labels: Any, rows: int) -> np.ndarray:
        try:
            values = np.asarray(self._function(dict(outputs), labels), np.float64)
        except Exception as error:  # whatever the user's function does
            hint = "there are no labels: give --labels, or data with labels" if labels is None else ""
            raise UsageError(f"the metric {self.main} failed: {_reason(error)}", hint=hint) from error
        if values.size != rows:
            raise UsageError(
                f"the metric {self.main} returned {values.size} values for {rows} samples",
                hint="return one number for each sample",
            )
        return values.reshape(rows)

    def _check(self, values: np.ndarray) -> None:
        if not np.isfinite(values).all():
            raise UsageError(
                f"the metric {self.main} returned {values[~np.isfinite(values)][0]} for a sample",
                hint="return one finite number for each sample",
            )


@functools.cache
def _function(text: str, file: str, name: str, changed: int) -> Function:
    """The function of a file as it was at the time ``changed``; the file is executed once."""
    try:
        module = execute(Path(file))
    except Exception as error:  # whatever the user's file does
        raise UsageError(f"--metric {text}: {file} cannot be loaded: {_reason(error)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(f"--metric {text}: {file} has no function {name}")
    return function


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
