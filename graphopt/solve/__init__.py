"""The mathematics that passes share: least squares, leaving inputs out, spending a budget.

- ``allocation``: Spend a budget over groups so that all pay the same price for the last unit saved.
- ``amounts``: The steps of a search for how much a model can lose: where nobody says, trials find out.
- ``budget_search``: Reach a goal that can only be measured, such as a network's time, with plans made by
  prediction.
- ``elimination``: What it costs to leave inputs of a least-squares problem out: Optimal Brain Surgeon on
  whole blocks.
- ``holdout``: Which calibration samples only judge a fit, and what is said where none could.
- ``layer_regression``: Fit one layer of a changed network to what the original computed: what to aim at, and
  what decides.
- ``layerwise_fit``: The layer-wise fit of every pass: layer after layer of a changed network, to what the
  original computed.
- ``least_squares``: Damped least squares from sums of products, for many small problems at once.
- ``limits``: How much of a layer is looked at to fit it: one answer for every pass that fits layers.
"""

from graphopt.solve.allocation import Curve, Slopes, Spending, Use, fill, spend
from graphopt.solve.amounts import STEPS, amount_at
from graphopt.solve.budget_search import BudgetSearch, search_budget
from graphopt.solve.elimination import Elimination, removal_curve
from graphopt.solve.holdout import Judging, Unjudged, judges
from graphopt.solve.layer_regression import LayerRegression
from graphopt.solve.layerwise_fit import Judged, LayerwiseFit
from graphopt.solve.least_squares import Fit, damping, fit, shrunk, squared_error
from graphopt.solve.limits import SAMPLES, gram_bytes, has_affordable_gram

__all__ = [
    "SAMPLES",
    "STEPS",
    "BudgetSearch",
    "Curve",
    "Elimination",
    "Fit",
    "Judged",
    "Judging",
    "LayerRegression",
    "LayerwiseFit",
    "Slopes",
    "Spending",
    "Unjudged",
    "Use",
    "amount_at",
    "damping",
    "fill",
    "fit",
    "gram_bytes",
    "has_affordable_gram",
    "judges",
    "removal_curve",
    "search_budget",
    "shrunk",
    "spend",
    "squared_error",
]
