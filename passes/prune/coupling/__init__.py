"""Which channels of a model can only go together, found by following channel ids through the graph.

- ``builder``: The state of a walk through the graph: which channels each tensor carries, and what has to
  follow them.
- ``coupling``: Which channels of a model can only go together, and which have to stay, for one whole model.
- ``facts``: What the coupling has to know about tensors: sizes, and the values of small integer tensors.
- ``group_balance``: Which channels of different blocks go together, where blocks must stay equally wide.
- ``groups``: Cells: channels of equal standing, among which importance alone decides.
- ``heads``: What the walk knows of attention: which product is which, and which axes count heads and their
  channels.
- ``ids``: Channel identities: who is coupled with whom, and who may not go, with the reason.
- ``operators``: Every operator that channels can be followed through: its rule, and how zeros travel.
- ``parameter_axes``: The axes of constants that follow channels, and how they are cut.
- ``rules``: How channel ids travel through each operator.
- ``step``: One step of the walk: apply the rule of a node, then look for what the rule has forgotten.
"""

from graphopt.passes.prune.coupling.builder import CouplingBuilder, Settled, Travel
from graphopt.passes.prune.coupling.step import Operator

__all__ = ["CouplingBuilder", "Operator", "Settled", "Travel"]
