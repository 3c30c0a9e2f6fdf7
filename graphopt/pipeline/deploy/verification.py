"""Runs the written file in the backends of its target, and says what is wrong with it there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt import backends, runtime
from graphopt.backends import agreement
from graphopt.errors import UsageError, VerificationError

if TYPE_CHECKING:
    import numpy as np

    from graphopt.runtime import SessionOptions
    from graphopt.targets import Target

SAMPLES = 4  # time: samples that a file is run on in a backend
RIGHT = 80.0  # noise: dB; ten thousandths of the outputs, which sums in another order stay far below
# noise: dB; integers that are twice as noisy as onnxruntime's are said, those ten times as noisy are wrong
MARGIN, WRONG = 3.0, 10.0


@dataclass(frozen=True)
class BackendCheck:
    """One backend's answers to a file: the SQNR of its outputs against onnxruntime's on the same file.

    ``noise`` says that they are noisier, ``wrong`` that they are wrong; empty where they are not.
    """

    name: str
    version: str
    sqnr_db: float
    noise: str = ""
    wrong: str = ""

    def __str__(self) -> str:
        text = f"{self.name} {self.version}: {self.sqnr_db:.1f} dB from onnxruntime on the same file"
        return f"{text}; {self.noise or self.wrong}" if self.noise or self.wrong else text


def verify_in_backends(
    path: Path,
    companions: Mapping[str, Path],
    reference: Path,
    original: Path | bytes | None,
    target: Target,
    feeds: Sequence[Mapping[str, np.ndarray]],
    session: SessionOptions,
) -> list[BackendCheck]:
    """Run a file in every installed backend of its target; ``feeds`` are samples.

    ``reference`` is the file whose outputs in onnxruntime are right: the same, or the one with pairs that it
    stands for.  With ``original``, the model before it was quantized, a backend may be as far from that as
    onnxruntime is.  Raises UsageError when none is installed, and VerificationError
    when one answers wrongly.
    """
    there = require_backends(target)
    right = runtime.Session(reference, session, optimization="disabled")
    outputs = [right.run(feed) for feed in feeds]
    float_outputs = None
    if original is not None:
        float_session = runtime.Session(original, session, optimization="disabled")
        float_outputs = [float_session.run(feed) for feed in feeds]
    checks = [_check(where, path, companions, feeds, outputs, float_outputs) for where in there]
    if wrong := [f"{check.name} {check.version}: {check.wrong}" for check in checks if check.wrong]:
        raise VerificationError(
            f"the optimized model is not right in {'; '.join(wrong)}",
            hint="another --target, or fewer passes; nothing was written",
        )
    return checks


def require_backends(target: Target) -> list[backends.Installed]:
    """The backends of a target that are installed; UsageError, which says what installs one, when none is."""
    there = [backend for name in target.backends if (backend := backends.installed(name)) is not None]
    if not there and not target.backends:
        raise UsageError(
            f"--verify-backend: graphopt cannot run {target.runtime}, and checks its rules alone",
            hint="leave --verify-backend out, or take a target that graphopt targets shows as run",
        )
    if not there:
        first = backends.find(target.backends[0])
        raise UsageError(
            f"--verify-backend: {first.title} is not installed",
            hint=f"graphopt targets --install {first.folder}",
        )
    return there


def _check(
    where: backends.Installed,
    path: Path,
    companions: Mapping[str, Path],
    feeds: Sequence[Mapping[str, np.ndarray]],
    outputs: Sequence[Mapping[str, Any]],
    original: Sequence[Mapping[str, Any]] | None,
) -> BackendCheck:
    entries = [backends.Entry(path, feed, list(outputs[0]), companions) for feed in feeds]
    result = backends.run(where, entries)
    title = where.backend.title
    failed = next((answer.error for answer in result.answers if answer.outputs is None), None)
    if failed is not None:
        return BackendCheck(title, result.version, -math.inf, wrong=f"it does not run: {failed}")
    answers = [answer.outputs or {} for answer in result.answers]
    return BackendCheck(title, result.version, *judged(outputs, answers, original))


def judged(
    outputs: Sequence[Mapping[str, Any]],
    answers: Sequence[Mapping[str, Any]],
    original: Sequence[Mapping[str, Any]] | None = None,
) -> tuple[float, str, str]:
    """The SQNR of a backend's answers, sample by sample the worst; what is noisier, and what is wrong."""
    worst = _worst(outputs, answers)
    if worst >= RIGHT:
        return worst, "", ""
    if original is None:
        return worst, "", f"its outputs are {worst:.1f} dB from onnxruntime's on the same file"
    own, there = _worst(original, outputs), _worst(original, answers)
    text = f"its outputs are {there:.1f} dB from the float model's, and onnxruntime's {own:.1f} dB"
    if there >= own - MARGIN:
        return worst, "", ""
    return (worst, text, "") if there >= own - WRONG else (worst, "", text)


def _worst(reference: Sequence[Mapping[str, Any]], answers: Sequence[Mapping[str, Any]]) -> float:
    def each() -> Iterator[float]:
        for right, answer in zip(reference, answers, strict=True):
            yield agreement(right, answer).sqnr_db

    return min(each())
