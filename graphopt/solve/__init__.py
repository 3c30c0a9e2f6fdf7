"""The mathematics that passes share: least squares, low rank, leaving inputs out, spending a budget."""

from graphopt.solve.allocate import Curve, Slopes, Spending, Use, fill, spend
from graphopt.solve.amounts import STEPS, amount_at
from graphopt.solve.elimination import Elimination, removal_curve
from graphopt.solve.holdout import Unjudged, judges
from graphopt.solve.least_squares import Fit, damping, fit, shrunk, squared_error
from graphopt.solve.limits import SAMPLES, gram_bytes, has_affordable_gram
from graphopt.solve.polyadic import canonical, khatri_rao
from graphopt.solve.reach import Reached, reach
from graphopt.solve.reconstruct import Aim
from graphopt.solve.splitting import Reduction, Splitting
from graphopt.solve.whiten import (
    Inputs,
    Responses,
    lower_factor,
    response_svd,
    solve_lower,
    solve_upper,
    whitened_svd,
)

__all__ = [
    "SAMPLES",
    "STEPS",
    "Aim",
    "Curve",
    "Elimination",
    "Fit",
    "Inputs",
    "Reached",
    "Reduction",
    "Responses",
    "Slopes",
    "Spending",
    "Splitting",
    "Unjudged",
    "Use",
    "amount_at",
    "canonical",
    "damping",
    "fill",
    "fit",
    "gram_bytes",
    "has_affordable_gram",
    "judges",
    "khatri_rao",
    "lower_factor",
    "reach",
    "removal_curve",
    "response_svd",
    "shrunk",
    "solve_lower",
    "solve_upper",
    "spend",
    "squared_error",
    "whitened_svd",
]
