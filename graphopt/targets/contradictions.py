"""What cannot hold together in a target, found when its file is read."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graphopt.backends import BACKENDS
from graphopt.targets.target import Target
from graphopt.util.text import meant_or_known

CHOICES = {
    "placement": ("inputs", "both"),
    "bias": ("int32", "float32"),
    "checked": ("rules", "run"),
    "tails": ("integer", "float"),
    "residual": ("both", "skip"),
    "form": ("qdq", "float+table", "float"),
    "layout": ("nchw", "nhwc"),
    "sums": ("int32", "int16"),
    "absorbed_nodes": ("keep", "drop"),
}
COMPANIONS = ("ncnn-scales", "litert-calibration")

Wrong = tuple[str, tuple[str, ...]]


def contradiction(target: Target) -> Wrong | None:
    """The first thing that is wrong, with the key that it is about; None when all of it holds together."""
    rules = (_choices, _types, _grids, _operators, _forms, _numbers)
    return next((wrong for rule in rules for wrong in rule(target)), None)


def _choices(target: Target) -> Iterator[Wrong]:
    for key, choices in CHOICES.items():
        value = getattr(target, key)
        if value not in choices:
            yield f"{key} is one of {', '.join(choices)}, not {value!r}", (key,)


def _types(target: Target) -> Iterator[Wrong]:
    for key in ("opset_min", "opset_floor", "ir_min"):
        value = getattr(target, key)
        if not isinstance(value, int) or isinstance(value, bool):
            yield f"{key} is a whole number, not {value!r}", (key,)
    for key in ("half", "slice_steps", "static_shapes", "whole", "walls"):
        if not isinstance(getattr(target, key), bool):
            yield f"{key} is true or false, not {getattr(target, key)!r}", (key,)
    for key in (
        "companions",
        "converter",
        "backends",
        "avoid",
        "stays_float",
        "not_between_pairs",
        "rewrites",
    ):
        value = getattr(target, key)
        if not isinstance(value, tuple) or not all(isinstance(item, str) for item in value):
            yield f"{key} is a list of texts, not {value!r}", (key,)


def _grids(target: Target) -> Iterator[Wrong]:
    for key in ("activation", "weight"):
        grid = getattr(target, key)
        allowed = getattr(target.allowed, f"{key}s")
        try:
            is_integer = np.dtype(grid.dtype).kind in "iu"
        except TypeError:
            is_integer = False
        if not is_integer:
            yield f"dtype of {key} is an integer type, not {grid.dtype!r}", (key, "dtype")
        elif grid.dtype not in allowed:
            listed = ", ".join(allowed)
            yield f"{key} is {grid.dtype}, which allowed {key}s ({listed}) leaves out", (key, "dtype")
    if target.activation.symmetric not in target.allowed.symmetric:
        yield "activation symmetric is not among those allowed", ("activation", "symmetric")
    if target.zero_point is not None and not target.activation.symmetric:
        yield "with a zero_point that is fixed, activations are symmetric", ("zero_point",)


def _operators(target: Target) -> Iterator[Wrong]:
    operators = target.operators
    for key in ("integer", "pass_through", "absorbed"):
        for name in getattr(operators, key):
            if name in target.avoid:
                yield f"{name} is among operators {key}, and avoid leaves it out", ("avoid",)
            if name in target.stays_float:
                yield (
                    f"{name} is among operators {key}, and stays_float says that it is float",
                    ("stays_float",),
                )
    for name in operators.integer:
        if name in operators.pass_through:
            yield f"{name} has scales of its own and passes them through", ("operators", "pass_through")


def _forms(target: Target) -> Iterator[Wrong]:
    for name in target.backends:
        if name not in BACKENDS:
            yield f"there is no backend {name!r}{meant_or_known(name, BACKENDS)}", ("backends",)
    for name in target.companions:
        if name not in COMPANIONS:
            yield f"companions are {', '.join(COMPANIONS)}, not {name!r}", ("companions",)
    if target.form == "float+table" and not target.companions:
        yield "form float+table needs companions, which hold the scales", ("form",)
    if target.form == "float+table":
        if target.placement != "inputs":
            yield "form float+table needs placement inputs: other pairs do work that would be lost", ("form",)
        if target.absorbed_nodes != "keep":
            yield "form float+table needs absorbed_nodes keep: the file holds no pairs that clip", ("form",)


def _numbers(target: Target) -> Iterator[Wrong]:
    opset_max, ir_max = target.opset_max, target.ir_max
    for key, low, high in (
        ("opset_max", max(target.opset_min if target.form == "qdq" else 0, target.opset_floor), opset_max),
        ("ir_max", target.ir_min, ir_max),
    ):
        if high is not None and high < low:
            yield f"{key} is {high}, less than the {low} that it needs", (key,)
    if not target.min_range > 0:
        yield f"min_range is above 0, not {target.min_range!r}", ("min_range",)
    if "default" not in target.channel_block:
        yield "channel_block lacks default", ("channel_block",)
