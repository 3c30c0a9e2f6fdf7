"""Text: share of lines read without a mistake, from scores of characters in steps (CTC, greedy)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from graphopt.data import is_float
from graphopt.data.ground_truth.truth import load_rows
from graphopt.errors import ModelError
from graphopt.metrics.base import Metric, Outcome, Outputs
from graphopt.metrics.significance import paired_rates

if TYPE_CHECKING:
    from graphopt.data import Sample, Samples
    from graphopt.data.ground_truth.truth import Truth

BLANK = 0  # fixed: the class that stands for no character (PaddleOCR, and A. Graves et al., 2006)


class Text(Metric):
    """Compares lines as a whole: one wrong character makes a line wrong.

    The output (N, steps, K) scores K characters at each step; equal neighbours are one character, and class 0
    is none.
    """

    name: ClassVar[str] = "text"
    main, main_agreement = "lines", "lines"
    labels: ClassVar[str] = "lines"

    def __init__(self) -> None:
        self._after: list[bool] = []
        self._before: list[bool] = []
        self._same: list[bool] = []

    def update(self, outputs: Outputs, reference: Outputs | None, sample: Sample, truth: Any) -> None:
        """``truth`` has the characters of each row as numbers from 1, any others (0, -1) are padding."""
        name = _scores(outputs)
        lines = _read(outputs[name])
        others = None if reference is None else _read(reference[name])
        if others is not None:
            self._same += [
                line is not None and line == other for line, other in zip(lines, others, strict=True)
            ]
        if truth is None:
            return
        right = [[int(number) for number in row if number > BLANK] for row in truth]
        self._after += [line == wanted for line, wanted in zip(lines, right, strict=True)]
        if others is not None:
            self._before += [line == wanted for line, wanted in zip(others, right, strict=True)]

    def outcome(self, seed: int | None = 0) -> Outcome:
        """``lines`` is the share of lines that are right, or those of the reference, 0..1."""
        after, before = np.asarray(self._after, bool), np.asarray(self._before, bool)
        paired = {"lines": paired_rates(before, after, seed)} if len(before) and seed is not None else {}
        return Outcome(_rate(self._after), _rate(self._before), _rate(self._same), paired)

    def truth(self, spec: Any, samples: Samples) -> Truth:
        """The characters of each line: an array (samples, characters) of whole numbers."""
        return load_rows(spec, samples)


def _scores(outputs: Outputs) -> str:
    names = [
        name
        for name, value in outputs.items()
        if isinstance(value, np.ndarray) and value.ndim == 3 and is_float(value.dtype)
    ]
    if len(names) != 1:
        raise ModelError("no single output holds scores (N, steps, characters)", hint="choose another --task")
    return names[0]


def _read(scores: np.ndarray) -> list[list[int] | None]:
    """The characters of each row; None where scores are no numbers."""
    best = scores.argmax(axis=2)
    changed = np.concatenate([np.ones((len(best), 1), bool), best[:, 1:] != best[:, :-1]], axis=1)
    lines: list[list[int] | None] = []
    for line, starts, values in zip(best, changed, scores.astype(np.float64), strict=True):
        lines.append(line[starts & (line != BLANK)].tolist() if np.isfinite(values).all() else None)
    return lines


def _rate(flags: list[bool]) -> dict[str, float]:
    return {"lines": float(np.mean(flags))} if flags else {}
