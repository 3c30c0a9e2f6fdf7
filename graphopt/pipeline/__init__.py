"""Passes, the specs that name them, and the manager that runs and checks them.

- ``contract``: What a pass is, what it may use, and what it writes down.
- ``results``: What a run achieved: the result measured against the original, in total and layer by layer.
- ``run``: The loop of a run, from the request to the written file.
- ``search``: How far a pass may go: the degradation that a change of the model brings, and trials within a
  budget.
- ``spec``: What a run is asked for: specs, recipes, requests, and the passes that exist.
- ``verify``: Checks that a model still is what its passes promised.
"""

from graphopt.pipeline.contract.base import Contract, Pass, Plan, PlannedPass, Trial
from graphopt.pipeline.contract.context import Context
from graphopt.pipeline.contract.options import option

__all__ = ["Context", "Contract", "Pass", "Plan", "PlannedPass", "Trial", "option"]
