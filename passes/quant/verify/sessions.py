"""How quantized models are run while decisions are made about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from graphopt.targets.host import host_isa, host_sums, runs_here

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.pipeline import Context
    from graphopt.runtime import Session

WITHOUT_INTEGER_KERNELS = "basic"  # the level of optimization at which pairs stay pairs


def open_stored(model: Model, outputs: Iterable[str] | None, ctx: Context) -> Session:
    """A session of a quantized model.

    For another target it computes in floats between the pairs, as the file says: the integer kernels of this
    machine, which may saturate, say nothing about that target.
    """
    options: dict[str, Any] = {} if runs_here(ctx.target) else {"optimization": WITHOUT_INTEGER_KERNELS}
    return ctx.session(model, outputs=None if outputs is None else list(outputs), **options)


def assumptions(reduce_range: str, ctx: Context) -> dict[str, str]:
    """What is assumed of the processor that will run the result; nothing for a target that is elsewhere."""
    if not runs_here(ctx.target) or reduce_range != "auto":
        return {}
    return {"isa": host_isa(ctx.target), "sums": host_sums(ctx.target)}


def in_words(assumed: Mapping[str, str]) -> str:
    """What assumptions made of the weights; empty when they made nothing of them."""
    if assumed.get("sums") != "int16":
        return ""
    return f"weights are kept small where sums in 16 bits would saturate, as on this {assumed['isa']}"
