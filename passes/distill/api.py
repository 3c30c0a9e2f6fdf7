"""The Python functions behind the command: train a student towards a teacher."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt.errors import UsageError
from graphopt.pipeline.contract.options import to_text
from graphopt.pipeline.spec.recipe import Recipe, ScheduledPass
from graphopt.pipeline.spec.request import Request, make_request
from graphopt.pipeline.spec.spec import PassSpec
from graphopt.util.text import meant_or_known

from .distill import Distill

if TYPE_CHECKING:
    from graphopt.api import Result
    from graphopt.data import Samples


def distill(teacher: str | Path, student: str | Path, data: str | Path | Samples, **options: Any) -> Result:
    """Train ``student`` so that it answers as ``teacher`` does.

    Args:
        teacher: an ONNX file with the same inputs and outputs as the student.
        student: an ONNX file; structure and shapes stay, weights change.
        data: samples to train on, DATA text or Samples; labels count only with ``alpha``.
        options: those of the pass (epochs, lr, temperature, ...) and of ``graphopt.optimize`` (output,
            evaluation, preprocess, shape, seed, threads, cache, report, force, strict).

    Raises:
        UsageError: an unknown option, or no trainer is installed.
        ModelError: the models' inputs or outputs differ.
        DataError: samples are too few, hold NaN, or have labels out of range.
        PassError: an operator has no gradient, or the trainer failed.
    """
    return train(teacher, student, data, **options)


def train(
    teacher: str | Path,
    student: str | Path,
    data: str | Path | Samples,
    *,
    default_output: Path | None = None,
    **options: Any,
) -> Result:
    """The same with the surroundings that a command line brings: progress, busy, announce, command."""
    from graphopt.api import Result
    from graphopt.pipeline.run.run import Run

    own = {option.name for option in Distill.describe()} - {"threads"}
    for name, value in (("teacher", teacher), ("student", student)):
        if not str(value):
            raise UsageError(f"the {name} is not named: its path is empty")
    of_run = {field.name for field in dataclasses.fields(Request)} - {"model", "turns", "passes", "recipe"}
    for name in options:
        if name not in own | of_run:
            raise UsageError(f"distill has no option {name!r}{meant_or_known(name, own | of_run)}")
    training = {name: options.pop(name) for name in list(options) if name in own}
    training["teacher"] = str(teacher)
    step = PassSpec("distill", tuple((name, to_text(value)) for name, value in training.items()))
    if default_output is not None:
        options.setdefault("output", default_output)
    flags = {"latency": False, **options, "calibration": data}
    request = make_request(student, (ScheduledPass(step),), Recipe(), flags)
    finished = Run(dataclasses.replace(request, as_written=True)).execute()
    return Result(finished.model, finished.record)
