"""The mathematics that passes share: least squares, what leaving inputs out costs, and spending a budget."""

from graphopt.solve.allocate import Curve, Spending, spend
from graphopt.solve.elimination import Elimination, removal_curve
from graphopt.solve.least_squares import damping, fit, squared_error

__all__ = [
    "Curve",
    "Elimination",
    "Spending",
    "damping",
    "fit",
    "removal_curve",
    "spend",
    "squared_error",
]
