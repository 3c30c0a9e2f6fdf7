"""The Python functions behind every command: optimize, inspect, compare, evaluate, sensitivity.

They raise the errors of ``graphopt.errors``: UsageError for a wrong call, ModelError and DataError for what
cannot be read, PassError, VerificationError, GoalError and OutputError for a run that failed.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from graphopt.pipeline.run.output import default_output as output_beside
from graphopt.pipeline.spec.flag import flags_of, signature_of
from graphopt.pipeline.spec.recipe import Recipe, read, turns_of
from graphopt.pipeline.spec.request import make_request, recipe_flags
from graphopt.pipeline.spec.run_flags import RunFlags
from graphopt.util.progress import Progress, silent

if TYPE_CHECKING:
    from graphopt.analysis.comparison import Comparison, compare
    from graphopt.analysis.evaluation import Evaluation, evaluate
    from graphopt.analysis.inspection import Inspection, inspect
    from graphopt.analysis.sensitivity.study import sensitivity
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


Flags = ParamSpec("Flags")

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


def _takes_run_flags(
    arguments: Callable[Flags, Arguments],
) -> Callable[[Callable[..., Result]], Callable[Concatenate[str | Path | Model, Flags], Result]]:
    """Give a function the parameters of ``arguments`` behind the model, and name them in its docstring."""

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        model = Parameter("model", Parameter.POSITIONAL_OR_KEYWORD, annotation="str | Path | Model")
        described = "\n".join(
            f"        {name}: {flag.explained}" for name, flag in flags_of(RunFlags).items()
        )
        function.__signature__ = signature_of(Arguments, [model], "Result")  # type: ignore[attr-defined]
        function.__doc__ = (function.__doc__ or "").replace("        FLAGS", described)
        return function

    return decorate


@dataclass
class Arguments(RunFlags):
    """What ``optimize`` takes besides the model."""

    _: KW_ONLY
    progress: Progress = silent


@_takes_run_flags(Arguments)
def optimize(model: str | Path | Model, passes: str | None = None, **flags: Any) -> Result:
    """Run passes over a model and measure what they did.

    Arguments are the flags of ``graphopt optimize``; one that is not given, or None, takes the value of
    ``recipe``, else the default. Without ``output`` nothing is written: use ``Result.save``. A model given as
    an object is left as it is.

    Args:
        model: an ONNX file, or a Model.
        FLAGS
        progress: what shows work that takes long: a function of a description, what is looped over and its
            length that gives back what to loop over.

    Data is DATA text or Samples; ``shape`` is a mapping from input names to sizes. A goal (``max_drop``,
    ``require_speedup``) that was missed is in ``Result.missed``, an error with ``strict``; UsageError when it
    cannot be judged.

    Raises:
        GraphoptError: one of its subclasses; nothing was written.
    """
    progress = flags.pop("progress", None) or silent
    unknown = [name for name in flags if name not in flags_of(RunFlags)]
    if unknown:
        raise TypeError(f"optimize() got an unexpected keyword argument {unknown[0]!r}")
    given = {name: value for name, value in {"passes": passes, **flags}.items() if value is not None}
    return run(model, given, progress=progress)


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
