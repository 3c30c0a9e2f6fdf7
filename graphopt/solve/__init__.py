"""The mathematics that passes share: least squares, what leaving inputs out costs, and spending a budget."""

from graphopt.solve.allocate import Curve, Slopes, Spending, Use, fill, spend
from graphopt.solve.elimination import Elimination, removal_curve
from graphopt.solve.least_squares import damping, fit, shrunk, squared_error

__all__ = [
    "Curve",
    "Elimination",
    "Slopes",
    "Spending",
    "Use",
    "damping",
    "fill",
    "fit",
    "removal_curve",
    "shrunk",
    "spend",
    "squared_error",
]
