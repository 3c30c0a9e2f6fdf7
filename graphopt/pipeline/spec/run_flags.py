"""The flags of a run, each declared once: command line, recipe keys, Python arguments and docs follow."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from graphopt.errors import UsageError
from graphopt.pipeline.contract.moves import GOALS
from graphopt.pipeline.spec import flag
from graphopt.pipeline.spec.flag import Flag, Kind
from graphopt.pipeline.spec.shapes import Shapes, parse_shapes
from graphopt.util.text import described, did_you_mean

if TYPE_CHECKING:
    from graphopt.pipeline.contract.base import Pass

    OnePass: TypeAlias = str | Pass | type[Pass] | Callable[[Any], Any]
    PassesLike: TypeAlias = OnePass | Sequence[OnePass]
    DataLike: TypeAlias = Any  # what graphopt.data.open_samples takes

JUDGED_BY = ("task", "metric", "labels", "decode", "confidence", "threshold")  # the fields of MetricSpec
# What a front decides itself, or what is one run's alone.
NOT_EXPLORED = (
    *("output", "goal", "risk", "require_speedup", "strict", "report", "plan", "plan_out"),
    *("lock", "locked", "dry_run", "dump", "verify_backend"),
)
MOST_THREADS = 1024  # fixed: more than any machine that runs a model has cores: a typing error


def usable_processors() -> int:
    """How many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _samples() -> Kind[Any, Any]:
    def convert(spelled: str, value: Any) -> Any:
        if value is None:
            return None
        from graphopt.data.given import check_given

        check_given(value, spelled)
        return str(value) if isinstance(value, Path) else value

    return Kind(convert)


def _labels() -> Kind[Any, Any]:
    def convert(spelled: str, value: Any) -> Any:
        if value is None or isinstance(value, (str, Path)):
            return value if value is None else str(value)
        from graphopt.data.sources.stream import as_array

        if isinstance(value, (bool, int, float, bytes)) or callable(value):
            hint = "give LABELS text, or in Python an array with a row for each sample"
            raise UsageError(f"{spelled} is {described(value)}", hint=hint)
        return as_array(value, spelled)

    return Kind(convert)


def _metric() -> Kind[Any, Any]:
    written = flag.text().convert

    def convert(spelled: str, value: Any) -> Any:
        if value is not None and not isinstance(value, str) and not callable(value):
            raise UsageError(f"{spelled} takes FILE.py:FUNCTION, or in Python a function, not {value!r}")
        return value if callable(value) else written(spelled, value)

    return Kind(convert)


def _output() -> Kind[Any, Any]:
    def convert(spelled: str, value: Any) -> Path | None:
        if str(value) == "-":
            raise UsageError("-o - is not possible: stdout carries the report", hint="name a file")
        return None if value is None else flag.to_path(value)

    return Kind(convert)


def _threads() -> Kind[Any, Any]:
    number = flag.whole(1, MOST_THREADS)

    def convert(spelled: str, value: Any) -> Any:
        return usable_processors() if value is None else number.convert(spelled, value)

    return Kind(convert, int, least=1, most=MOST_THREADS)


def _workers() -> Kind[Any, Any]:
    def convert(spelled: str, value: Any) -> Any:
        from graphopt.execution import check_workers

        return None if value is None else check_workers(value)

    return Kind(convert)


def _goal() -> Kind[Any, Any]:
    def convert(spelled: str, value: Any) -> tuple[str, float] | None:
        if value is None:
            return None
        name, _, number = str(value).partition("=")
        if name not in GOALS:
            hint = did_you_mean(name, GOALS)
            raise UsageError(f"{spelled} takes one of {', '.join(GOALS)}, not {name!r}", hint=hint)
        try:
            amount = float(number)
        except ValueError:
            amount = math.nan
        if not 0.0 < amount <= 1.0:
            raise UsageError(
                f"{spelled} {value} does not say what fraction to leave", hint=f"for example {name}=0.5"
            )
        return name, amount

    return Kind(convert)


def cache_of(value: Any) -> Path | None:
    """A folder, or None for ``off``."""
    return None if value in (None, "off") else flag.to_path(value)


@dataclass
class RunFlags:
    """What ``optimize`` can be asked for, as command line, recipes and Python name it; help in this order.

    A flag that is added here is taken everywhere;
    """

    passes: Flag[PassesLike | None, Any] = Flag(
        None,
        flag.anything(),
        "Passes in order, such as prune:macs=0.7,quant; graphopt passes lists them; auto: what the target "
        "likes.",
        metavar="SPEC",
        shown="clean,fold-bn, which change no numbers",
    )
    _: KW_ONLY
    output: Flag[str | Path | None, Path | None] = Flag(
        None,
        _output(),
        "Where to write.",
        metavar="OUT",
        short="-o",
        shown="MODEL.opt.onnx beside MODEL; in Python nothing is written",
    )
    recipe: Flag[str | Path | None, Any] = Flag(
        None, flag.anything(), "A file with the passes and any of these flags.", metavar="FILE.toml"
    )
    as_written: Flag[bool, bool] = Flag(
        False, flag.switch(), "Run exactly the passes given; add none that they need."
    )
    target: Flag[str, str] = Flag(
        "ort-cpu", flag.text(), "The backend the result is for.", metavar="NAME|FILE.toml"
    )

    calibration: Flag[DataLike | None, Any] = Flag(
        None,
        _samples(),
        "Samples for the passes to calibrate with (.npz, .npy, images).",
        metavar="DATA",
        shown="synthetic",
    )
    evaluation: Flag[DataLike | None, Any] = Flag(
        None, _samples(), "Samples to evaluate on, before and after.", metavar="DATA"
    )
    task: Flag[str | None, str | None] = Flag(
        None,
        flag.text(),
        "What the model is for: classification, detection, segmentation, text or generic.",
        metavar="NAME",
        shown="classification where there are class scores, else generic",
    )
    metric: Flag[str | Callable[..., Any] | None, str | Callable[..., Any] | None] = Flag(
        None,
        _metric(),
        "Instead of a task: a function of outputs and labels that returns one value for each sample, "
        "higher is better.",
        metavar="FILE.py:FUNCTION",
    )
    labels: Flag[Any, Any] = Flag(
        None,
        _labels(),
        "Boxes (COCO .json, folder of YOLO .txt, .npz#array), masks (folder of .png, .npz#array), lines "
        "of text or rows for --metric (.npz#array).",
        metavar="LABELS",
    )
    decode: Flag[str | None, str | None] = Flag(
        None,
        flag.text(),
        "How a detector writes boxes: yolov8, yolov5, ssd, corners, torchvision.",
        metavar="NAME",
        shown="by shape",
    )
    confidence: Flag[float | None, float | None] = Flag(
        None, flag.number(), "Least score of boxes compared with the original's.", shown="0.25"
    )
    threshold: Flag[float | None, float | None] = Flag(
        None, flag.number(), "Value above which a pixel of a map of one class belongs to it."
    )
    preprocess: Flag[str | Path | None, str | None] = Flag(
        None,
        flag.path_text(),
        'How images become inputs: "size=224;mean=127;std=128", a preset such as imagenet, or auto: what '
        "the model's metadata says.",
        metavar="TEXT|FILE.toml|auto",
        shown="auto where the model says it",
    )
    shape: Flag[Mapping[str, Sequence[int]] | Sequence[str], Shapes] = Flag(
        (),
        Kind(lambda spelled, value: parse_shapes(value), repeated=True),
        "Size to run an input at, when the file leaves it open; repeat for several inputs.",
        metavar="NAME=1x3x640x640",
    )
    fix_shape: Flag[bool, bool] = Flag(
        False, flag.switch(), "Declare the sizes used for running as the model's only ones."
    )

    verify: Flag[Literal["auto", "full", "structure", "off"], Literal["auto", "full", "structure", "off"]] = (
        Flag(
            "auto",
            flag.one_of("auto", "full", "structure", "off"),
            "What to check: numbers after exact passes (auto), also at every optimisation level of ORT "
            "(full), graph and signature only (structure), nothing (off).",
        )
    )
    verify_backend: Flag[bool, bool] = Flag(
        False,
        flag.switch(),
        "Run what is written in the target's own backend, and write nothing when it answers wrongly there.",
    )
    tolerance: Flag[float | None, float | None] = Flag(
        None,
        flag.number("a number above 0", lambda value: 0 < value < math.inf),
        "Relative difference max|d| / max|reference| allowed to exact passes.",
        metavar="X",
        shown="1e-4; 2e-2 for float16",
    )
    max_drop: Flag[float | None, float | None] = Flag(
        None,
        flag.number("a number of points, from 0", lambda value: 0 <= value < math.inf),
        "Goal: lose at most this many points, hundredths of the metric, in all passes together.",
        metavar="POINTS",
        shown="1 where no goal is given and a pass asks how far to go",
    )
    goal: Flag[str | None, tuple[str, float] | None] = Flag(
        None,
        _goal(),
        "Goal: leave this fraction of latency, macs, bytes or params, in all passes together.",
        metavar="latency=0.5",
    )
    risk: Flag[bool, bool] = Flag(
        False,
        flag.switch(),
        "Hold the loss to --max-drop as it is seen, not its bound at 90 % confidence.",
    )
    time_limit: Flag[float | None, float | None] = Flag(
        None,
        flag.number("a number of minutes above 0", lambda value: 0 < value < math.inf),
        "End the search for how far to go after so many minutes, with the best that was tried.",
        metavar="MINUTES",
    )
    require_speedup: Flag[bool, bool] = Flag(
        False, flag.switch(), "Goal: the result runs faster than the input here."
    )
    strict: Flag[bool, bool] = Flag(
        False, flag.switch(), "Write nothing and exit with 6 when a goal is missed or nothing changed."
    )

    report: Flag[str | Path | Sequence[str | Path], tuple[Path, ...]] = Flag(
        (),
        flag.paths(),
        "Also write the report: .json for scripts, .html for people; repeat for both.",
        metavar="FILE.json|.html",
    )
    plan: Flag[str | Path | None, Path | None] = Flag(
        None, flag.path(), "Replay the plans in this file.", metavar="FILE.json"
    )
    plan_out: Flag[str | Path | None, Path | None] = Flag(
        None, flag.path(), "Write what the passes planned.", metavar="FILE.json"
    )
    lock: Flag[str | Path | None, Path | None] = Flag(
        None,
        flag.path(),
        "Write what the run is made of: versions, and hashes of model, data and plans.",
        metavar="FILE.lock",
    )
    locked: Flag[bool, bool] = Flag(
        False, flag.switch(), "Refuse any run but the one that --lock FILE.lock holds."
    )
    dry_run: Flag[bool, bool] = Flag(False, flag.switch(), "Plan and predict; write no model.")
    latency: Flag[bool | None, bool | None] = Flag(
        None,
        flag.switch(),
        "Time both models.",
        shown="yes, unless the model is too large to be run for it alone",
        negative=True,
    )
    measure_command: Flag[str | None, str | None] = Flag(
        None,
        flag.text(),
        "Time models by this command, which prints milliseconds: for goals in time, layers, and both models.",
        metavar='"ssh board bench {model}"',
        shown="the target's own runtime where it is installed, else onnxruntime here",
    )
    dump: Flag[str | Path | None, Path | None] = Flag(
        None, flag.path(), "Write the model after each pass that changed it.", metavar="DIR"
    )
    force: Flag[bool, bool] = Flag(False, flag.switch(), "Overwrite an existing OUT.")

    seed: Flag[int, int] = Flag(0, flag.whole(0), "Seed of everything random.", metavar="N")
    threads: Flag[int | None, int] = Flag(
        None,
        _threads(),
        "Samples that run at a time, and threads of a model that is timed.",
        metavar="N",
        shown="all processors",
    )
    provider: Flag[Literal["cpu", "cuda"], Literal["cpu", "cuda"]] = Flag(
        "cpu", flag.one_of("cpu", "cuda"), "Where models run."
    )
    custom_ops: Flag[str | Path | Sequence[str | Path], tuple[str, ...]] = Flag(
        (), flag.texts(), "Library of custom operators; loaded only when named.", metavar="LIB"
    )
    workers: Flag[int | str | Any, Any] = Flag(
        None,
        _workers(),
        "Who works: a number of processes, or a Dask cluster by tcp://host:8786, tls://... or its "
        "scheduler.json; in Python also a concurrent.futures executor or a Dask client. The result has the "
        "same bytes.",
        metavar="N|ADDRESS",
        shown="this process",
    )
    heterogeneous: Flag[bool, bool] = Flag(
        False,
        flag.switch(),
        "Admit workers with another instruction set, whose results differ in the last bits.",
    )
    cache: Flag[str | Path | None, Path | None] = Flag(
        None,
        Kind(lambda spelled, value: cache_of(value)),
        "Folder that keeps calibration results.",
        metavar="DIR|off",
        shown="off; times of layers: the user's cache",
    )
