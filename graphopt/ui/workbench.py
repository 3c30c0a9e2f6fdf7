"""The state of one page: a model, what was studied of it, what was measured."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt.data.preprocess.presets import PRESETS
from graphopt.data.remote_path import RemotePath
from graphopt.data.spec import parse_spec
from graphopt.errors import UsageError
from graphopt.pipeline.results.layers import computing_nodes, first_output
from graphopt.ui import explored
from graphopt.ui.front import Choice, Part, Point, front, parts_of, spec_of
from graphopt.ui.jobs import Job, Jobs
from graphopt.util.progress import Progress

if TYPE_CHECKING:
    from graphopt.analysis.inspection import Inspection
    from graphopt.record.front import Front

STEPS = ("prune", "quant")  # the passes that the page steers, in the order of a run
TASKS = ("classification", "detection", "segmentation", "text", "generic")
SAMPLES = 64  # time: that a study measures on
DATA = (".npz", ".npy", ".tar", ".zip")


@dataclass(frozen=True)
class Setting:
    """What a study and the runs after it go by."""

    calibration: str
    evaluation: str | None = None
    task: str | None = None
    preprocess: str | None = None

    def flags(self) -> dict[str, str]:
        """The flags that were given, as ``optimize`` takes them."""
        return {key: value for key, value in vars(self).items() if value}


class Workbench:
    """A model with its parts; everything that a page does goes through here."""

    def __init__(self, model: Path, folders: Sequence[Path], work: Path) -> None:
        self.model, self.work = model.resolve(), work
        self.folders = [folder.resolve() for folder in (*folders, self.model.parent)]
        self._condition = threading.Condition()
        self.version = 0
        self.jobs = Jobs(self._touch)
        self._setting: Setting | None = None
        self._parts: list[Part] = []
        self._fronts: dict[int, Front] = {}  # by the number of their job
        self.inspection = self._inspect()

    def close(self) -> None:
        """End the work."""
        self.jobs.close()

    # -- what there is -------------------------------------------------------------------------------------

    def _inspect(self) -> Inspection:
        from graphopt import ir
        from graphopt.analysis.inspection import inspect

        inspection = inspect(self.model, layers=True)
        nodes = computing_nodes(ir.load(self.model))
        self._owners = {
            first_output(node): layer.name for node, layer in zip(nodes, inspection.layers, strict=True)
        }
        self._rows = {layer.name: number for number, layer in enumerate(inspection.layers)}
        self._parameters = {layer.name: layer.parameters for layer in inspection.layers}
        return inspection

    def candidates(self) -> list[str]:
        """Files and folders within the named folders that may hold samples."""
        paths = []
        for folder in dict.fromkeys(self.folders):
            for path in sorted(folder.iterdir()):
                if path.suffix in DATA or (path.is_dir() and not path.name.startswith(".")):
                    paths.append(str(path))
        return paths[:200]

    def state(self) -> dict[str, Any]:
        """What changes, as plain values."""
        return {
            "version": self.version,
            "jobs": [job.to_json() for job in self.jobs],
            "studied": bool(self._parts),
            "setting": self._setting.flags() if self._setting else {},
        }

    def wait(self, version: int, seconds: float) -> int:
        """The version once it is another than ``version``, or when time is up."""
        with self._condition:
            self._condition.wait_for(lambda: self.version != version, seconds)
            return self.version

    # -- what is done --------------------------------------------------------------------------------------

    def study(self, setting: Setting, steps: Sequence[str]) -> Job | None:
        """Queue a study of what each part costs to compress by each of ``steps``.

        Raises UsageError for data outside the folders, an unknown task or pass.
        """
        self._check(setting, steps)
        return self.jobs.add("study", f"study {', '.join(steps)}", lambda p: self._study(setting, steps, p))

    def explore(self, setting: Setting, steps: Sequence[str]) -> Job | None:
        """Queue the search of the front of ``steps``, each point a measured file.

        Raises UsageError as ``study``.
        """
        self._check(setting, steps)
        spec = ",".join(step for step in STEPS if step in steps)
        return self.jobs.add("explore", f"front of {spec}", lambda p: self._explore(setting, spec, p))

    def changes(self, job: int, point: str) -> list[dict[str, Any]]:
        """What a point of a front changes in which layer; UsageError when there is none."""
        front = self._fronts.get(job)
        changes = None if front is None else explored.changes(front, point, self._rows)
        if changes is None:
            raise UsageError("there is no such point")
        return changes

    def measure(self, position: int, choices: Mapping[tuple[str, str], Choice]) -> Job | None:
        """Queue a run of the point at a position of the front."""
        setting, spec, point = self._setting, *self._point(position, choices)
        assert setting is not None
        predicted = _figures(point)
        return self.jobs.add("run", spec, lambda p: self._run(setting, spec, predicted, p))

    def predict(self, position: int, choices: Mapping[tuple[str, str], Choice]) -> dict[str, Any]:
        """The front under these choices, and what the point at ``position`` changes.

        Raises UsageError before a study.
        """
        points = self._front(choices)
        position = min(max(position, 0), len(points) - 1)
        point = points[position]
        spec = spec_of(self._parts, point, choices)
        return {
            "front": [_figures(each) for each in points],
            "position": position,
            "passes": spec,
            "parts": [
                {
                    "step": part.step,
                    "name": part.name,
                    "row": self._rows.get(self._owners.get(part.name, part.name)),
                    "level": None if level is None else level.level,
                    "noise": min(each.noise for each in part.levels),
                    "choice": choices.get((part.step, part.name), "auto"),
                }
                for part, level in zip(self._parts, point.levels, strict=True)
            ],
        }

    def output(self, job: Job, kind: str) -> Path | None:
        """The file of a run, ``model``, ``plan`` or ``report``; of a front ``page``, ``model-01``, ..."""
        front = self._fronts.get(job.number)
        names = {"model": "model.onnx", "plan": "plan.json", "report": "report.html"}
        names = names if job.kind == "run" else {} if front is None else explored.files(front)
        path = self.work / str(job.number) / names.get(kind, "")
        return path if kind in names and path.is_file() else None

    # -- within --------------------------------------------------------------------------------------------

    def _front(self, choices: Mapping[tuple[str, str], Choice]) -> list[Point]:
        if not self._parts:
            raise UsageError("nothing was studied yet")
        return front(self._parts, choices)

    def _point(self, position: int, choices: Mapping[tuple[str, str], Choice]) -> tuple[str, Point]:
        points = self._front(choices)
        point = points[min(max(position, 0), len(points) - 1)]
        return spec_of(self._parts, point, choices), point

    def _study(self, setting: Setting, steps: Sequence[str], progress: Progress) -> dict[str, Any]:
        from graphopt.analysis.sensitivity.study import sensitivity

        parts: list[Part] = []
        for step in steps:
            study = sensitivity(
                self.model, step, setting.calibration, samples=SAMPLES, progress=progress, **_own(setting)
            )
            parts += parts_of(study, step, self._owners, self._parameters)
        if not parts:
            raise UsageError(f"{' and '.join(steps)} find nothing to change in this model")
        self._setting, self._parts = setting, parts
        return {"parts": len(parts)}

    def _run(
        self, setting: Setting, spec: str, predicted: Mapping[str, Any], progress: Progress
    ) -> dict[str, Any]:
        from graphopt.api import optimize

        folder = self.work / str(self._running)
        folder.mkdir(parents=True)
        result = optimize(
            self.model,
            spec,
            output=folder / "model.onnx",
            plan_out=folder / "plan.json",
            report=folder / "report.html",
            progress=progress,
            **setting.flags(),  # type: ignore[arg-type]
        )
        record = result.report
        return {
            "passes": spec,
            "predicted": dict(predicted),
            "command": self._command(setting, spec),
            "before": {"bytes": record.before.bytes, "latency_ms": record.before.latency_ms},
            "after": {"bytes": record.after.bytes, "latency_ms": record.after.latency_ms},
            "macs": _ratio(record.after.macs, record.before.macs),
            "metrics": {
                name: [value, record.after.metrics.get(name)] for name, value in record.before.metrics.items()
            },
            "agreement": {k: v for k, v in record.agreement.items() if isinstance(v, float)},
            "sqnr_db": min(record.agreement.get("snr_db", {}).values(), default=None),
            "sha256": record.output_sha256,
            "warnings": list(record.warnings),
        }

    def _explore(self, setting: Setting, spec: str, progress: Progress) -> dict[str, Any]:
        from graphopt.analysis.exploration import explore

        number = self._running
        front = explore(
            self.model,
            spec,
            output=self.work / str(number),
            progress=progress,
            **setting.flags(),  # type: ignore[arg-type]
        )
        self._fronts[number] = front
        figures = explored.figures(front)
        for point in figures["points"]:
            name = point["name"]
            point["command"] = self._command(setting, spec, f"{name}.onnx", f"{name}.plan.json")
        return figures

    @property
    def _running(self) -> int:
        """The number of the job that is being done."""
        return next(job.number for job in self.jobs if job.state == "running")

    def _command(
        self, setting: Setting, spec: str, model: str = "model.onnx", plan: str = "plan.json"
    ) -> str:
        """The command line that replays a run beside its plan file."""
        flags = [part for key, value in setting.flags().items() for part in (f"--{key}", value)]
        words = ["graphopt", "optimize", str(self.model), "-o", model, "--passes", spec]
        return shlex.join([*words, "--plan", plan, *flags])

    def _check(self, setting: Setting, steps: Sequence[str]) -> None:
        if not steps or any(step not in STEPS for step in steps):
            raise UsageError(f"the page steers {' and '.join(STEPS)}")
        for text in (setting.calibration, setting.evaluation):
            if text:
                self._check_inside(parse_spec(text).path)
        if setting.task and setting.task not in TASKS:
            raise UsageError(f"there is no task {setting.task!r}")
        recipe = setting.preprocess or "auto"
        is_text = "=" in recipe and not recipe.endswith(".toml")
        if not is_text and recipe not in ("auto", *PRESETS):
            self._check_inside(parse_spec(recipe).path)

    def _check_inside(self, path: Path | RemotePath) -> None:
        resolved = path.resolve() if isinstance(path, Path) else None
        if resolved is None or not any(resolved.is_relative_to(folder) for folder in self.folders):
            raise OutsideError(
                f"{path} lies outside the folders that this page may read", hint="--folder adds one"
            )

    def _touch(self) -> None:
        with self._condition:
            self.version += 1
            self._condition.notify_all()


class OutsideError(UsageError):
    """A path outside the folders named at the start."""


def _own(setting: Setting) -> dict[str, Any]:
    return {key: value for key, value in setting.flags().items() if key != "calibration"}


def _figures(point: Point) -> dict[str, Any]:
    changed = sum(level is not None for level in point.levels)
    return {"bytes": point.bytes, "macs": point.macs, "sqnr_db": point.sqnr_db, "changed": changed}


def _ratio(after: float | None, before: float | None) -> float | None:
    return after / before if before and after is not None else None
