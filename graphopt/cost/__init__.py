"""What models cost: nodes, parameters, multiply-accumulates and time, in total and by layer.

- ``latency``: What has to be measured: the time of layers on this machine, kept in a table, and models of it.
- ``static``: What can be counted: multiply-accumulates, parameters, bytes.
"""

from graphopt.cost.latency.device import BackendDevice, CommandDevice, Device
from graphopt.cost.latency.layer_shape import LayerShape
from graphopt.cost.latency.predict import predict
from graphopt.cost.latency.ratios import Ratios
from graphopt.cost.latency.roofline import Peaks, moved_bytes, peaks
from graphopt.cost.latency.surface import LatencySurface, latency_surfaces
from graphopt.cost.latency.table import LatencyTable
from graphopt.cost.static.layers import Layer, layers
from graphopt.cost.static.totals import Cost, measure

__all__ = [
    "BackendDevice",
    "CommandDevice",
    "Cost",
    "Device",
    "LatencySurface",
    "LatencyTable",
    "Layer",
    "LayerShape",
    "Peaks",
    "Ratios",
    "latency_surfaces",
    "layers",
    "measure",
    "moved_bytes",
    "peaks",
    "predict",
]
