"""The training loop: batches, updates, evaluation, keep-best, early stopping, checkpoints."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .checkpoint import Checkpoint, Progress, write_arrays
from .events import Control, Events, Job
from .parts import Part, epoch_parts
from .schedule import learning_rate

SAY_EVERY = 0.2  # shown: seconds between two progress events
STOPPED, DIVERGED = "stopped", "diverged"


class Training:
    """One training run of an engine, fresh or from the checkpoint in the job folder."""

    def __init__(self, engine: Any, job: Job, events: Events, control: Control) -> None:
        self._engine, self._job, self._events, self._control = engine, job, events, control
        self._validation = Part(Path("val"), len(job["feeds"]))
        self._checkpoint = Checkpoint(job["fingerprint"])
        self._updates = job["epochs"] * (job["batches"] // job["accumulate"])
        self._said = self._saved = time.monotonic()
        self._images, self._busy, self._cpu = 0, 0.0, 0.0

    def run(self) -> None:
        """Train, and leave the best parameters in best.npz; the last event says how it ended."""
        at = self._checkpoint.load(self._engine)
        if at is None:
            at = Progress()
            at.best_loss = at.first_loss = self._evaluate(at, 0)
            self._keep()
        reason = self._epochs(at)
        self._events.send(
            "done",
            reason=reason,
            best_epoch=at.best_epoch,
            best_loss=at.best_loss,
            first_loss=at.first_loss,
            history=at.history,
            updates=at.updates,
            images_per_second=self._speed(),
            images_per_cpu_second=self._images / self._cpu if self._cpu else 0.0,
            peak_bytes=_peak_bytes(),
        )

    def _epochs(self, at: Progress) -> str:
        while at.epoch < self._job["epochs"]:
            broken = self._epoch(at)
            if broken == STOPPED:
                self._checkpoint.save(self._engine, at)  # first, so that going on forgets this judgement
                self._judge(at, at.epoch + 1)
            if broken:
                return broken
            at.epoch, at.batch = at.epoch + 1, 0
            if not self._judge(at, at.epoch):
                return DIVERGED
            self._save(at)
            if self._job["patience"] and at.epoch - at.best_epoch >= self._job["patience"]:
                return "early_stop"
        return "finished"

    def _epoch(self, at: Progress) -> str:
        """Train one epoch from where ``at`` stands; returns what broke it, if something did."""
        waiting = 0
        for number, feeds in enumerate(self._batches(at.epoch)):
            if self._control.stopped and waiting == 0:
                return STOPPED
            if number < at.batch:
                continue
            start, cpu = time.monotonic(), time.process_time()
            loss = self._engine.step(feeds) * self._job["accumulate"]
            if not math.isfinite(loss):
                return DIVERGED
            waiting += 1
            if waiting == self._job["accumulate"]:
                self._engine.update(learning_rate(self._job, at.updates, self._updates))
                waiting, at.updates, at.batch = 0, at.updates + 1, number + 1
            self._images += len(feeds[0])
            self._busy += time.monotonic() - start
            self._cpu += time.process_time() - cpu
            self._say(at, number + 1, loss)
            if waiting == 0 and time.monotonic() - self._saved > self._job["save_every"]:
                self._save(at)
        self._engine.forget()
        return STOPPED if self._control.stopped else ""

    def _batches(self, epoch: int) -> Iterator[list[np.ndarray]]:
        """Full batches of all parts, shuffled within each part by seed, epoch and part."""
        size = self._job["batch"]
        for number, part in enumerate(epoch_parts(self._job, epoch, lambda: self._control.stopped)):
            rng = np.random.default_rng([self._job["seed"], epoch, number])
            order = rng.permutation(len(part))
            for start in range(0, len(order) - size + 1, size):
                yield part.batch(np.sort(order[start : start + size]))
            self._events.send("used", epoch=epoch, part=number)

    def _judge(self, at: Progress, epoch: int) -> bool:
        """Evaluate and keep parameters that are the best so far; False when the loss is no number."""
        loss = self._evaluate(at, epoch)
        if not math.isfinite(loss):
            return False
        if loss < at.best_loss:
            at.best_loss, at.best_epoch = loss, epoch
            self._keep()
        return True

    def _evaluate(self, at: Progress, epoch: int) -> float:
        losses = [
            self._engine.evaluate(feeds) * self._job["accumulate"]
            for feeds in self._validation.batches(self._job["batch"])
        ]
        loss = float(np.mean(np.asarray(losses, np.float64)))
        at.history.append({"epoch": epoch, "loss": loss})
        self._events.send("eval", epoch=epoch, loss=loss)
        return loss

    def _keep(self) -> None:
        write_arrays(Path("best.npz"), self._parameters())

    def _parameters(self) -> dict[str, np.ndarray]:
        """Parameters by number, since names of tensors may be no names of files."""
        names = [*self._job["parameters"], *self._job["statistics"]]
        return {str(number): self._engine.parameter(name) for number, name in enumerate(names)}

    def _save(self, at: Progress) -> None:
        if self._job["save_every"] > 0:
            self._checkpoint.save(self._engine, at)
            self._saved = time.monotonic()

    def _speed(self) -> float:
        return self._images / self._busy if self._busy else 0.0

    def _say(self, at: Progress, number: int, loss: float) -> None:
        now = time.monotonic()
        if now - self._said < SAY_EVERY:
            return
        self._said = now
        done = at.epoch * self._job["batches"] + number
        total = self._job["epochs"] * self._job["batches"]
        speed = self._speed()
        left = (total - done) * self._job["batch"] / speed if speed else None
        self._events.send(
            "progress",
            epoch=at.epoch,
            done=done,
            total=total,
            loss=loss,
            images_per_second=speed,
            seconds_left=left,
        )


def _peak_bytes() -> int:
    """The most memory that this process has held; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
