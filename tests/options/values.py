"""The values that an option is tried with: other than its default, from its type, choices and bounds."""

from __future__ import annotations

from typing import Any

from graphopt.pipeline.contract.options import Option
from graphopt.pipeline.spec.registry import passes

# What no declaration says: texts.  Layers are those of the subject.
TEXTS: dict[str, tuple[Any, ...]] = {
    "exclude": (("body*",),),
    "include": (("body*",),),
    "keep": (("body1",),),
    "keep_ops": (("Relu",),),
    "ratios": (("body1@0.25",),),
    "pattern": ("2of4",),
    "ranges": ("ranges.json",),
    "tensorrt_cache": ("cache.txt",),
}
NUMBERS: dict[str, tuple[Any, ...]] = {
    "opset": (18,),
    "fold_limit": (0,),
    "percentile": (90.0,),
    "threshold": (0.1,),
    "headroom": (8.0,),
    "steps": (2,),
    "round_to": (3,),
    "min_channels": (5,),
    "rank": (2,),
    "skip_first": (1,),
    "skip_last": (1,),
    "latency": (0.9,),
}


def values(option: Option) -> tuple[Any, ...]:
    """Values other than the default; raises KeyError for a text that nobody has thought of."""
    candidates = _candidates(option)
    return tuple(value for value in candidates if value != option.default)


def _candidates(option: Option) -> tuple[Any, ...]:
    if option.is_list and option.choices:
        return (option.choices[:1], option.choices[-1:])
    if option.name in NUMBERS:
        return NUMBERS[option.name]
    if option.choices:
        return option.choices
    if option.type is bool:
        return (True, False)
    if option.type is str:
        return TEXTS[option.name]
    low = option.minimum if option.minimum is not None else 0.0
    high = option.maximum if option.maximum is not None else 2 * max(low, 1.0)
    middle = (low + high) / 2
    return (int(middle),) if option.type is int else (middle,)


def options(pass_name: str) -> dict[str, tuple[Any, ...]]:
    """Every option of a pass with the values that it is tried with."""
    return {option.name: values(option) for option in passes().load(pass_name).describe()}
