"""One distillation from student and teacher to a student that answers more like the teacher."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graphopt import runtime
from graphopt.errors import ModelError, PassError

from ..backends.base import Backend, Job, Tuned
from ..data.augment import check_images
from ..data.feeds import Producer
from ..data.samples import Split, split
from ..graph.prepare import Prepared, prepare, write_back
from ..spec.request import Request
from ..spec.terms import check_outputs
from .build import Build
from .judge import Verdict
from .progress import Watched

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Model
    from graphopt.pipeline import Context


@dataclass(frozen=True)
class Outcome:
    """The tuned student, or None when tuning made it no better; what was measured on the validation set."""

    student: Model | None
    before: Verdict
    after: Verdict
    tuned: Tuned
    nodes: tuple[str, ...] = ()


class Distillation:
    """Carries out one request; made for it and used once."""

    def __init__(
        self, student: Model, teacher: Model, request: Request, backend: Backend, ctx: Context
    ) -> None:
        check_outputs(teacher, student)
        self._student, self._teacher, self._ask, self._ctx = student, teacher, request, ctx
        self._backend = backend

    def run(self, samples: Samples) -> Outcome:
        """Train on ``samples``; the student given stays as it is."""
        chosen, prepared = self._prepare(samples)
        with job_folder(self._ctx, self._fingerprint(samples, chosen)) as place:
            build = Build(self._student, self._teacher, self._ask, prepared, chosen, place.path, self._ctx)
            job, producer = build.job(samples, place.path.name)
            tuned = self._tune(job, producer)
            place.is_done = tuned.reason != "stopped"
            before = build.verdict(self._student)
            after = self._student.copy()
            nodes = write_back(after, prepared, tuned.values)
            verdict = build.verdict(after)
        is_better = np.isfinite(verdict.loss) and verdict.loss < before.loss
        return Outcome(after if is_better else None, before, verdict, tuned, tuple(nodes))

    def _tune(self, job: Job, producer: Producer | None) -> Tuned:
        watched = Watched(self._ctx, self._ask.settings, producer)
        try:
            if not (job.folder / "checkpoint.json").exists():
                self._backend.check(job)
            with watched:
                return self._backend.tune(job, watched.hear)
        finally:
            if producer is not None:
                producer.stop()
                if producer.error is not None:
                    raise producer.error

    def _prepare(self, samples: Samples) -> tuple[Split, Prepared]:
        """Split the samples and prepare the student at the batch size, or at one when it runs at no other."""
        settings = self._ask.settings
        chosen = split(samples, settings.batch, settings.validation, self._ctx.rng("distill: validation"))
        more = 1 if samples.batch is None else max(1, settings.batch // chosen.batch)
        self._accumulate(settings.accumulate * more, chosen)
        try:
            return chosen, self._prepared(samples, chosen.batch)
        except ModelError:
            if samples.batch is not None or chosen.batch == 1:
                raise
        self._ctx.warn("distill: the student runs at batch 1 alone; gradients are accumulated")
        single = replace(chosen, batch=1)
        self._accumulate(settings.accumulate * chosen.batch, single)
        return single, self._prepared(samples, 1)

    def _accumulate(self, steps: int, chosen: Split) -> None:
        """Settle on a batch, and on steps of an update, of which an epoch must have at least one."""
        batches = len(chosen.train) * chosen.group // chosen.batch
        made = replace(self._ask.settings, batch=chosen.batch, accumulate=min(steps, batches))
        self._ask = replace(self._ask, settings=made)

    def _prepared(self, samples: Samples, batch: int) -> Prepared:
        feeds = next(samples.take(batch).batches(batch)).feeds
        ask = self._ask
        check_images([value.shape for value in feeds.values()], ask.settings.augment)
        prepared = prepare(self._student, feeds, ask.choice, live_bn=ask.settings.live_bn, sparse=ask.sparse)
        if prepared.problems:
            first = prepared.problems[0]
            raise PassError(
                f"{first}, through which the student would have to be trained",
                node=first.node,
                hint=f"train what lies behind it with behind={first.node}, or freeze what lies before it",
            )
        return prepared

    def _fingerprint(self, samples: Samples, chosen: Split) -> str:
        """What a checkpoint belongs to: both models, the samples, and every setting."""
        digest = hashlib.sha256()
        for model in (self._student, self._teacher):
            digest.update(runtime.fingerprint(model).encode())
        for key in samples.content_keys():
            digest.update(key.encode())
        identity = asdict(self._ask)
        identity["settings"].pop("save_every")
        digest.update(json.dumps(identity, sort_keys=True, default=str).encode())
        digest.update(chosen.train.tobytes())
        return digest.hexdigest()[:24]


@dataclass
class JobFolder:
    """A job folder; one in the cache stays until its job is done."""

    path: Path
    is_done: bool = False


@contextmanager
def job_folder(ctx: Context, fingerprint: str) -> Iterator[JobFolder]:
    """A folder for the job: temporary, or one in the cache that a later run of the same job goes on in."""
    cache = ctx.settings.cache
    if cache is None:
        folder = Path(tempfile.mkdtemp(prefix="graphopt-distill-"))
        try:
            yield JobFolder(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    folder = Path(cache) / f"distill-{fingerprint}"
    folder.mkdir(parents=True, exist_ok=True)
    place = JobFolder(folder)
    yield place
    if place.is_done:
        shutil.rmtree(folder, ignore_errors=True)
