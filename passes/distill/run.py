"""One distillation from student and teacher to a student that answers more like the teacher."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt import runtime
from graphopt.errors import ModelError, PassError, UsageError

from .backends.base import Backend, Job, Tuned
from .feeds import Feeder, Plan, Producer
from .judge import Verdict, judge
from .prepare.losses import LABELS, Target, add_losses
from .prepare.prepare import Prepared, prepare, write_back
from .prepare.select import Choice
from .progress import Watched
from .samples import Split, Store, split, write_inputs
from .spec import Settings
from .teacher import Answers
from .terms import Pair, check_outputs, hint_pairs, output_pairs

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Model
    from graphopt.pipeline import Context

LARGEST_CACHE = 2 * 2**30  # bytes of the teacher's answers that are kept; more are computed when needed
SIZE_BATCHES = 4  # of the training set tell how large the teacher's answers are


@dataclass(frozen=True)
class Request:
    """What to do besides the settings of training."""

    settings: Settings
    choice: Choice = field(default_factory=Choice)
    losses: tuple[str, ...] = ("auto",)
    hints: tuple[str, ...] = ()
    hint_weight: float = 1.0
    sparse: str = "auto"


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
            build = _Build(self._student, self._teacher, self._ask, prepared, chosen, place.path, self._ctx)
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
        found = prepare(self._student, feeds, ask.choice, live_bn=ask.settings.live_bn, sparse=ask.sparse)
        if found.problems:
            first = found.problems[0]
            raise PassError(
                f"{first}, through which the student would have to be trained",
                node=first.node,
                hint=f"train what lies behind it with behind={first.node}, or freeze what lies before it",
            )
        return found

    def _fingerprint(self, samples: Samples, chosen: Split) -> str:
        """What a checkpoint belongs to: both models, the samples, and every setting."""
        digest = hashlib.sha256()
        for model in (self._student, self._teacher):
            digest.update(runtime.fingerprint(model).encode())
        for key in samples.content_keys():
            digest.update(key.encode())
        told = asdict(self._ask)
        told["settings"].pop("save_every")
        digest.update(json.dumps(told, sort_keys=True, default=str).encode())
        digest.update(chosen.train.tobytes())
        return digest.hexdigest()[:24]


@dataclass
class Place:
    """A job folder; one in the cache stays until its job is done."""

    path: Path
    is_done: bool = False


@contextmanager
def job_folder(ctx: Context, fingerprint: str) -> Iterator[Place]:
    """A folder for the job: temporary, or one in the cache that a later run of the same job goes on in."""
    cache = ctx.settings.cache
    if cache is None:
        folder = Path(tempfile.mkdtemp(prefix="graphopt-distill-"))
        try:
            yield Place(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return
    folder = Path(cache) / f"distill-{fingerprint}"
    folder.mkdir(parents=True, exist_ok=True)
    place = Place(folder)
    yield place
    if place.is_done:
        shutil.rmtree(folder, ignore_errors=True)


class _Build:
    """Writes one job: the graph with its losses, and the samples with the teacher's answers."""

    def __init__(
        self,
        student: Model,
        teacher: Model,
        ask: Request,
        prepared: Prepared,
        chosen: Split,
        folder: Path,
        ctx: Context,
    ) -> None:
        self._student, self._teacher, self._ask = student, teacher, ask
        self._prepared, self._split, self._folder, self._ctx = prepared, chosen, folder, ctx
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        """The samples on disk."""
        assert self._store is not None
        return self._store

    def job(self, samples: Samples, fingerprint: str) -> tuple[Job, Producer | None]:
        """Write everything; with augmentation or very large answers a producer makes the training parts."""
        settings = self._ask.settings
        self._store = write_inputs(self._folder, samples, self._split, self._ctx)
        self._pairs = self._find_pairs()
        self._answers = Answers(
            self._teacher,
            self.store.names,
            [pair.term.teacher for pair in self._pairs],
            self._ctx,
            self._split.batch,
        )
        self._targets = self._measured_targets()
        scores = self._scores()
        self._write_graph(scores)
        feeder = self._feeder(scores)
        batch = self._split.batch
        feeder.write(self._folder / "val", self.store.validation, self._labels("val"), batch, self._ctx)
        self._write_self(feeder)
        producer, parts = None, 0
        rows = len(self.store.train[0])
        if settings.augment or self._answer_bytes() > LARGEST_CACHE:
            plan = Plan.of(rows, batch, sum(array[0].nbytes for array in self.store.train))
            parts = plan.parts
            producer = Producer(
                self._folder,
                feeder,
                self.store.train,
                self._labels("train"),
                plan,
                batch,
                settings.augment,
                settings.seed,
                range(self._resumed_epoch(), settings.epochs),
            )
            self._clear_parts()
            producer.start()
        else:
            feeder.write(self._folder / "train", self.store.train, self._labels("train"), batch, self._ctx)
        return Job(self._folder, self._document(feeder, parts, fingerprint)), producer

    def _answer_bytes(self) -> int:
        """What the teacher's answers to the training set would take."""
        each = sum(int(np.prod(target.shape[1:], dtype=np.int64)) for target in self._targets)
        return 4 * each * len(self.store.train[0])

    def _labels(self, part: str) -> np.ndarray | None:
        if not self._ask.settings.alpha:
            return None
        return self.store.train_labels if part == "train" else self.store.validation_labels

    def verdict(self, student: Model) -> Verdict:
        """Judge a student by its answers on the validation set."""
        targets = [t for t, pair in zip(self._targets, self._pairs, strict=True) if pair.output is not None]
        answers = Answers(
            student, self.store.names, [t.term.student for t in targets], self._ctx, self._split.batch
        )
        settings = self._ask.settings
        return judge(self._compared(answers), targets, temperature=settings.temperature, alpha=settings.alpha)

    def _compared(self, student: Answers) -> Iterator[Any]:
        batch, count = self._split.batch, len(self.store.validation[0])
        labels = self.store.validation_labels
        for start in range(0, count, batch):
            inputs = [np.asarray(array[start : start + batch]) for array in self.store.validation]
            part = None if labels is None else labels[start : start + batch]
            yield student.run(inputs), self._answers.run(inputs), part

    def _find_pairs(self) -> list[Pair]:
        batch = [np.asarray(array[: self._split.batch]) for array in self.store.validation]
        names = [port.name for port in self._student.signature.outputs if port.dtype is not None]
        own = Answers(self._student, self.store.names, names, self._ctx).run(batch)
        pairs = output_pairs(self._teacher, self._student, own, self._ask.losses)
        if self._ask.hints:
            theirs = runtime.tensor_shapes(
                self._teacher, _names(self._teacher), self._wide_feeds(batch, self._teacher)
            )
            kept = {t.name for node in self._prepared.model.graph.nodes for t in node.outputs}
            ours = {name: shape for name, shape in self._prepared.shapes.items() if name in kept}
            pairs += hint_pairs(ours, theirs, self._ask.hints, self._ask.hint_weight)
        return pairs

    def _wide_feeds(self, batch: list[np.ndarray], model: Model) -> dict[str, np.ndarray]:
        dtypes = {port.name: port.dtype for port in model.signature.inputs}
        return {n: a.astype(dtypes[n], copy=False) for n, a in zip(self.store.names, batch, strict=True)}

    def _measured_targets(self) -> list[Target]:
        """The terms with the shapes of the teacher's answers and their usual size."""
        rows = self._split.batch * SIZE_BATCHES
        sample = self._answers.run([np.asarray(array[:rows]) for array in self.store.train])
        return [_target(pair, sample[pair.term.teacher], self._split.batch) for pair in self._pairs]

    def _scores(self) -> str | None:
        """The tensor of class scores that labels are compared with."""
        if not self._ask.settings.alpha:
            return None
        found = [pair for pair in self._pairs if pair.term.kind == "kl" and pair.output is not None]
        if len(found) != 1:
            raise UsageError("distill: alpha weighs labels, which need one output of class scores")
        return found[0].term.student

    def _write_graph(self, scores: str | None) -> None:
        model = self._prepared.model.copy()
        if scores is not None:
            tensor = next(t for node in model.graph.nodes for t in node.outputs if t.name == scores)
            tensor.shape = self._prepared.shapes[scores]
        order = {name: number for number, name in enumerate(self.store.names)}
        model.graph.inputs.sort(key=lambda tensor: order.get(tensor.name, len(order)))
        add_losses(model, self._targets, self._ask.settings, scores)
        model.write(self._folder / "train.onnx")
        self._names = tuple(
            tensor.name for tensor in model.graph.inputs if tensor not in model.graph.initializers
        )
        alive = {tensor.name for tensor in model.graph.initializers}
        self._parameters = tuple(name for name in self._prepared.parameters if name in alive)
        self._statistics = tuple(name for name in self._prepared.statistics if name in alive)

    def _feeder(self, scores: str | None) -> Feeder:
        classes = 0 if scores is None else int(self._prepared.shapes[scores][1])
        return Feeder(self._names, self.store.names, tuple(self._targets), self._answers, classes)

    def _write_self(self, feeder: Feeder) -> None:
        """A batch for which the student's own answers stand for the teacher's, and labels say nothing."""
        batch = [np.asarray(array[: self._split.batch]) for array in self.store.validation]
        tensors = [pair.term.student for pair in self._pairs]
        own = Answers(self._prepared_forward(), self.store.names, tensors, self._ctx).run(batch)
        made = dict(zip(self.store.names, batch, strict=True))
        made |= {target.feed: own[target.term.student] for target in self._targets}
        if LABELS in self._names:
            made[LABELS] = np.zeros((self._split.batch, feeder.classes), np.float32)
        (self._folder / "self").mkdir(exist_ok=True)
        for number, name in enumerate(self._names):
            np.save(self._folder / "self" / f"{number}.npy", made[name])

    def _prepared_forward(self) -> Model:
        from .prepare.fake_quant import spelled_out

        return spelled_out(self._prepared.model)

    def _resumed_epoch(self) -> int:
        pointer = self._folder / "checkpoint.json"
        if not pointer.exists():
            return 0
        return int(json.loads(pointer.read_text(encoding="utf-8"))["progress"]["epoch"])

    def _clear_parts(self) -> None:
        for path in [*self._folder.glob("train-*"), *self._folder.glob("draft-*")]:
            shutil.rmtree(path)

    def _document(self, feeder: Feeder, parts: int, fingerprint: str) -> Mapping[str, Any]:
        settings, batch = self._ask.settings, self._split.batch
        batches = len(self.store.train[0]) // batch
        updates = settings.epochs * max(batches // settings.accumulate, 1)
        checks = ["self", "direction"]
        if settings.live_bn:
            checks.remove("self")
        if self._prepared.quantizers:
            checks.remove("direction")  # rounding has no slope to measure
        return {
            **asdict(settings),
            "batch": batch,
            "batches": batches,
            "warmup": round(settings.warmup * updates),
            "parts": parts,
            "feeds": list(feeder.names),
            "parameters": list(self._parameters),
            "statistics": list(self._statistics),
            "fingerprint": fingerprint,
            "check": checks,
            "scale": sum(target.term.weight for target in self._targets),
        }


def _target(pair: Pair, values: np.ndarray, batch: int) -> Target:
    wide = values.astype(np.float64)
    size = float(np.abs(wide).mean() if pair.term.kind == "l1" else np.square(wide).mean())
    return Target(pair.term, (batch, *values.shape[1:]), pair.axis, size)


def _names(model: Model) -> list[str]:
    return [tensor.name for node in model.graph.nodes for tensor in node.outputs if tensor.name]
