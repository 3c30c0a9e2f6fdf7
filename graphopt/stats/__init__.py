"""The streaming calibration engine: statistics of activations in constant memory."""

from graphopt.stats.channels import ChannelMoments
from graphopt.stats.each import SampleRanges
from graphopt.stats.engine import collect
from graphopt.stats.extremes import Range
from graphopt.stats.frontier import Frontier, cuts, walk_cuts
from graphopt.stats.gram import Gram
from graphopt.stats.histogram import Histogram
from graphopt.stats.patches import Patches
from graphopt.stats.spans import ChannelRange
from graphopt.stats.statistic import Factory, State, Statistic
from graphopt.stats.sums import CompensatedSum
from graphopt.stats.thresholds import entropy_range, mse_range, percentile_range

__all__ = [
    "ChannelMoments",
    "ChannelRange",
    "CompensatedSum",
    "Factory",
    "Frontier",
    "Gram",
    "Histogram",
    "Patches",
    "Range",
    "SampleRanges",
    "State",
    "Statistic",
    "collect",
    "cuts",
    "entropy_range",
    "mse_range",
    "percentile_range",
    "walk_cuts",
]
