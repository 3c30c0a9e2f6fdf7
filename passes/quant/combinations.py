"""Options that say nothing together: refused, so that nobody believes that both were heard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphopt.errors import UsageError

# For each option of static quantization the values that ask for nothing, which every mode honours.
STATIC: Mapping[str, tuple[Any, ...]] = {
    "calibrator": (),
    "activations": (None,),
    "symmetric": (None,),
    "weight_bits": (8,),
    "rounding": ("nearest",),
    "bias_correction": (False,),
    "refit": (None, False),
    "equalise": ("none",),
    "absorb": (False,),
    "keep_noisy_float": (False,),
    "ranges": (None,),
    "tensorrt_cache": (None,),
    "max_drop": (None,),
    "measure": (False,),
}
WEIGHTS = ("bits", "block")


def refuse_unheard(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Raise UsageError for an option that asks for what the mode, or the calibrator, does not do."""
    mode = options["mode"]

    def asks(name: str, *nothing: Any) -> bool:
        return options[name] != defaults[name] and options[name] not in nothing

    unheard = [] if mode == "static" else [name for name, nothing in STATIC.items() if asks(name, *nothing)]
    if mode != "weights":
        unheard += [name for name in WEIGHTS if asks(name)]
    else:
        unheard += [name for name in ("per_channel",) if asks(name)]
        unheard += ["reduce_range"] if asks("reduce_range", "none") else []
    if unheard:
        name = unheard[0]
        raise UsageError(
            f"quant: {name}={_text(options[name])} has no effect with mode={mode}",
            hint=f"leave {name} out, or choose mode={'weights' if name in WEIGHTS else 'static'}",
        )
    if asks("percentile") and options["calibrator"] != "percentile":
        method = options["calibrator"]
        raise UsageError(
            f"quant: percentile={options['percentile']:g} has no effect with calibrator={method}",
            hint="add calibrator=percentile, or leave percentile out",
        )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
