"""What is to be measured of a model's tensors, as plain values, and what was measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graphopt.calibration.packing import pack, unpack
from graphopt.calibration.statistics.base import Statistic
from graphopt.calibration.statistics.patches import Patches
from graphopt.calibration.statistics.table import make_statistic, name_of
from graphopt.errors import DataError, OutputError
from graphopt.util.files import replacing

Value = int | float | str | bool | None | Patches
_PATCHES = "patches"


@dataclass(frozen=True)
class StatisticSpec:
    """A registered statistic with the options to make it with: plain values, which travel and are hashed."""

    name: str
    options: tuple[tuple[str, Value], ...] = ()

    @classmethod
    def of(cls, name: str, **options: Value) -> StatisticSpec:
        """For example ``StatisticSpec.of("channel-moments", axis=-1)``."""
        return cls(name, tuple(sorted(options.items())))

    def make(self) -> Statistic:
        """A new statistic; UsageError for an unknown name."""
        return make_statistic(self.name, dict(self.options))

    def to_json(self) -> dict[str, Any]:
        """The spec as plain values."""
        options = {
            name: dataclasses.asdict(value) if isinstance(value, Patches) else value
            for name, value in self.options
        }
        return {"name": self.name, "options": options}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> StatisticSpec:
        """The spec from what ``to_json`` returned."""
        options = dict(document["options"])
        if isinstance(options.get(_PATCHES), Mapping):
            fields: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value
                for name, value in options[_PATCHES].items()
            }
            options[_PATCHES] = Patches(**fields)
        return cls.of(str(document["name"]), **options)


Wanted = Mapping[str, Sequence["StatisticSpec | str | type"]]
"""Statistics by tensor: a spec, or a name or class of the table where its defaults will do."""


@dataclass(frozen=True)
class Request:
    """Which statistics of which tensors a pass needs.

    It serialises, so that any process can collect it over any part of the samples (``graphopt.calibration.
    collect``); what was collected over two parts adds up.
    """

    tensors: tuple[tuple[str, tuple[StatisticSpec, ...]], ...]

    @classmethod
    def of(cls, wanted: Wanted | Request) -> Request:
        """The request for statistics by tensor, in that order; UsageError for an unknown statistic."""
        if isinstance(wanted, Request):
            return wanted
        return cls(tuple((name, tuple(map(_spec, specs))) for name, specs in wanted.items()))

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors."""
        return tuple(name for name, _ in self.tensors)

    @property
    def is_heavy(self) -> bool:
        """Whether matrices are in it, which take longer to send than to add up."""
        return any(spec.name == "gram" for _, specs in self.tensors for spec in specs)

    def part(self, names: Sequence[str]) -> Request:
        """The request for some of its tensors."""
        specs = dict(self.tensors)
        return Request(tuple((name, specs[name]) for name in names))

    def start(self) -> Collected:
        """What was collected before the first sample."""
        return Collected(self, {name: [spec.make() for spec in specs] for name, specs in self.tensors})

    def to_json(self) -> list[Any]:
        """The request as plain values."""
        return [[name, [spec.to_json() for spec in specs]] for name, specs in self.tensors]

    @classmethod
    def from_json(cls, document: Sequence[Any]) -> Request:
        """The request from what ``to_json`` returned."""
        return cls(tuple((str(name), tuple(map(StatisticSpec.from_json, specs))) for name, specs in document))


class Collected:
    """The statistics of a request over some samples."""

    def __init__(self, request: Request, statistics: dict[str, list[Any]]) -> None:
        self.request = request
        self.statistics = statistics

    def update(self, name: str, values: np.ndarray) -> None:
        """Take in a tensor of one sample; DataError that names the tensor when it does not fit."""
        for statistic in self.statistics[name]:
            try:
                statistic.update(values)
            except DataError as error:
                raise DataError(f"the tensor {name} {error}", hint=error.hint) from error

    def merge(self, other: Collected) -> Collected:
        """What was collected over the samples of both."""
        if self.request != other.request:
            raise ValueError("what was collected for different requests does not add up")
        pairs = {
            name: [one.merge(two) for one, two in zip(of, other.statistics[name], strict=True)]
            for name, of in self.statistics.items()
        }
        return Collected(self.request, pairs)

    def to_bytes(self) -> bytes:
        """All numbers, exactly."""
        return pack([statistic.state() for of in self.statistics.values() for statistic in of])

    @classmethod
    def from_bytes(cls, request: Request, content: bytes) -> Collected:
        """What ``to_bytes`` wrote for this request; ValueError for anything else."""
        collected, states = request.start(), unpack(content)
        every = [statistic for of in collected.statistics.values() for statistic in of]
        if len(every) != len(states):
            raise ValueError("these statistics belong to another request")
        for statistic, state in zip(every, states, strict=True):
            statistic.restore(state)
        return collected

    def save(self, path: Path) -> None:
        """Write it to a file that appears complete or not at all; OutputError when that fails."""
        try:
            with replacing(path) as draft:
                draft.write_bytes(self.to_bytes())
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error

    @classmethod
    def load(cls, request: Request, path: Path) -> Collected:
        """Read what ``save`` wrote; DataError for what cannot be read or belongs to another request."""
        try:
            return cls.from_bytes(request, path.read_bytes())
        except (OSError, ValueError, KeyError) as error:
            raise DataError(
                f"{path} holds no statistics for this request: {error}", hint="collect them anew"
            ) from error


def _spec(wanted: StatisticSpec | str | type) -> StatisticSpec:
    if isinstance(wanted, StatisticSpec):
        return wanted
    return StatisticSpec(wanted if isinstance(wanted, str) else name_of(wanted))
