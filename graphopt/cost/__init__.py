"""What models cost: nodes, parameters and multiply-accumulates, in total and by layer."""

from graphopt.cost.layers import Layer, layers
from graphopt.cost.measure import Cost, measure

__all__ = ["Cost", "Layer", "layers", "measure"]
