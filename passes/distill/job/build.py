"""Write one job: the graph with its losses, and the samples with the teacher's answers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt import runtime
from graphopt.errors import UsageError

from ..backends.base import Job
from ..data.feeds import Feeder, Plan, Producer
from ..data.samples import Split, Store, write_inputs
from ..data.teacher import Answers
from ..graph.losses import LABELS, Target, add_losses
from ..graph.prepare import Prepared
from ..qat.fake_quant import spelled_out
from ..spec.request import Request
from ..spec.terms import Pair, hint_pairs, output_pairs
from .judge import Verdict, judge

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Model
    from graphopt.pipeline import Context

# memory: bytes of the teacher's answers that are kept; more are computed when needed
LARGEST_CACHE = 2 * 2**30
# noise: of the training set tell how large the teacher's answers are; with batches of 32 a mean is known to 1
# / sqrt(128) of what samples differ by
SIZE_BATCHES = 4


class Build:
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
        pairs = [pair for pair in self._pairs if pair.term.kind == "kl" and pair.output is not None]
        if len(pairs) != 1:
            raise UsageError("distill: alpha weighs labels, which need one output of class scores")
        return pairs[0].term.student

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
