"""What a training run is asked for, apart from the models and the samples; plain values, JSON-able."""

from __future__ import annotations

from dataclasses import dataclass

from graphopt.errors import UsageError

KINDS = ("kl", "mse", "l1", "attention")
OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("cosine", "linear", "constant")
AUGMENTATIONS = ("flip", "crop", "mixup")


@dataclass(frozen=True)
class Term:
    """One part of the loss: a tensor of the student drawn to a tensor of the teacher.

    ``kind``: ``kl`` compares class scores before the softmax; ``mse`` and ``l1`` compare values,
    divided by the mean square and the mean size of the teacher's; ``attention`` compares where feature maps
    are large, for maps with different numbers of channels.
    """

    student: str
    teacher: str
    kind: str
    weight: float = 1.0


@dataclass(frozen=True)
class Settings:
    """How to train.

    ``alpha`` weighs the cross-entropy with labels against the other terms; ``warmup`` is the fraction of the
    updates over which the learning rate rises; ``clip`` bounds the norm of the gradient; ``validation`` is
    the fraction of the samples that judge; ``patience`` counts epochs without a better loss, 0 for no limit.
    """

    epochs: int = 3
    lr: float = 2e-3
    batch: int = 64
    accumulate: int = 1
    optimizer: str = "adamw"
    schedule: str = "cosine"
    warmup: float = 0.05
    clip: float = 0.0
    weight_decay: float = 0.0
    temperature: float = 2.0
    alpha: float = 0.0
    patience: int = 0
    validation: float = 0.1
    augment: tuple[str, ...] = ()
    live_bn: bool = False
    seed: int = 0
    threads: int = 1
    save_every: float = 0.0  # seconds between checkpoints; 0 for none


def read_term(text: str) -> tuple[str, str, str, float]:
    """Read ``STUDENT[=TEACHER][@KIND][*WEIGHT]``; kind is empty when it is not said.

    Raises UsageError for a weight that is no number from 0, or an unknown kind.
    """
    body, star, weight = text.rpartition("*")
    if not star:
        body, weight = text, "1"
    try:
        value = float(weight)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(f"distill: {text!r} has the weight {weight!r}, which is not a number from 0 up")
    names, at, kind = body.rpartition("@")
    if not at:
        names, kind = body, ""
    if kind and kind not in KINDS:
        raise UsageError(f"distill: {text!r} has the kind {kind!r}; known: {', '.join(KINDS)}")
    student, equals, teacher = names.partition("=")
    return student, teacher if equals else student, kind, value
