"""The pass: train the weights of the model towards those answers that the run began with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from graphopt.errors import UsageError
from graphopt.pipeline import Contract, Pass, option

from .graph.masks import SPARSE
from .graph.select import Choice
from .spec.settings import AUGMENTATIONS, OPTIMIZERS, SCHEDULES, Settings

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.pipeline import Context

    from .job.run import Outcome
    from .spec.request import Request

FEW_MACS = 25_000_000  # time: of one sample; below, threads cost a trainer more than they bring
SAVE_EVERY = 60.0  # time: seconds between checkpoints where they are kept


@dataclass(frozen=True)
class Distill(Pass):
    """Train the weights so that the outputs come close to those of the original model.

    The teacher is the model as the run began with it; labels are not needed.  Parameters are trained on the
    calibration samples by a trainer in an environment of its own (graphopt trainer install) and written back;
    structure and shapes stay.  What is no better on held-out samples is thrown away.
    """

    name: ClassVar[str] = "distill"
    contract: ClassVar[Contract] = Contract.APPROXIMATE
    too_long_for_trials: ClassVar[bool] = True

    epochs: int = option(3, "how often each sample is seen", minimum=1)
    lr: float = option(2e-3, "learning rate at its highest", minimum=0)
    batch: int = option(64, "samples in a step", minimum=1)
    accumulate: int = option(1, "steps whose gradients go into one update", minimum=1)
    optimizer: str = option("adamw", "how parameters follow gradients", choices=OPTIMIZERS)
    schedule: str = option("cosine", "how the learning rate falls", choices=SCHEDULES)
    warmup: float = option(0.05, "fraction of the updates over which it rises", minimum=0, maximum=1)
    clip: float = option(0.0, "largest norm of a gradient; 0 for any", minimum=0)
    weight_decay: float = option(0.0, "weight decay of adamw", minimum=0)
    temperature: float = option(2.0, "temperature at which class scores are compared", minimum=0.1)
    alpha: float = option(0.0, "weight of the cross-entropy with labels", minimum=0)
    losses: tuple[str, ...] = option(
        ("auto",), 'what is compared: "OUTPUT@kl*1" with kl, mse or l1 and a weight; auto, all outputs'
    )
    hints: tuple[str, ...] = option(
        (), 'inner tensors trained towards the teacher\'s: "STUDENT=TEACHER@mse*0.5", or auto, by name'
    )
    hint_weight: float = option(1.0, "weight of all hints", minimum=0)
    augment: tuple[str, ...] = option((), "change images, the teacher sees them too", choices=AUGMENTATIONS)
    patience: int = option(0, "stop after this many epochs without improvement; 0: never", minimum=0)
    validation: float = option(0.1, "fraction of the samples held out to judge", minimum=0.01, maximum=0.5)
    train: tuple[str, ...] = option((), "train only these layers or tensors: names with * and ?, or types")
    freeze: tuple[str, ...] = option((), "layers or tensors not to train: names with * and ?, or types")
    behind: str = option("", "train only what lies behind this node")
    sparse: str = option("auto", "zero weights of sparse layers: keep, fill, or auto", choices=SPARSE)
    bn: str = option(
        "folded",
        "batch normalisation: folded for training, or live with statistics",
        choices=("folded", "live"),
    )
    teacher: str = option("", "a model file to learn from instead of the original")
    backend: str = option("ort", "the trainer: ort, torch, or one that is registered")
    threads: int | None = option(None, "threads of the trainer; none: one for small models", minimum=1)
    install_trainer: bool = option(False, "install the trainer when it is not there")

    def run(self, model: Model, ctx: Context) -> None:
        """Train, and keep the result when it is better on held-out samples."""
        from .backends.base import open_backend

        if ctx.calibration_is_synthetic:
            raise UsageError(
                "distill needs samples to train on",
                hint="give some with --calibration; labels are not needed",
            )
        backend = open_backend(self.backend)
        self._make_ready(backend, ctx)
        if self.alpha:
            self._check_labels(ctx)
        from .job.run import Distillation

        ctx.used_training()
        teacher = self._teacher(ctx)
        outcome = Distillation(model, teacher, self.request(model, ctx), backend, ctx).run(ctx.calibration)
        self._report(outcome, model, ctx)

    def request(self, model: Model, ctx: Context) -> Request:
        """What the options ask for, for this model and run."""
        from .spec.request import Request

        settings = Settings(
            epochs=self.epochs,
            lr=self.lr,
            batch=self.batch,
            accumulate=self.accumulate,
            optimizer=self.optimizer,
            schedule=self.schedule,
            warmup=self.warmup,
            clip=self.clip,
            weight_decay=self.weight_decay,
            temperature=self.temperature,
            alpha=self.alpha,
            patience=self.patience,
            validation=self.validation,
            augment=self.augment,
            live_bn=self.bn == "live",
            seed=ctx.seed,
            threads=self._threads(model, ctx),
            save_every=SAVE_EVERY if ctx.settings.cache is not None else 0.0,
        )
        choice = Choice(self.train, self.freeze, self.behind)
        return Request(settings, choice, self.losses, self.hints, self.hint_weight, self.sparse)

    def _make_ready(self, backend: object, ctx: Context) -> None:
        from .trainer.environment import install_if_missing

        if self.install_trainer and self.backend == "ort":
            install_if_missing(ctx.progress)
        backend.ready()  # type: ignore[attr-defined]

    def _check_labels(self, ctx: Context) -> None:
        if not ctx.calibration.labelled:
            raise UsageError(
                f"distill: alpha={self.alpha:g} weighs labels, and the samples have none",
                hint="give labelled samples, or leave alpha out",
            )
        ctx.used_labels()

    def _threads(self, model: Model, ctx: Context) -> int:
        from graphopt import cost

        if self.threads is not None:
            return self.threads
        macs = cost.measure(model, ctx.shapes).macs
        return 1 if macs is not None and macs < FEW_MACS else ctx.threads

    def _teacher(self, ctx: Context) -> Model:
        from graphopt import ir

        return ir.load(Path(self.teacher)) if self.teacher else ctx.original

    def _report(self, outcome: Outcome, model: Model, ctx: Context) -> None:
        if outcome.tuned.reason == "stopped":
            more = "" if ctx.settings.cache is None else "; the same command continues"
            ctx.warn(f"distill was interrupted: the best so far is kept{more}")
        if outcome.tuned.reason == "diverged":
            ctx.warn(f"distill diverged: the best before that is kept; lr={self.lr / 4:g} may help")
        if outcome.student is None:
            ctx.skipped(
                "model",
                "training brought no improvement on held-out samples "
                f"({outcome.before} before; {_course(outcome)})",
            )
            return
        model.restore(outcome.student.snapshot())
        for node in dict.fromkeys(outcome.nodes):
            ctx.changed(node, "weights trained")
        ctx.changed("model", f"on held-out samples: {outcome.before} -> {outcome.after}")


def _course(outcome: Outcome) -> str:
    """The loss that the trainer saw after each epoch."""
    losses = ", ".join(f"{entry['loss']:.4g}" for entry in outcome.tuned.history)
    return f"the trainer's loss before and after each epoch: {losses}"
