"""Show a running trainer: a bar with the loss, images a second and the time left."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphopt.pipeline import Context

    from ..data.feeds import Producer
    from ..spec.settings import Settings


class ProgressText:
    """What the bar says, as it is at the moment: the progress display asks for its text again and again."""

    def __init__(self) -> None:
        self.text = "distill: starting the trainer"

    def __str__(self) -> str:
        return self.text


class Watched:
    """Hears a trainer's events and drives the run's progress display with them."""

    def __init__(self, ctx: Context, settings: Settings, producer: Producer | None) -> None:
        self._ctx, self._settings, self._producer = ctx, settings, producer
        self._told = ProgressText()
        self._ticks: queue.Queue[int | None] = queue.Queue()
        self._shown = 0
        self._total = 1
        self._thread: threading.Thread | None = None
        self.evaluations: list[tuple[int, float]] = []

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._ticks.put(None)
            self._thread.join()

    def hear(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        kind = event["event"]
        if kind == "eval":
            self.evaluations.append((int(event["epoch"]), float(event["loss"])))
        elif kind == "used" and self._producer is not None:
            self._producer.used(int(event["epoch"]), int(event["part"]))
        elif kind == "progress":
            self._progress(event)

    def _progress(self, event: Mapping[str, Any]) -> None:
        self._told.text = sentence_of(event, self._settings.epochs)
        self._total = int(event["total"])
        if self._thread is None:
            self._thread = threading.Thread(target=self._show, daemon=True)
            self._thread.start()
        self._ticks.put(int(event["done"]))

    def _show(self) -> None:
        """Run the display in a thread: it draws when an item is taken."""
        for _ in self._ctx.progress(self._told, self._steps(), self._total):  # type: ignore[arg-type]
            pass

    def _steps(self) -> Iterator[int]:
        while True:
            done = self._ticks.get()
            if done is None:
                return
            while self._shown < done:
                self._shown += 1
                yield self._shown


def sentence_of(event: Mapping[str, Any], epochs: int) -> str:
    """The event in words."""
    left = event.get("seconds_left")
    text = f"distill: epoch {int(event['epoch']) + 1} of {epochs}, loss {event['loss']:.4g}, "
    text += f"{event['images_per_second']:,.0f} images/s"
    return text if left is None else f"{text}, {_time(left)} left"


def _time(seconds: float) -> str:
    whole = round(seconds)
    return (
        f"{whole // 60}:{whole % 60:02}" if whole < 3600 else f"{whole // 3600} h {whole // 60 % 60:02} min"
    )
