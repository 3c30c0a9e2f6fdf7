"""The keys under which calibration results are kept: hashes of everything they depend on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from graphopt.calibration.request import Request
from graphopt.calibration.shards import content_digest
from graphopt.execution import LEAF, Shared, Workers
from graphopt.execution.store import store_key
from graphopt.runtime import fingerprint, machine
from graphopt.util.files import plain

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Model

_FORMAT = 2  # fixed: raise it when a statistic changes its meaning


def identity_of(model: Model, samples: Samples, request: Request, options: tuple[Any, ...]) -> dict[str, Any]:
    """What results depend on besides the content of samples: model, request, preprocessing, machine.

    How samples become feeds is in it by the first one's feeds.
    """
    recipe = None if samples.preprocess is None else samples.preprocess.as_dict()
    return {
        "format": _FORMAT,
        "model": fingerprint(model),
        "request": request.to_json(),
        "preprocess": plain(recipe),
        "first": _digest(next(iter(samples)).feeds),
        "machine": dict(machine()),
        "options": plain(options),
    }


def part_keys(
    identity: Mapping[str, Any],
    samples: Shared[Samples],
    count: int,
    parts: list[tuple[int, int]],
    workers: Workers,
) -> tuple[str, list[str]]:
    """The key of the whole result, and that of each part; the content of samples is read once, by workers."""
    calls = [(samples, first * LEAF, min((first + size) * LEAF, count)) for first, size in parts]
    digests = dict(workers.map(content_digest, calls))
    ordered = [digests[number] for number in range(len(parts))]
    keys = [store_key(identity, place, digest) for place, digest in zip(parts, ordered, strict=True)]
    return store_key(identity, keys), keys


def _digest(feeds: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.blake2b(digest_size=32)
    for name, array in sorted(feeds.items()):
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
