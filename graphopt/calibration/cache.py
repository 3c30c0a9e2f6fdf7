"""Keep calibration results on disk, keyed by everything they depend on."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graphopt.calibration.statistics.base import Statistic
from graphopt.runtime import fingerprint, machine
from graphopt.util.files import replacing

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Model

    Results = Mapping[str, Sequence[Statistic]]

_FORMAT = 1  # fixed: raise it when a statistic changes its meaning


def cache_key(model: Model, samples: Samples, results: Results, options: Sequence[str]) -> str:
    """Hash of the model with its weights, the preprocessed samples, the request, and the machine.

    Reads all samples once.
    """
    request = {name: [statistic.key for statistic in of] for name, of in results.items()}
    parts = [_FORMAT, fingerprint(model), _data_digest(samples), request, machine(), list(options)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def load_cached(path: Path, results: Results) -> bool:
    """Fill the statistics from a cache file; False when there is no readable one."""
    if not path.exists():
        return False
    try:
        with np.load(path, allow_pickle=False) as stored:
            states = [_state(stored, index) for index in range(len(_flat(results)))]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return False  # cut short by a crash or a full disk: it is computed and written anew
    for statistic, state in zip(_flat(results), states, strict=True):
        statistic.restore(state)
    return True


def store_cached(path: Path, results: Results) -> None:
    """Write the statistics; the file appears only when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        f"{index}/{field}": array
        for index, statistic in enumerate(_flat(results))
        for field, array in statistic.state().items()
    }
    with replacing(path) as draft, draft.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _flat(results: Results) -> list[Statistic]:
    return [statistic for of in results.values() for statistic in of]


def _state(stored: Mapping[str, np.ndarray], index: int) -> dict[str, np.ndarray]:
    prefix = f"{index}/"
    state = {name.removeprefix(prefix): stored[name] for name in stored if name.startswith(prefix)}
    if not state:
        raise KeyError(prefix)
    return state


def _data_digest(samples: Samples) -> str:
    digest = hashlib.blake2b(digest_size=32)
    for sample in samples:
        for part in _parts(sample.feeds):
            digest.update(part)
    return digest.hexdigest()


def _parts(feeds: Mapping[str, np.ndarray]) -> Iterable[bytes]:
    for name, array in sorted(feeds.items()):
        yield f"{name} {array.dtype} {array.shape} ".encode()
        yield np.ascontiguousarray(array).tobytes()
