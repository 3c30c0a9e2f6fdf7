"""Passes, the specs that name them, and the manager that runs and checks them."""

from graphopt.pipeline.base import Contract, Pass, Plan, PlannedPass, Trial
from graphopt.pipeline.context import Context
from graphopt.pipeline.options import option

__all__ = ["Context", "Contract", "Pass", "Plan", "PlannedPass", "Trial", "option"]
