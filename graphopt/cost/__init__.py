"""What models cost: nodes, parameters, multiply-accumulates and time, in total and by layer."""

from graphopt.cost.layer_shape import LayerShape
from graphopt.cost.layers import Layer, layers
from graphopt.cost.measure import Cost, measure
from graphopt.cost.predict import predict
from graphopt.cost.ratios import Ratios
from graphopt.cost.roofline import Peaks, moved_bytes, peaks
from graphopt.cost.staircase import Staircase, staircases
from graphopt.cost.table import LatencyTable, user_cache

__all__ = [
    "Cost",
    "LatencyTable",
    "Layer",
    "LayerShape",
    "Peaks",
    "Ratios",
    "Staircase",
    "layers",
    "measure",
    "moved_bytes",
    "peaks",
    "predict",
    "staircases",
    "user_cache",
]
