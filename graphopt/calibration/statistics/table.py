"""The statistics by name: ours, and those that other packages add.

A request holds a name where the defaults of a statistic will do, or a ``StatisticSpec`` with options, such as
``StatisticSpec.of("channel-moments", axis=-1)``.  To add a statistic, write a class with the methods of
``Statistic`` (base.py) and give it an entry in STATISTICS; from a package of its own, name the class in the
entry-point group ``graphopt.statistics``.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from graphopt.calibration.statistics.base import Statistic
from graphopt.calibration.statistics.channel_moments import ChannelMoments
from graphopt.calibration.statistics.channel_range import ChannelRange
from graphopt.calibration.statistics.gram import Gram
from graphopt.calibration.statistics.head_moments import HeadMoments
from graphopt.calibration.statistics.histogram import Histogram
from graphopt.calibration.statistics.range import Range
from graphopt.calibration.statistics.sample_ranges import SampleRanges
from graphopt.errors import UsageError
from graphopt.util.registry import Registry, added

GROUP = "graphopt.statistics"
STATISTICS: dict[str, type] = {
    "channel-moments": ChannelMoments,
    "channel-range": ChannelRange,
    "gram": Gram,
    "head-moments": HeadMoments,
    "histogram": Histogram,
    "range": Range,
    "sample-ranges": SampleRanges,
}


@functools.cache
def statistics() -> Registry:
    """All statistics by name."""
    return Registry(added(GROUP), kind="statistic", built_in=STATISTICS, of=type)


def make_statistic(name: str, options: Mapping[str, Any]) -> Statistic:
    """A new statistic; UsageError for an unknown name or option."""
    kind = statistics().load(name)
    try:
        made: Statistic = kind(**options)
    except TypeError as error:
        raise UsageError(f"the statistic {name} cannot be made with {dict(options)}: {error}") from error
    return made


def name_of(kind: Any) -> str:
    """The name of a class of statistics; UsageError for what is none, such as a function that makes one."""
    for name in statistics().names:
        if statistics().find(name) is kind:
            return name
    raise UsageError(
        f"{kind!r} is not the class of a registered statistic",
        hint='name it, with options if need be: StatisticSpec.of("channel-moments", axis=-1)',
    )
