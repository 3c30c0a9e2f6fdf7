"""The Python functions behind the command: train a student towards a teacher."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt import ir
from graphopt.errors import UsageError
from graphopt.pipeline.contract.options import to_text
from graphopt.pipeline.spec.recipe import Recipe, ScheduledPass
from graphopt.pipeline.spec.request import Request, make_request
from graphopt.pipeline.spec.spec import PassSpec
from graphopt.util.text import meant_or_known

from .distill import Distill

if TYPE_CHECKING:
    from graphopt.api import Result
    from graphopt.ir import Model, ModelLike


def distill(teacher: ModelLike, student: ModelLike, data: Any, **options: Any) -> Result:
    """Train ``student`` so that it answers as ``teacher`` does.

    Args:
        teacher: a model with the same inputs and outputs as the student, given as in ``graphopt.optimize``.
        student: a model; structure and shapes stay, weights change.
        data: samples to train on, given as in ``graphopt.optimize``; labels count only with ``alpha``.
        options: those of the pass (epochs, lr, temperature, ...) and of ``graphopt.optimize`` (output,
            evaluation, preprocess, transform, shape, seed, threads, cache, report, force, strict).

    Raises:
        UsageError: an unknown option, or no trainer is installed.
        ModelError: the models' inputs or outputs differ.
        DataError: samples are too few, hold NaN, or have labels out of range.
        PassError: an operator has no gradient, or the trainer failed.
    """
    return train(teacher, student, data, **options)


def train(
    teacher: ModelLike,
    student: ModelLike,
    data: Any,
    *,
    default_output: Path | None = None,
    **options: Any,
) -> Result:
    """The same with the surroundings that a command line brings: progress, busy, announce, command."""
    from graphopt.api import Result
    from graphopt.pipeline.run.run import Run

    own = {option.name for option in Distill.describe()} - {"threads"}
    of_run = {field.name for field in dataclasses.fields(Request)} - {"model", "turns", "passes", "recipe"}
    original, changed = ir.accept(teacher, "the teacher"), ir.accept(student, "the student")
    if data is None:
        raise UsageError("distill needs data: there is nothing to train on")
    for name in options:
        if name not in own | of_run:
            raise UsageError(f"distill has no option {name!r}{meant_or_known(name, own | of_run)}")
    training = {name: options.pop(name) for name in list(options) if name in own}
    if default_output is not None:
        options.setdefault("output", default_output)
    flags = {"latency": False, **options, "calibration": data}
    with _as_file(original) as path:
        training["teacher"] = str(path)
        step = PassSpec("distill", tuple((name, to_text(value)) for name, value in training.items()))
        request = make_request(changed, (ScheduledPass(step),), Recipe(), flags)
        finished = Run(dataclasses.replace(request, as_written=True)).execute()
    return Result(finished.model, finished.record)


@contextlib.contextmanager
def _as_file(model: Path | Model) -> Iterator[Path]:
    """The file of a model; one in memory gets one for the time being."""
    if isinstance(model, Path):
        yield model
        return
    with tempfile.TemporaryDirectory(prefix="graphopt-") as folder:
        path = Path(folder, "teacher.onnx")
        model.write(path)
        yield path
