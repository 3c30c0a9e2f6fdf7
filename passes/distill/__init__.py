"""Distillation: `distill` trains a changed model towards its original, in an environment of its own.

In the order of a run: spec -> prepare (fixed, select, rewrites, fake_quant, masks) -> samples, terms, losses
-> feeds -> backends (worker) -> write_back -> judge.
"""

from graphopt.passes.distill.api import distill
from graphopt.passes.distill.distill import Distill

__all__ = ["Distill", "distill"]
