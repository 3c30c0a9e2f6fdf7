"""Round weights so that the outputs of the layer move least, instead of each weight by itself.

With H the covariance of what the layer reads, storing w as v costs (w - v)^T H (w - v) for each output.
Two methods lower that: weights are rounded one by one, the others taking up the error as far as they still
can (GPTQ: Frantar et al., 2022), and then single weights are moved to the other neighbour as long as one
such step helps (coordinate descent on the objective of AdaRound: Nagel et al., 2020).

Weights are (groups, n, outputs) and integers alike, covariances (groups, n, n), scales (groups, outputs).
A depthwise convolution is a group of one output for each channel, all computed at once.
"""

from __future__ import annotations

import numpy as np

from graphopt.ir import Array

# theory: of the mean variance, as in GPTQ (E. Frantar et al., 2022): what few rows say about covariances is
# only partly true
DAMPING = 0.01
BLOCK = 64  # time: columns that are rounded before the rest is updated
LARGEST_TABLE = 2**23  # memory: rows x outputs of a layer that single steps are looked for in
STEPS = 16  # measured (constants): single steps for each output at most
FRACTIONS = np.linspace(0.4, 1.0, 25)  # of the largest weight, tried as the end of the scale


def nearest(weights: Array, scale: Array, limit: int) -> Array:
    """The integers nearest to the weights."""
    return np.clip(np.rint(weights / scale[:, None, :]), -limit, limit)


def rounding_error(weights: Array, integers: Array, scale: Array, covariance: Array) -> Array:
    """What storing costs each output, (groups, outputs): its variance about the exact one."""
    missing = weights - integers * scale[:, None, :]
    return np.maximum(np.einsum("gno,gno->go", missing, covariance @ missing), 0.0)


def damped(covariance: Array, relative: float = DAMPING) -> Array:
    """A covariance that can be inverted; inputs that never vary get a variance too."""
    diagonal = np.diagonal(covariance, axis1=1, axis2=2)
    level = relative * diagonal.mean(axis=1)
    level = np.where(level > np.finfo(np.float64).tiny ** 0.5, level, 1.0)
    made: Array = covariance + level[:, None, None] * np.eye(covariance.shape[1])
    return made


def second_order(weights: Array, scale: Array, limit: int, covariance: Array) -> Array:
    """Integers for which the outputs move least; never worse than the nearest ones, output by output."""
    plain = nearest(weights, scale, limit)
    rounded = _passed_on(weights, scale, limit, damped(covariance))
    rounded = _best_of(weights, (plain, rounded), scale, covariance)
    return descend(weights, rounded, scale, limit, covariance)


def descend(weights: Array, integers: Array, scale: Array, limit: int, covariance: Array) -> Array:
    """Move single weights by one step as long as that lowers the error; the error never rises."""
    groups, rows, outputs = weights.shape
    if groups * rows * outputs > LARGEST_TABLE:
        return integers
    rounded = integers.copy()
    step = scale[:, None, :]
    own = np.diagonal(covariance, axis1=1, axis2=2)[:, :, None] * np.square(step)  # (groups, n, outputs)
    slope = covariance @ (weights - rounded * step)
    at_group, at_output = np.ogrid[:groups, :outputs]
    for _ in range(min(rows, STEPS)):
        direction = np.sign(slope)
        gain = 2.0 * np.abs(slope) * step - own
        gain[np.abs(rounded + direction) > limit] = -np.inf
        best = gain.argmax(axis=1)  # (groups, outputs)
        helps = gain[at_group, best, at_output] > 0.0
        if not helps.any():
            break
        moved = np.where(helps, direction[at_group, best, at_output], 0.0)
        rounded[at_group, best, at_output] += moved
        columns = covariance.transpose(0, 2, 1)[at_group, best]  # (groups, outputs, n)
        slope -= columns.transpose(0, 2, 1) * (moved * scale)[:, None, :]
    return rounded


def searched_scale(weights: Array, limit: int, covariance: Array, least: Array | float = 0.0) -> Array:
    """The scale of each output with the least error of nearest integers, among fractions of the largest."""
    largest = np.abs(weights).max(axis=1, initial=0.0) / limit
    best = np.maximum(largest, least)
    error = rounding_error(weights, nearest(weights, _safe(best), limit), best, covariance)
    for fraction in FRACTIONS:
        scale = np.maximum(fraction * largest, least)
        tried = rounding_error(weights, nearest(weights, _safe(scale), limit), scale, covariance)
        better = tried < error
        best, error = np.where(better, scale, best), np.where(better, tried, error)
    return best


def fitted_scale(weights: Array, integers: Array, covariance: Array, present: Array) -> Array:
    """The scale with which given integers come closest, by least squares; the present one for zeros."""
    seen = covariance @ integers
    own = np.einsum("gno,gno->go", integers, seen)
    wanted = np.einsum("gno,gno->go", weights, seen)
    usable = (own > 0.0) & (wanted > 0.0)
    return np.where(usable, wanted / np.where(usable, own, 1.0), present)


def _passed_on(weights: Array, scale: Array, limit: int, covariance: Array) -> Array:
    """Round column by column, those of large variance first, and pass each error on to the columns left."""
    order = np.argsort(-np.diagonal(covariance, axis1=1, axis2=2), axis=1, kind="stable")
    left = np.take_along_axis(weights, order[:, :, None], axis=1)
    sorted_ = np.take_along_axis(covariance, order[:, :, None], axis=1)
    sorted_ = np.take_along_axis(sorted_, order[:, None, :], axis=2)
    factor = np.linalg.cholesky(np.linalg.inv(sorted_)).transpose(0, 2, 1)  # upper
    rounded = np.empty_like(left)
    rows = left.shape[1]
    for start in range(0, rows, BLOCK):
        end = min(start + BLOCK, rows)
        errors = np.empty((len(left), end - start, left.shape[2]))
        for j in range(start, end):
            rounded[:, j] = np.clip(np.rint(left[:, j] / scale), -limit, limit)
            error = (left[:, j] - rounded[:, j] * scale) / factor[:, j, j, None]
            left[:, j + 1 : end] -= factor[:, j, j + 1 : end, None] * error[:, None, :]
            errors[:, j - start] = error
        left[:, end:] -= factor[:, start:end, end:].transpose(0, 2, 1) @ errors
    back = np.argsort(order, axis=1)
    return np.take_along_axis(rounded, back[:, :, None], axis=1)


def _best_of(weights: Array, tried: tuple[Array, ...], scale: Array, covariance: Array) -> Array:
    errors = np.stack([rounding_error(weights, integers, scale, covariance) for integers in tried])
    best = errors.argmin(axis=0)[:, None, :]
    return np.select([best == number for number in range(len(tried))], tried)


def _safe(scale: Array) -> Array:
    """Scales that can be divided by."""
    return np.where(scale > 0.0, scale, 1.0)
