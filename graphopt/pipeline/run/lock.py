"""A locked recipe: what a run was made of, by hash and version, so that nothing else is run in its place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt.errors import UsageError, VerificationError
from graphopt.pipeline.results.result_measurer import judged_on
from graphopt.pipeline.spec.arrange import PipelineEntry, as_step
from graphopt.pipeline.spec.spec import Spec
from graphopt.util.files import plain, write_json

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.pipeline.run.inputs import Inputs
    from graphopt.pipeline.spec.request import Request
    from graphopt.record.record import PassRecord, Record

SCHEMA = 1  # fixed: version of the file format of locks
PACKAGES = ("graphopt", "onnxruntime", "onnx", "numpy")  # whose versions decide what comes out
NAMES = {
    "versions": "versions of packages",
    "model_sha256": "the model",
    "passes": "the passes",
    "target": "the target",
    "seed": "the seed",
    "shapes": "the sizes",
    "preprocess": "the preprocessing",
    "calibration": "the calibration samples",
    "evaluation": "the evaluation samples",
}


@dataclass(frozen=True)
class Ingredients:
    """What a run is made of; samples count by the hash of their content."""

    versions: Mapping[str, str]
    model_sha256: str
    passes: str
    target: str
    seed: int
    shapes: Mapping[str, Sequence[int]]
    preprocess: Mapping[str, Any]
    calibration: str
    evaluation: str

    @classmethod
    def of(
        cls,
        model_sha256: str,
        stages: Iterable[PipelineEntry],
        inputs: Inputs,
        target: str,
        shapes: Mapping[str, Sequence[int]],
    ) -> Ingredients:
        """Those of a run whose samples are open."""
        return cls(
            {name: version(name) for name in PACKAGES},
            model_sha256,
            str(Spec(tuple(as_step(stage.step) for stage in stages))),
            target,
            inputs.seed,
            {name: list(dims) for name, dims in shapes.items()},
            inputs.preprocess,
            "synthetic" if inputs.is_synthetic else _hash(inputs.calibration_given),
            _hash(inputs.evaluation),
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        document: dict[str, Any] = plain(asdict(self))
        return document


class Lock:
    """The lock of one run; does nothing where none was asked for."""

    def __init__(self, path: Path | None, ingredients: Ingredients | None, plans: str | None) -> None:
        self._path, self._ingredients, self._plans = path, ingredients, plans

    @classmethod
    def of(
        cls,
        request: Request,
        model_sha256: str,
        stages: Iterable[PipelineEntry],
        inputs: Inputs,
        shapes: Mapping[str, Sequence[int]],
    ) -> Lock:
        """The lock that a request asks for; UsageError when it is locked and something differs."""
        if request.lock is None:
            return cls(None, None, None)
        ingredients = Ingredients.of(model_sha256, stages, inputs, request.target, shapes)
        return cls(
            request.lock, ingredients, check_lock(request.lock, ingredients) if request.locked else None
        )

    def check(self, records: Iterable[PassRecord]) -> None:
        """Raise VerificationError when a locked run planned something else."""
        if self._path is not None and self._plans is not None:
            check_plans(self._plans, records, self._path)

    def write(self, record: Record) -> None:
        """Write the lock of a run that was not locked."""
        if self._path is not None and self._ingredients is not None and self._plans is None:
            write_lock(self._path, self._ingredients, record.passes, record.output_sha256 or "")


def check_lock(path: Path, ingredients: Ingredients) -> str:
    """Raise UsageError unless the run is the one that was locked; returns the hash of its plans."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        locked, plans, schema = document["run"], str(document["plan_sha256"]), document["schema"]
        assert isinstance(locked, dict)
    except OSError as error:
        hint = "make it with --lock FILE, without --locked"
        raise UsageError(f"the lock {path} cannot be read: {error.strerror or error}", hint=hint) from error
    except (ValueError, KeyError, TypeError, RecursionError, AssertionError) as error:
        raise UsageError(f"{path} is not a lock of graphopt optimize") from error
    if schema != SCHEMA:
        raise UsageError(f"the lock {path} has schema {schema}; this graphopt reads schema {SCHEMA}")
    for key, now in ingredients.to_json().items():
        if locked.get(key) != now:
            raise UsageError(
                f"--locked: {NAMES[key]} differ from {path}: {_short(locked.get(key))} was locked, "
                f"this is {_short(now)}",
                hint="leave --locked out to lock this run instead",
            )
    return plans


def check_plans(locked: str, records: Iterable[PassRecord], path: Path) -> None:
    """Raise VerificationError when the passes planned something else than what was locked."""
    if plan_hash(records) != locked:
        raise VerificationError(
            f"--locked: the passes planned something else than in {path}; nothing was written",
            hint="plans that go by measured latency differ between runs: keep them with --plan-out, replay "
            "them with --plan",
        )


def write_lock(path: Path, ingredients: Ingredients, records: Iterable[PassRecord], output: str) -> None:
    """Write what a finished run was made of; ``output`` is the hash of its file, for people."""
    document = {"run": ingredients.to_json(), "plan_sha256": plan_hash(records), "output_sha256": output}
    write_json(path, {"schema": SCHEMA, **document})


def plan_hash(records: Iterable[PassRecord]) -> str:
    """SHA-256 of the plans of all passes, in hexadecimal."""
    plans = [[record.name, plain(record.plan)] for record in records if record.plan is not None]
    return hashlib.sha256(json.dumps(plans, sort_keys=True).encode()).hexdigest()


def _hash(samples: Samples | None) -> str:
    return "none" if samples is None else judged_on(samples).sha256


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
