"""Time every kernel of a model by itself, with onnxruntime's own profiler."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.errors import ModelError
from graphopt.runtime.session import DEFAULTS, Session

if TYPE_CHECKING:
    import onnxruntime as ort  # type: ignore[import-untyped]

    from graphopt.runtime.model_source import ModelLike
    from graphopt.runtime.session import Optimization, SessionOptions

WARM_UP = 2  # time: runs before those that count
FEWEST_ROUNDS, MOST_ROUNDS = 8, 100  # time: runs that count
_SUFFIX = "_kernel_time"


@dataclass(frozen=True)
class Kernel:
    """One kernel that onnxruntime runs: a node of the model after the runtime's own optimisations.

    ``microseconds`` holds one entry for each run.  A kernel with a subgraph (If, Loop) contains the time of
    the kernels inside, which are listed too.
    """

    name: str
    op: str
    microseconds: np.ndarray

    @property
    def typical(self) -> float:
        """Microseconds of an undisturbed run: the mean of the quickest tenth, three at least.

        As robust as the minimum on a machine that does other things, and finer than the profiler's whole
        microseconds.
        """
        ordered = np.sort(self.microseconds)
        return float(ordered[: max(3, len(ordered) // 10)].mean())


class ProfiledSession(Session):
    """A session that times its kernels; ``finish`` ends it and tells the times."""

    def __init__(self, model: ModelLike, options: SessionOptions = DEFAULTS) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="graphopt-")
        super().__init__(model, options, timed=True)

    def _settings(self, optimization: Optimization, options: SessionOptions) -> ort.SessionOptions:
        settings = super()._settings(optimization, options)
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(self._folder.name, "profile"))
        return settings

    def finish(self, *, skip: int = 1) -> list[Kernel]:
        """Close the session and return its kernels in the order they run, without the first ``skip`` runs.

        Raises ModelError when the profile cannot be read.
        """
        path = Path(self._session.end_profiling())
        try:
            events = json.loads(path.read_text(encoding="utf-8", errors="replace"), strict=False)
        except ValueError as error:
            raise ModelError(f"the profile that onnxruntime wrote cannot be read: {error}") from error
        finally:
            self._folder.cleanup()
        return _kernels(list(_runs(events))[skip:])


_Key = tuple[str, str, str]  # kernels without a name differ by their index alone


def _runs(events: Sequence[Mapping[str, Any]]) -> Iterator[dict[_Key, float]]:
    """Microseconds by kernel of each run; a kernel inside a loop runs several times."""
    times: dict[_Key, float] = {}
    for event in events:
        name = str(event.get("name", ""))
        if name == "model_run":
            yield times
            times = {}
        elif event.get("cat") == "Node" and name.endswith(_SUFFIX):
            args = event["args"]
            key = (name.removesuffix(_SUFFIX), str(args["op_name"]), str(args.get("node_index", "")))
            times[key] = times.get(key, 0.0) + float(event["dur"])


def _kernels(runs: Sequence[Mapping[_Key, float]]) -> list[Kernel]:
    keys = dict.fromkeys(key for run in runs for key in run)
    return [Kernel(k[0], k[1], np.array([run.get(k, 0.0) for run in runs])) for k in keys]


def profile(
    model: ModelLike,
    feeds: Mapping[str, np.ndarray],
    options: SessionOptions = DEFAULTS,
    *,
    seconds: float = 2.0,
) -> list[Kernel]:
    """Run a model on one set of inputs for about ``seconds`` and return what its kernels take.

    Raises ModelError when the model does not run.
    """
    session = ProfiledSession(model, options)
    deadline = perf_counter() + seconds
    rounds = 0
    while rounds < FEWEST_ROUNDS or (rounds < MOST_ROUNDS and perf_counter() < deadline):
        session.run(feeds)
        rounds += 1
    return session.finish(skip=WARM_UP)
