"""Everything one optimize run was asked for, checked for contradictions before any work."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from graphopt.errors import UsageError
from graphopt.pipeline.spec.recipe import Recipe, ScheduledPass
from graphopt.util.files import user_cache
from graphopt.util.progress import Busy, Progress, silent, unwatched
from graphopt.util.text import did_you_mean

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Model
    from graphopt.metrics import MetricSpec
    from graphopt.runtime import SessionOptions

Shapes = Mapping[str, tuple[int, ...]]

VERIFY_MODES = ("auto", "full", "structure", "off")
PROVIDERS = ("cpu", "cuda")
TALK = ("quiet", "verbose")  # they concern what the command line shows, and nothing else
JUDGED_BY = ("task", "metric", "labels", "decode", "confidence", "threshold")  # the fields of MetricSpec
LARGEST_SIZE = 2**31 - 1  # fixed: int32, in which runtimes count a dimension
# memory: weight bytes up to which models are run for checks and latency without being asked to
LARGEST_RUN = 2**31
MOST_THREADS = 1024  # fixed: more than any machine that runs a model has cores: a typing error
_SHAPE = re.compile(r"(?P<name>.+)=(?P<sizes>\d+(x\d+)*)")


@dataclass(frozen=True)
class Request:
    """One optimize run as asked for. Fields are named like the flags of the command line."""

    model: str | Path | Model
    turns: tuple[ScheduledPass, ...]
    output: Path | None = None
    calibration: str | Samples | None = None
    evaluation: str | Samples | None = None
    task: str | None = None
    metric: str | Callable[..., Any] | None = None
    labels: str | None = None
    decode: str | None = None
    confidence: float | None = None
    threshold: float | None = None
    preprocess: str | None = None
    shape: Shapes = field(default_factory=dict)
    fix_shape: bool = False
    target: str = "ort-cpu"
    plan: Path | None = None
    plan_out: Path | None = None
    report: tuple[Path, ...] = ()
    dry_run: bool = False
    max_drop: float | None = None
    require_speedup: bool = False
    strict: bool = False
    verify: Literal["auto", "full", "structure", "off"] = "auto"
    tolerance: float | None = None
    latency: bool | None = None  # None: yes, unless the model is too large to be run for it alone
    as_written: bool = False
    seed: int = 0
    threads: int = field(default_factory=lambda: usable_processors())
    provider: Literal["cpu", "cuda"] = "cpu"
    cache: Path | None = None
    times: Path | None = field(default_factory=user_cache)  # where the times of layers are kept
    custom_ops: tuple[str, ...] = ()
    force: bool = False
    dump: Path | None = None
    command: tuple[str, ...] = ()
    progress: Progress = silent
    busy: Busy = unwatched
    announce: Callable[[str], None] = lambda text: None

    def __post_init__(self) -> None:
        if not self.turns:
            raise UsageError(
                "no passes are given",
                hint="--passes clean,fold-bn changes no numbers; graphopt passes lists all passes",
            )
        _check_values(self)
        _check_together(self)

    @property
    def judged_by(self) -> MetricSpec:
        """How models are judged."""
        from graphopt.metrics import MetricSpec

        return MetricSpec(**{name: getattr(self, name) for name in JUDGED_BY})

    @property
    def chooses_metric(self) -> bool:
        """Whether it was said how models are judged."""
        return any(getattr(self, name) is not None for name in JUDGED_BY)

    @property
    def runs_models(self) -> bool:
        """Whether models are executed for the run's own sake; passes may need to all the same."""
        has_data = self.calibration is not None or self.evaluation is not None
        return self.times_models or has_data or self.verify in ("auto", "full")

    @property
    def times_models(self) -> bool:
        """Whether latency is measured."""
        return self.latency is not False

    def sparing(self, weight_bytes: int) -> Request:
        """The same run without what nobody asked for that would take the memory of a very large model."""
        if weight_bytes <= LARGEST_RUN:
            return self
        asked = self.verify != "auto" or self.tolerance is not None
        verify = self.verify if asked else "structure"
        return dataclasses.replace(self, verify=verify, latency=bool(self.latency) or self.require_speedup)

    @property
    def session(self) -> SessionOptions:
        """What every session of the run is opened with."""
        from graphopt.runtime import SessionOptions

        return SessionOptions(self.threads, self.provider, self.custom_ops)


def make_request(
    model: Any, turns: tuple[ScheduledPass, ...], recipe: Recipe, given: Mapping[str, Any]
) -> Request:
    """Make a request; what is None in ``given`` comes from the recipe, else from the defaults."""
    if turns and recipe.turns:
        raise UsageError("the passes are given twice, by --passes and in the recipe", hint="keep one of them")
    flags = {key.replace("-", "_"): value for key, value in recipe.flags.items() if key not in TALK}
    values = {**flags, **{key: value for key, value in given.items() if value is not None}}
    if isinstance(model, str) and not model:
        raise UsageError("no model is named: its path is empty")
    for name, convert in _CONVERT.items():
        if name in values:
            values[name] = convert(values[name])
    if "cache" in values:
        values["times"] = values["cache"]
    return Request(model, turns or recipe.turns, **values)


def recipe_flags() -> tuple[str, ...]:
    """The flags a recipe may set, as they are written on the command line."""
    own = {"model", "turns", "times", "command", "progress", "busy", "announce"}
    names = (field.name for field in dataclasses.fields(Request) if field.name not in own)
    return ("passes", *(name.replace("_", "-") for name in names), *TALK)


def usable_processors() -> int:
    """How many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parse_shapes(texts: Sequence[str] | str | Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Read ``NAME=1x3x640x640`` texts; a mapping of names to sizes is taken as it is."""
    if isinstance(texts, Mapping):
        return {name: _sizes(sizes, f"{name}={sizes}") for name, sizes in texts.items()}
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts if isinstance(texts, (list, tuple)) else [texts]:
        found = _SHAPE.fullmatch(str(text))
        if not found:
            raise UsageError(f"--shape {text} is not of the form NAME=1x3x640x640")
        if found["name"] in shapes:
            raise UsageError(f"--shape gives {found['name']} twice")
        shapes[found["name"]] = _sizes([int(size) for size in found["sizes"].split("x")], str(text))
    return shapes


def _sizes(sizes: Any, told: str) -> tuple[int, ...]:
    """Sizes as given for one input, checked."""
    if isinstance(sizes, str) or not isinstance(sizes, Sequence):
        raise UsageError(f"--shape {told} is not a list of sizes", hint="write NAME=1x3x640x640")
    for size in sizes:
        if not hasattr(size, "__index__") or isinstance(size, bool):
            raise UsageError(f"--shape {told} holds {size!r}, which is not a size")
        if not 1 <= int(size) <= LARGEST_SIZE:
            raise UsageError(f"--shape {told} has a size of {size}; sizes go from 1 to {LARGEST_SIZE}")
    return tuple(int(size) for size in sizes)


def _check_values(request: Request) -> None:
    for name, allowed in (("verify", VERIFY_MODES), ("provider", PROVIDERS)):
        value = getattr(request, name)
        if value not in allowed:
            hint = did_you_mean(str(value), allowed)
            raise UsageError(f"{_flag(name)} is one of {', '.join(allowed)}, not {value!r}", hint=hint)
    for name in ("target", "preprocess", "task", "labels", "decode"):
        _require(request, name, (str,), lambda value: True, "text")
    for name in ("fix_shape", "dry_run", "strict", "latency", "as_written", "force", "require_speedup"):
        _require(request, name, (bool,), lambda value: True, "true or false")
    _require(request, "seed", (int,), lambda value: value >= 0, "a whole number from 0")
    _require(request, "threads", (int,), lambda value: 1 <= value <= MOST_THREADS, f"1 to {MOST_THREADS}")
    for name in ("confidence", "threshold"):
        _require(request, name, (int, float), lambda value: math.isfinite(value), "a number")
    if request.metric is not None and not callable(request.metric):
        _require(request, "metric", (str,), lambda value: True, "FILE.py:FUNCTION, or in Python a function")
    _require(request, "tolerance", (int, float), lambda value: 0 < value < math.inf, "a number above 0")
    _require(
        request, "max_drop", (int, float), lambda value: 0 <= value < math.inf, "a number of points, from 0"
    )


def _require(
    request: Request, name: str, kinds: tuple[type, ...], holds: Callable[[Any], bool], what: str
) -> None:
    value = getattr(request, name)
    if value is None:
        return
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds) or not holds(value):
        raise UsageError(f"{_flag(name)} takes {what}, not {value!r}")


def _check_together(request: Request) -> None:
    has_data = request.calibration is not None or request.evaluation is not None
    if request.max_drop is not None and request.evaluation is None:
        raise UsageError("--max-drop needs --evaluation: without samples no drop can be measured")
    if request.chooses_metric:
        request.judged_by.make()
        if request.evaluation is None:
            raise UsageError("--task and --metric need --evaluation: there are no samples to judge by them")
    if request.require_speedup and request.latency is False:
        raise UsageError("--require-speedup needs the latency that --no-latency leaves out")
    if request.preprocess is not None and not has_data:
        raise UsageError("--preprocess has no effect without --calibration or --evaluation")
    if request.tolerance is not None and request.verify in ("structure", "off"):
        raise UsageError(
            f"--tolerance has no meaning with --verify {request.verify}, which compares no numbers"
        )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _path(value: Any) -> Path:
    if not isinstance(value, (str, Path)):
        raise UsageError(f"{value!r} is not a path")
    if not str(value):
        raise UsageError("an empty text is not a path", hint="leave the flag out, or name a file")
    return Path(value)


def _output(value: Any) -> Path:
    if str(value) == "-":
        raise UsageError("-o - is not possible: stdout carries the report", hint="name a file")
    return _path(value)


def _paths(value: Any) -> tuple[Path, ...]:
    return tuple(map(_path, [value] if isinstance(value, (str, Path)) else value))


def _texts(value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, (str, Path)) else value
    if not isinstance(texts, Sequence) or not all(isinstance(text, (str, Path)) for text in texts):
        raise UsageError(f"{value!r} is neither a text nor a list of texts")
    return tuple(map(str, texts))


def _cache(value: Any) -> Path | None:
    return None if value == "off" else _path(value)


def _data(value: Any) -> Any:
    if isinstance(value, (bool, int, float, list, dict)):
        raise UsageError(f"{value!r} names no samples", hint="name a file or a folder")
    return str(value) if isinstance(value, Path) else value


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "output": _output,
    "plan": _path,
    "plan_out": _path,
    "dump": _path,
    "shape": parse_shapes,
    "cache": _cache,
    "custom_ops": _texts,
    "calibration": _data,
    "evaluation": _data,
    "preprocess": lambda value: str(value) if isinstance(value, Path) else value,
    "labels": lambda value: str(value) if isinstance(value, Path) else value,
    "report": _paths,
}
