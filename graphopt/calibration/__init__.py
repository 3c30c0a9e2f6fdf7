"""The streaming calibration engine: statistics of activations in constant memory.

- ``cache``: Keep calibration results on disk, keyed by everything they depend on.
- ``checkpoint``: Walk through a network once while its layers are changed one by one: activations are kept at
  a cut.
- ``collector``: Run a model over samples and reduce the activations of chosen tensors on the way.
- ``fused_extremes``: The largest value of each channel, found within the run.
- ``statistics``: Statistics of activations: mergeable, and the same for every order of the samples; one a
  file.
- ``tensor_groups``: Split the wanted tensors into groups whose activations fit a memory budget.
"""

from graphopt.calibration.checkpoint import ActivationCheckpoint, cuts, walk_cuts
from graphopt.calibration.collector import collect
from graphopt.calibration.statistics.base import Factory, State, Statistic
from graphopt.calibration.statistics.channel_moments import ChannelMoments
from graphopt.calibration.statistics.channel_range import ChannelRange
from graphopt.calibration.statistics.gram import Gram
from graphopt.calibration.statistics.histogram import Histogram
from graphopt.calibration.statistics.patches import Patches
from graphopt.calibration.statistics.range import Range
from graphopt.calibration.statistics.sample_ranges import SampleRanges
from graphopt.calibration.statistics.sums import CompensatedSum

__all__ = [
    "ActivationCheckpoint",
    "ChannelMoments",
    "ChannelRange",
    "CompensatedSum",
    "Factory",
    "Gram",
    "Histogram",
    "Patches",
    "Range",
    "SampleRanges",
    "State",
    "Statistic",
    "collect",
    "cuts",
    "walk_cuts",
]
