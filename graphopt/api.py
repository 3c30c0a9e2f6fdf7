"""The Python functions behind every command: optimize, inspect, compare, evaluate, sensitivity.

They raise the errors of ``graphopt.errors``: UsageError for a wrong call, ModelError and DataError for what
cannot be read, PassError, VerificationError, GoalError and OutputError for a run that failed.
"""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from graphopt.errors import UsageError
from graphopt.pipeline.run.output import default_output as output_beside
from graphopt.pipeline.spec.flag import flags_of, signature_of
from graphopt.pipeline.spec.recipe import Recipe, read
from graphopt.pipeline.spec.request import make_request, recipe_flags
from graphopt.pipeline.spec.run_flags import RunFlags
from graphopt.pipeline.spec.written import scheduled
from graphopt.util.progress import Progress, silent
from graphopt.util.text import described

if TYPE_CHECKING:
    from graphopt.analysis.comparison import Comparison, compare
    from graphopt.analysis.evaluation import Evaluation, evaluate
    from graphopt.analysis.inspection import Inspection, inspect
    from graphopt.analysis.sensitivity.study import sensitivity
    from graphopt.ir import Model, ModelLike
    from graphopt.pipeline.spec.run_flags import PassesLike
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


@dataclass(frozen=True, repr=False)
class Result:
    """The outcome of ``optimize``: the changed model and the report of the run.

    It prints as one line and shows its headline numbers in a notebook.
    """

    model: Model
    report: Record

    @property
    def missed(self) -> tuple[str, ...]:
        """The stated goals that were missed, in words; empty when all were reached."""
        return self.report.missed

    def save(self, path: str | Path, *, force: bool = False) -> list[Path]:
        """Write the model so that ``path`` appears complete or not at all; returns the files written.

        Raises OutputError, also when ``path`` exists and ``force`` is not set; UsageError for what is no
        path.
        """
        if not isinstance(path, (str, Path)) or not str(path):
            raise UsageError(f"save takes a path, not {described(path) if path != '' else 'an empty text'}")
        return self.model.save(Path(path), force=force)

    def show(self, path: str | Path | None = None) -> Path:
        """Write the report as a page and open it in the browser; returns where it was written.

        Without ``path`` the page goes into a temporary folder, which is left there for the browser. Layers
        are in it where ``optimize`` was given a ``report`` as well. Raises OutputError.
        """
        target = Path(tempfile.mkdtemp(prefix="graphopt-"), "report.html") if path is None else Path(path)
        if target.suffix != ".html":
            raise UsageError(f"{target}: a page is written as .html", hint=f"name it {target}.html")
        self.report.write(target)
        import webbrowser

        webbrowser.open(target.absolute().as_uri())
        return target

    def __str__(self) -> str:
        from graphopt.report.html.summary import in_short

        document = self.report.to_json()
        names = ", ".join(entry.name for entry in self.report.passes if not entry.added) or "no pass"
        missed = "".join(f"; GOAL MISSED: {text}" for text in self.missed)
        return f"{Path(self.report.input).name} after {names}: {in_short(document)}{missed}"

    def __repr__(self) -> str:
        return f"<graphopt.Result: {self}>"

    def _repr_html_(self) -> str:
        from graphopt.report.html import notebook_cards

        return notebook_cards(self.report.to_json(), self.missed)


def _takes_run_flags(
    arguments: Callable[Flags, Arguments],
) -> Callable[[Callable[..., Result]], Callable[Concatenate[ModelLike, Flags], Result]]:
    """Give a function the parameters of ``arguments`` behind the model, and name them in its docstring."""

    def decorate(function: Callable[..., Result]) -> Callable[..., Result]:
        model = Parameter("model", Parameter.POSITIONAL_OR_KEYWORD, annotation="ModelLike")
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
    transform: Callable[[Any], Any] | None = None
    progress: Progress = silent


@_takes_run_flags(Arguments)
def optimize(model: ModelLike, passes: PassesLike | None = None, **flags: Any) -> Result:
    """Run passes over a model and measure what they did.

    Arguments are the flags of ``graphopt optimize``; one that is not given, or None, takes the value of
    ``recipe``, else the default. Without ``output`` nothing is written: use ``Result.save``. A model given as
    an object is left as it is.

    Args:
        model: an ONNX file, its bytes, an ``onnx.ModelProto`` (or what ``torch.onnx.export`` returns), an
            onnx-graphsurgeon graph, or a graphopt Model.
        FLAGS
        transform: a function that is called with each item of a data loader, list or generator and returns a
            feed.
        progress: what shows work that takes long: a function of a description, what is looped over and its
            length that gives back what to loop over.

    ``passes`` are a spec, a Pass, a function that edits the graph as onnx-graphsurgeon shows it, or a list of
    these; the exact passes when None.

    ``calibration`` and ``evaluation`` are DATA text (a file or a folder), Samples, an array (N, ...) for a
    model with one input, a dict of arrays (N, ...) by input name with class labels (N,) under ``labels``, a
    tuple of arrays (the inputs in order, then the labels), or what yields feeds and is gone through once: a
    list, a generator, a data set, a torch or paddle data loader, onnxruntime's CalibrationDataReader. A feed
    is a dict by input name, one array, or a list of the inputs in order with the labels last; each is one row
    or a batch of rows. Float arrays are fed as they are, uint8 arrays and images go through ``preprocess``.
    Labels that are no class numbers go into ``labels``, as text or as an array with a row for each sample:
    boxes (N, items, 5), masks (N, H, W), rows of any shape for ``metric``. ``shape`` is a mapping from input
    names to sizes. A goal (``max_drop``, ``require_speedup``) that was missed is in ``Result.missed``, an
    error with ``strict``; UsageError when it cannot be judged.

    Raises:
        GraphoptError: one of its subclasses; nothing was written. UsageError for an argument of the wrong
            kind, ModelError and DataError for what cannot be read or does not fit, PassError,
            VerificationError, GoalError (with ``strict``) and OutputError for a run that failed.
    """
    python = {name: flags.pop(name, None) for name in ("progress", "transform")}
    unknown = [name for name in flags if name not in flags_of(RunFlags)]
    if unknown:
        raise TypeError(f"optimize() got an unexpected keyword argument {unknown[0]!r}")
    given = {name: value for name, value in {"passes": passes, **flags}.items() if value is not None}
    return run(model, given, progress=python["progress"] or silent, transform=python["transform"])


def read_recipe(recipe: str | Path | Recipe | None) -> Recipe:
    """Read a recipe file; nothing is an empty recipe, and one that was read already stays as it is."""
    if isinstance(recipe, Recipe):
        return recipe
    return Recipe() if recipe is None else read(Path(recipe), recipe_flags())


def run(
    model: ModelLike,
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
    turns = scheduled(values.pop("passes", None))
    if default_output and "output" not in values and "output" not in recipe.flags:
        values["output"] = output_beside(Path(str(model)))
    request = make_request(model, turns, recipe, {**values, **surroundings})
    from graphopt.pipeline.run.run import Run

    finished = Run(request).execute()
    return Result(finished.model, finished.record)
