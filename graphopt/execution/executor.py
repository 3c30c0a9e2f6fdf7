"""The workers of a run, and the one loop that gives out tasks and takes their results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from statistics import median
from time import monotonic
from typing import Any, TypeVar

from graphopt.errors import WorkersError
from graphopt.execution.backend import Backend, Future
from graphopt.execution.shared import ByHash, InPlace, Load, Shared, digest_of
from graphopt.execution.tasks import Answer, Call, Identity

T = TypeVar("T")

STRIKES = 3  # noise: workers that may die over one task until it is to blame
SLOW = 4.0  # time: a task that takes so many times the median is carried out a second time elsewhere
PATIENCE = 10.0  # time: seconds that no task is thought to be slow before
LOSING = 120.0  # time: seconds without an answer until a cluster that loses tasks is given up
TICK = 0.5  # time: seconds between looks at what runs


@dataclass
class Seen:
    """What was seen of the workers: who they are, how long tasks took, bytes of shared values and results."""

    machines: dict[str, Identity] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    shared: int = 0
    received: int = 0


class Workers:
    """Carries out tasks somewhere; without a backend in this process, one after the other.

    This is what the rest of graphopt, and a search with trials of its own, uses::

        with open_workers(4) as workers:                       # or "tcp://...", an executor, None: see there
            model = workers.share(model, Model.to_bytes, ir.from_bytes)
            for number, result in workers.map(try_one, [(model, trial) for trial in trials]):
                ...

    ``try_one`` is a function of a module (no lambda, no method of an object with state) and pure: its result
    depends on its arguments alone, because a task of a worker that died, or that is slow, runs a second time.
    Arguments and results are small plain values; what is large is shared.  In a task, ``model.get()`` is the
    shared value and ``model.derive(key, make)`` what was made of it once for the whole process, such as a
    session.  Results come as they are ready, with the number of their call: put them in that order before
    sums of floats are made (``Reduction``).  Random choices take ``task_seed(seed, purpose, number)``.
    """

    def __init__(self, backend: Backend | None = None, *, heterogeneous: bool = False) -> None:
        self._backend = backend
        self._heterogeneous = heterogeneous
        self._contents: dict[str, bytes] = {}
        self._published: dict[str, Any] = {}
        self._identity = Identity.here()
        self.seen = Seen()

    @property
    def count(self) -> int:
        """How many tasks run at the same time."""
        return 1 if self._backend is None else self._backend.count

    @property
    def is_here(self) -> bool:
        """Whether tasks run in this process, one after the other."""
        return self._backend is None

    @property
    def is_local(self) -> bool:
        """Whether the workers were started here and share the processors of this machine."""
        return self._backend is None or self._backend.is_local

    @property
    def description(self) -> str:
        """What the workers are, for people."""
        return "this process" if self._backend is None else self._backend.description

    @property
    def dashboard(self) -> str:
        """The address of a page that shows the workers at work; empty when there is none."""
        return "" if self._backend is None else self._backend.dashboard

    def share(self, value: T, dump: Callable[[T], bytes], load: Load[T]) -> Shared[T]:
        """What stands for ``value`` in the arguments of tasks; its bytes travel to each worker once.

        ``load`` is a function of a module.  In this process neither function is called.
        """
        if self._backend is None:
            return InPlace(value)
        content = dump(value)
        digest = digest_of(content)
        if digest not in self._contents:
            self._contents[digest] = content
            self.seen.shared += len(content)
            self._published[digest] = self._backend.publish(digest, content)
        return ByHash(digest, load)

    def map(self, function: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[tuple[int, T]]:
        """Yield (number of the call, result) for all calls, as they are ready.

        Raises what a task raises, and WorkersError when workers are lost again and again, are of another
        version, or compute differently.
        """
        if self._backend is None:
            yield from ((number, function(*values)) for number, values in enumerate(calls))
            return
        yield from _Round(self, self._backend, function, calls).results()

    def call(self, function: Callable[..., Any], values: tuple[Any, ...], digests: tuple[str, ...]) -> Call:
        """A task as it travels."""
        return Call(function, values, self._identity, self._heterogeneous, digests)

    def contents(self, digests: Sequence[str], *, whole: bool) -> list[Any]:
        """What goes along with a task for the values that it refers to; ``whole`` as bytes."""
        return [self._contents[each] if whole else self._published[each] for each in digests]

    def publish_again(self) -> None:
        """Make all contents available to new workers."""
        assert self._backend is not None
        for digest, content in self._contents.items():
            self._published[digest] = self._backend.publish(digest, content)

    def record(self) -> dict[str, Any]:
        """What a report says of workers: how many, and which instruction sets they computed with."""
        if self._backend is None:
            return {}
        sets = sorted({identity.isa for identity in self.seen.machines.values()})
        kept = {"count": len(self.seen.machines), "isa": sets, "heterogeneous": self._heterogeneous}
        return {"workers": kept}

    def close(self) -> None:
        """Let go of the workers."""
        self._contents.clear()
        self._published.clear()
        if self._backend is not None:
            self._backend.close()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Round:
    """One ``map``: which calls wait, which run, and which are answered."""

    def __init__(
        self,
        workers: Workers,
        backend: Backend,
        function: Callable[..., Any],
        calls: Sequence[tuple[Any, ...]],
    ) -> None:
        self._workers, self._backend = workers, backend
        self._function, self._calls = function, calls
        self._waiting = deque(range(len(calls)))
        self._running: dict[int, tuple[int, Future, float]] = {}  # by ticket: call, future, when it began
        self._ready: SimpleQueue[int] = SimpleQueue()
        self._answered: set[int] = set()
        self._strikes = [0] * len(calls)
        self._whole: set[int] = set()  # calls that need contents as bytes
        self._twice: set[int] = set()  # calls that were begun a second time because they are slow
        self._tickets = 0
        self._seconds: list[float] = []
        self._losing_since: float | None = None  # since when calls are lost and none is answered

    def results(self) -> Iterator[tuple[int, Any]]:
        try:
            while len(self._answered) < len(self._calls):
                self._fill()
                ticket = self._next()
                if ticket is None:
                    self._repeat_slow()
                    continue
                number, future, _ = self._running.pop(ticket)
                if number in self._answered:
                    continue
                answer = self._answer(number, future)
                if answer is not None:
                    self._answered.add(number)
                    yield number, answer.value
        finally:
            for _, future, _ in self._running.values():
                future.cancel()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < 2 * self._backend.count:
            number = self._waiting.popleft()
            if number not in self._answered:
                self._begin(number)

    def _begin(self, number: int) -> None:
        values = self._calls[number]
        digests = tuple(dict.fromkeys(value.digest for value in values if isinstance(value, ByHash)))
        call = self._workers.call(self._function, values, digests)
        contents = self._workers.contents(digests, whole=number in self._whole)
        ticket = self._tickets
        self._tickets += 1
        try:
            future = self._backend.submit(call, contents)
        except Exception as error:
            if not self._backend.is_loss(error):
                raise
            self._lose(number, error)
            return
        self._running[ticket] = number, future, monotonic()
        future.add_done_callback(lambda _: self._ready.put(ticket))

    def _next(self) -> int | None:
        """The next future that is ready; None when none is for a while."""
        if not self._running:
            return None
        try:
            return self._ready.get(timeout=TICK)
        except Empty:
            return None

    def _answer(self, number: int, future: Future) -> Answer | None:
        """What a worker answered; None when the call has to run again."""
        try:
            answer: Answer = future.result()
        except BaseException as error:
            if not self._backend.is_loss(error):
                raise self._backend.explain(error) from error
            self._lose(number, error)
            return None
        self._workers.seen.machines[answer.worker] = answer.identity
        self._losing_since = None
        if answer.missing:
            self._whole.add(number)
            self._waiting.appendleft(number)
            return None
        if answer.failure is not None:
            raise answer.failure.error(answer.worker)
        self._workers.seen.seconds.append(answer.seconds)
        self._workers.seen.received += len(answer.value) if isinstance(answer.value, bytes) else 0
        self._seconds.append(answer.seconds)
        return answer

    def _lose(self, number: int, error: BaseException) -> None:
        """Carry out a call again whose worker is gone, unless it is to blame."""
        self._losing_since = self._losing_since or monotonic()
        if monotonic() - self._losing_since > LOSING:
            raise WorkersError(
                f"{self._backend.description} has lost every task for {LOSING:.0f} seconds: {error}",
                hint="see that it runs; with --cache the run goes on where it was",
            ) from error
        self._strikes[number] += self._backend.blames_tasks
        if self._strikes[number] > STRIKES:
            raise WorkersError(
                f"{self._strikes[number]} workers ended while they worked on the same task ({error})",
                hint="they may lack memory: use fewer workers, or machines with more",
            ) from error
        if self._backend.recover(error):
            self._workers.publish_again()
        self._waiting.append(number)

    def _repeat_slow(self) -> None:
        """Begin a second time what takes very long while others are idle: the first answer counts."""
        if self._waiting or not self._seconds or len(self._running) >= self._backend.count:
            return
        limit = max(PATIENCE, SLOW * median(self._seconds))
        for number, _, began in list(self._running.values()):
            if monotonic() - began > limit and number not in self._twice:
                self._twice.add(number)
                self._begin(number)
                return
