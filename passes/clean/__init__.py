"""Everything in a graph that computes nothing, or the same thing twice, or a thing known beforehand."""

from graphopt.passes.clean.clean import Clean

__all__ = ["Clean"]
