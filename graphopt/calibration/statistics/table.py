"""The statistics by name: ours, and those that other packages add.

A request holds a name where the defaults of a statistic will do, or anything that makes one, such as
``lambda: ChannelMoments(-1)``.  To add a statistic, write a class with the methods of ``Statistic`` (base.py)
and give it an entry in STATISTICS; from a package of its own, name the class in the entry-point group
``graphopt.statistics``.
"""

from __future__ import annotations

import functools

from graphopt.calibration.statistics.base import Factory, Statistic
from graphopt.calibration.statistics.channel_moments import ChannelMoments
from graphopt.calibration.statistics.channel_range import ChannelRange
from graphopt.calibration.statistics.histogram import Histogram
from graphopt.calibration.statistics.range import Range
from graphopt.calibration.statistics.sample_ranges import SampleRanges
from graphopt.util.registry import Registry, added

GROUP = "graphopt.statistics"
STATISTICS: dict[str, Factory] = {
    "channel-moments": ChannelMoments,
    "channel-range": ChannelRange,
    "histogram": Histogram,
    "range": Range,
    "sample-ranges": SampleRanges,
}


@functools.cache
def statistics() -> Registry:
    """All statistics by name."""
    return Registry(added(GROUP), kind="statistic", built_in=STATISTICS, of=type)


def make_statistic(request: Factory | str) -> Statistic:
    """A new statistic from its name or from what makes it; UsageError for an unknown name."""
    made: Statistic = (statistics().load(request) if isinstance(request, str) else request)()
    return made
