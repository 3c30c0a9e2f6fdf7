"""Two model files in a backend that they are deployed to: how right both are there, and how fast."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt import backends, runtime
from graphopt.errors import ModelError

if TYPE_CHECKING:
    from graphopt.analysis.loaded_model import LoadedModel
    from graphopt.data import Samples

SAMPLES = 4  # time: samples that both are run on in a backend
SECONDS = 2.0  # time: for timing both in turn


@dataclass(frozen=True)
class BackendComparison:
    """Two files in a backend; ``sqnr_db`` of each is against onnxruntime on the same file, the worst sample.

    ``apart_db`` is the SQNR of B against A in the backend, ``kernels`` how many layers of each run on
    integers there, of how many; None where the runtime does not tell.
    """

    name: str
    version: str
    sqnr_db: tuple[float, float]
    apart_db: float
    milliseconds: tuple[float, float]
    latency_ratio: float
    kernels: tuple[tuple[int, int] | None, tuple[int, int] | None]


def compare_in_backend(
    text: str, first: LoadedModel, second: LoadedModel, samples: Samples
) -> BackendComparison:
    """Run both files in a backend, ``NAME`` or ``NAME=PYTHON``.

    Raises UsageError when it is not there, ModelError when one of the files does not run in it.
    """
    name, _, python = text.partition("=")
    where = backends.require(name, python or None)
    feeds = [dict(sample.feeds) for sample in islice(iter(samples), SAMPLES)]
    right = [_outputs(model, feeds) for model in (first, second)]
    names = list(right[0][0])
    with tempfile.TemporaryDirectory() as folder:
        paths = [
            _file(model, Path(folder) / f"{letter}.onnx") for model, letter in ((first, "a"), (second, "b"))
        ]
        entries = [backends.Entry(path, feed, names) for feed in feeds for path in paths]
        result = backends.run(where, entries, threads=first.session.threads, seconds=SECONDS)
    for entry, answer in zip(entries, result.answers, strict=True):
        if answer.outputs is None:
            model = first if entry.path == paths[0] else second
            raise ModelError(
                f"{model.name} does not run in {where.backend.title} {result.version}: {answer.error}"
            )
    answers = [[a.outputs or {} for a in result.answers[part::2]] for part in (0, 1)]
    sqnr = [min(map(_sqnr, own, there)) for own, there in zip(right, answers, strict=True)]
    a, b = result.answers[:2]
    return BackendComparison(
        where.backend.title,
        result.version,
        (sqnr[0], sqnr[1]),
        min(map(_sqnr, *answers)),
        (a.median_ms or 0.0, b.median_ms or 0.0),
        result.ratio(1, 0) or 0.0,
        (_counts(a), _counts(b)),
    )


def _file(model: LoadedModel, draft: Path) -> Path:
    """The file of a model; of one in memory a draft."""
    if isinstance(model.content, Path):
        return model.content
    draft.write_bytes(model.content)
    return draft


def _outputs(model: LoadedModel, feeds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    opened = runtime.Session(model.content, model.session, optimization="disabled")
    return [opened.run(feed) for feed in feeds]


def _sqnr(reference: Mapping[str, Any], answer: Mapping[str, Any]) -> float:
    return backends.agreement(reference, answer).sqnr_db


def _counts(answer: backends.Answer) -> tuple[int, int] | None:
    return None if answer.kernels is None else (answer.kernels.integer, answer.kernels.layers)
