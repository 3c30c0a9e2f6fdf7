"""Trials of a search: the approximate passes of a run carried out on a copy, judged on held-out samples."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt import cost
from graphopt.errors import OutputError
from graphopt.pipeline.contract.base import Offer, Pass, PlannedPass
from graphopt.pipeline.contract.context import Context
from graphopt.pipeline.contract.moves import Move
from graphopt.pipeline.search.degradation import Degradation, Loss
from graphopt.pipeline.search.relative_time import relative_time
from graphopt.pipeline.search.weighted_macs import WEIGHTED_MACS, weighted_macs
from graphopt.util.files import write_json

if TYPE_CHECKING:
    from graphopt.ir import Model

SCHEMA = 1  # fixed: raise it when trials are carried out or judged in another way


class OutOfTimeError(Exception):
    """The time limit of the run passed in the middle of a trial."""


@dataclass(frozen=True)
class Part:
    """A pass that a trial carries out; one without an ``offer`` runs as it is written."""

    step: Pass
    offer: Offer | None = None


@dataclass(frozen=True)
class Tried:
    """What a trial came to: what is ``left`` of the goal, the loss, the noise after each offering pass."""

    left: float
    loss: Loss
    noise: tuple[float, ...]


class Trials:
    """Carries out choices on copies of ``base``; ``store`` keeps what they came to for the next run."""

    def __init__(
        self,
        base: Model,
        parts: Sequence[Part],
        ctx: Context,
        judge: Degradation,
        saves: str,
        store: TrialStore,
        deadline: float | None,
    ) -> None:
        self._base, self._parts, self._ctx, self._judge = base, parts, ctx, judge
        self._saves, self._store, self._deadline = saves, store, deadline
        self.longest = 0.0  # seconds that a trial took at most

    def carry_out(self, taken: Sequence[Sequence[Move]]) -> Tried:
        """Carry out the moves of each offer and judge the result; OutOfTimeError when time is up."""
        kept = self._store.find(taken)
        if kept is not None:
            return kept
        start = time.monotonic()
        model, noise = self._base.copy(), []
        loss: Loss | None = None
        moves = iter(taken)
        for part in self._parts:
            ctx = self._context()
            if part.offer is None or not isinstance(part.step, PlannedPass):
                part.step.run(model, ctx)
                loss = None
                continue
            plan = part.offer.plan(model, next(moves), ctx)
            part.step.apply(model, plan, ctx)
            loss = self._judge.assess(model)
            noise.append(loss.noise)
        loss = self._judge.assess(model) if loss is None else loss
        tried = Tried(self.left(model), loss, tuple(noise))
        self.longest = max(self.longest, time.monotonic() - start)
        self._store.keep(taken, tried)
        return tried

    def left(self, model: Model) -> float:
        """What is left of the goal, of what the run began with."""
        ctx, original = self._ctx, self._ctx.original
        if self._saves == "latency":
            return relative_time(original, model, ctx)
        if self._saves == WEIGHTED_MACS:
            after, before = (weighted_macs(one, ctx.shapes) for one in (model, original))
            return after / (before or 1.0)
        if self._saves == "bytes":
            return model.weight_bytes / (original.weight_bytes or 1)
        sizes = [cost.measure(one, ctx.shapes) for one in (original, model)]
        name = "macs" if self._saves == "macs" else "parameters"
        before, after = (float(getattr(size, name) or 0) for size in sizes)
        return after / (before or 1.0)

    def check_time(self) -> None:
        """Raise OutOfTimeError when the time is over."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise OutOfTimeError

    def _context(self) -> Context:
        """A context of its own for each pass, whose progress looks at the clock."""
        settings = dataclasses.replace(self._ctx.settings, progress=self._watched)
        return Context(self._ctx.inputs, settings, self._ctx.target)

    def _watched(self, description: str, items: Iterable[Any], total: int | None) -> Iterable[Any]:
        for item in self._ctx.settings.progress(description, items, total):
            self.check_time()
            yield item


class TrialStore:
    """What trials came to, by model, passes, samples and moves, in a file of the cache; without one, nothing.

    An interrupted search that is started again finds its trials and goes on from there.
    """

    def __init__(self, folder: Path | None, about: str) -> None:
        digest = hashlib.sha256(f"{SCHEMA} {about}".encode()).hexdigest()
        self._file = None if folder is None else folder / f"trials-{digest[:24]}.json"
        self._known: dict[str, Any] = self._read()

    def find(self, taken: Sequence[Sequence[Move]]) -> Tried | None:
        """What these moves came to before."""
        entry = self._known.get(_key(taken))
        if entry is None:
            return None
        return Tried(
            float(entry["left"]), Loss(*map(float, entry["loss"])), tuple(map(float, entry["noise"]))
        )

    def keep(self, taken: Sequence[Sequence[Move]], tried: Tried) -> None:
        """Keep what moves came to; OutputError when the file cannot be written."""
        loss = [tried.loss.points, tried.loss.upper, tried.loss.noise]
        self._known[_key(taken)] = {"left": tried.left, "loss": loss, "noise": list(tried.noise)}
        if self._file is not None:
            try:
                self._file.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f"the cache {self._file.parent} cannot be made: {error}") from error
            write_json(self._file, {"schema": SCHEMA, "trials": self._known})

    def _read(self) -> dict[str, Any]:
        if self._file is None:
            return {}
        try:
            entries = dict(json.loads(self._file.read_text(encoding="utf-8"))["trials"])
            for entry in entries.values():
                _ = float(entry["left"]), [float(one) for one in (*entry["loss"], *entry["noise"])]
            return entries
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return {}  # missing, or cut short: trials are carried out again


def _key(taken: Sequence[Sequence[Move]]) -> str:
    names = [[(move.item, move.level) for move in moves] for moves in taken]
    return hashlib.sha256(json.dumps(names).encode()).hexdigest()
