"""The Python functions behind every command: optimize, inspect, compare, evaluate, sensitivity.

They raise the errors of ``graphopt.errors``: UsageError for a wrong call, ModelError and DataError for what
cannot be read, PassError, VerificationError, GoalError and OutputError for a run that failed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt.pipeline.run.output import default_output as output_beside
from graphopt.pipeline.spec.recipe import Recipe, read, turns_of
from graphopt.pipeline.spec.request import make_request, recipe_flags
from graphopt.util.progress import Progress, silent

if TYPE_CHECKING:
    from graphopt.analysis.comparison import Comparison, compare
    from graphopt.analysis.evaluation import Evaluation, evaluate
    from graphopt.analysis.inspection import Inspection, inspect
    from graphopt.analysis.sensitivity.study import sensitivity
    from graphopt.data import Samples
    from graphopt.ir import Model
    from graphopt.record.record import Record
    from graphopt.record.sensitivity import Sensitivity
    from graphopt.report.export.pages import report

__all__ = [
    "Comparison",
    "Evaluation",
    "Inspection",
    "Result",
    "Sensitivity",
    "compare",
    "evaluate",
    "inspect",
    "optimize",
    "report",
    "run",
    "sensitivity",
]


_ELSEWHERE = {
    "Comparison": "analysis.comparison",
    "compare": "analysis.comparison",
    "Evaluation": "analysis.evaluation",
    "evaluate": "analysis.evaluation",
    "Inspection": "analysis.inspection",
    "inspect": "analysis.inspection",
    "Sensitivity": "record.sensitivity",
    "sensitivity": "analysis.sensitivity.study",
    "report": "report.export.pages",
}


def __getattr__(name: str) -> Any:
    """Import the functions that only look at models when they are used; optimizing needs none of them."""
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"graphopt.{_ELSEWHERE[name]}"), name)


@dataclass(frozen=True)
class Result:
    """The outcome of ``optimize``: the changed model and the report of the run."""

    model: Model
    report: Record

    @property
    def missed(self) -> tuple[str, ...]:
        """The stated goals that were missed, in words; empty when all were reached."""
        return self.report.missed

    def save(self, path: str | Path, *, force: bool = False) -> list[Path]:
        """Write the model so that ``path`` appears complete or not at all; returns the files written.

        Raises OutputError, also when ``path`` exists and ``force`` is not set.
        """
        return self.model.save(Path(path), force=force)


def optimize(
    model: str | Path | Model,
    passes: str | None = None,
    *,
    recipe: str | Path | None = None,
    output: str | Path | None = None,
    calibration: str | Path | Samples | None = None,
    evaluation: str | Path | Samples | None = None,
    task: str | None = None,
    metric: str | Callable[..., Any] | None = None,
    labels: str | Path | None = None,
    decode: str | None = None,
    confidence: float | None = None,
    threshold: float | None = None,
    preprocess: str | Path | None = None,
    shape: Mapping[str, Sequence[int]] | None = None,
    fix_shape: bool | None = None,
    target: str | None = None,
    plan: str | Path | None = None,
    plan_out: str | Path | None = None,
    dry_run: bool | None = None,
    max_drop: float | None = None,
    require_speedup: bool | None = None,
    strict: bool | None = None,
    verify: str | None = None,
    tolerance: float | None = None,
    latency: bool | None = None,
    as_written: bool | None = None,
    seed: int | None = None,
    threads: int | None = None,
    provider: str | None = None,
    cache: str | Path | None = None,
    custom_ops: Sequence[str] | None = None,
    force: bool | None = None,
    dump: str | Path | None = None,
    report: str | Path | Sequence[str | Path] | None = None,
    progress: Progress | None = None,
) -> Result:
    """Run passes over a model and measure what they did.

    Arguments are the flags of ``graphopt optimize``; None takes the value of ``recipe``, else the default.
    Without ``output`` nothing is written: use ``Result.save``. A model given as an object is left as it is.

    Args:
        model: an ONNX file, or a Model.
        passes: a spec such as ``"fold-bn,prune:macs=0.7"``.
        calibration: samples passes may look at: DATA text, or Samples; synthetic when None.
        evaluation: samples to measure accuracy on, before and after.
        shape: sizes to run dynamic inputs at, by input name.
        task: what the model is for: classification, detection, segmentation, text or generic; by default
            classification where it has class scores.
        metric: instead of a task a function of outputs and labels, or ``FILE.py:FUNCTION``, that returns one
            value for each sample, higher is better (``graphopt.metrics.UserFunction``).
        labels, decode, confidence, threshold: as in ``evaluate``.
        max_drop: goal in points, hundredths of the metric (top-1, mAP, mIoU, lines, or what ``metric``
            returns), or of the share of equal answers where there are no labels; a missed goal is in
            ``Result.missed``, an error with ``strict``; UsageError when it cannot be judged.
        require_speedup: goal: the result runs faster than the input here; missed like ``max_drop``.
        tolerance: relative difference max|d| / max|reference| that exact passes may make.
        dump: a folder to write the model to after each pass that changed it.
        report: files to write the report to as well: ``.json`` for scripts, ``.html`` for people.

    Raises:
        GraphoptError: one of its subclasses; nothing was written.
    """
    arguments = dict(locals())
    own = {"model", "progress"}
    given = {name: value for name, value in arguments.items() if name not in own and value is not None}
    return run(model, given, progress=progress or silent)


def read_recipe(recipe: str | Path | Recipe | None) -> Recipe:
    """Read a recipe file; nothing is an empty recipe, and one that was read already stays as it is."""
    if isinstance(recipe, Recipe):
        return recipe
    return Recipe() if recipe is None else read(Path(recipe), recipe_flags())


def run(
    model: str | Path | Model,
    given: Mapping[str, Any],
    *,
    default_output: bool = False,
    **surroundings: Any,
) -> Result:
    """Run an optimization from a mapping of flags: what the command line and ``optimize`` share.

    With ``default_output`` the result goes beside the input when neither flags nor recipe name an output.
    """
    values = dict(given)
    recipe_path = values.pop("recipe", None)
    recipe = read_recipe(recipe_path)
    turns = turns_of(values.pop("passes", None))
    if default_output and "output" not in values and "output" not in recipe.flags:
        values["output"] = output_beside(Path(str(model)))
    request = make_request(model, turns, recipe, {**values, **surroundings})
    from graphopt.pipeline.run.run import Run

    finished = Run(request).execute()
    return Result(finished.model, finished.record)
