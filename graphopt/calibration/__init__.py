"""The streaming calibration engine: statistics of activations in constant memory.

- ``cache``: The keys under which calibration results are kept: hashes of everything they depend on.
- ``checkpoint``: Walk through a network once while its layers are changed one by one: activations are kept at
  a cut.
- ``collector``: Run a model over samples and reduce the activations of chosen tensors on the way.
- ``fused_extremes``: The largest value of each channel, found within the run.
- ``packing``: Arrays as bytes and back: what statistics are written to and travel as; nothing of it is
  executed.
- ``request``: What is to be measured of a model's tensors, as plain values, and what was measured.
- ``shards``: Collect a request over a part of the samples: what one worker does.
- ``statistics``: Statistics of activations: mergeable, and the same for every order of the samples; one a
  file.
- ``tensor_groups``: Split the wanted tensors into groups whose activations fit a memory budget.
"""

from graphopt.calibration.checkpoint import ActivationCheckpoint, cuts, walk_cuts
from graphopt.calibration.collector import collect
from graphopt.calibration.request import Collected, Request, StatisticSpec
from graphopt.calibration.statistics.base import State, Statistic
from graphopt.calibration.statistics.channel_moments import ChannelMoments
from graphopt.calibration.statistics.channel_range import ChannelRange
from graphopt.calibration.statistics.gram import Gram
from graphopt.calibration.statistics.head_moments import HeadMoments
from graphopt.calibration.statistics.histogram import Histogram
from graphopt.calibration.statistics.patches import Patches
from graphopt.calibration.statistics.range import Range
from graphopt.calibration.statistics.sample_ranges import SampleRanges
from graphopt.calibration.statistics.sums import CompensatedSum

__all__ = [
    "ActivationCheckpoint",
    "ChannelMoments",
    "ChannelRange",
    "Collected",
    "CompensatedSum",
    "Gram",
    "HeadMoments",
    "Histogram",
    "Patches",
    "Range",
    "Request",
    "SampleRanges",
    "State",
    "Statistic",
    "StatisticSpec",
    "collect",
    "cuts",
    "walk_cuts",
]
