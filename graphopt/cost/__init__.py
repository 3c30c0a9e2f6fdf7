"""What models cost: nodes, parameters, multiply-accumulates and time, in total and by layer."""

from graphopt.cost.layer_shape import LayerShape
from graphopt.cost.layers import Layer, layers
from graphopt.cost.measure import Cost, measure
from graphopt.cost.predict import predict
from graphopt.cost.staircase import Staircase, staircases
from graphopt.cost.table import LatencyTable, user_cache

__all__ = [
    "Cost",
    "LatencyTable",
    "Layer",
    "LayerShape",
    "Staircase",
    "layers",
    "measure",
    "predict",
    "staircases",
    "user_cache",
]
