"""What this machine's processor decides: nothing, unless the result is meant to run here.

A file for another target, ``generic`` among them, is the same whichever machine makes it.  Passes ask here
instead of ``runtime.machine``, and say in the report what they assumed.
"""

from __future__ import annotations

from graphopt import runtime
from graphopt.targets.target import Target

RUN_HERE = "onnxruntime"  # the runtime that can be asked here what it makes of a model


def runs_here(target: Target) -> bool:
    """Whether results for the target will run on this machine's kind of kernels."""
    return target.runtime == RUN_HERE


def host_isa(target: Target) -> str:
    """The instruction set that will run the result, as ``runtime.machine`` names it; empty when unknown."""
    return runtime.machine()["isa"] if runs_here(target) else ""


def host_sums(target: Target) -> str:
    """The integers in which products are added in pairs (``runtime.pair_sums``) where the result will run."""
    return runtime.pair_sums(host_isa(target)) if runs_here(target) else target.sums


def channel_block(target: Target) -> int:
    """Channels per block where the result will run; the target's default for a processor it does not know."""
    return target.block(host_isa(target))


def block_assumption(target: Target) -> dict[str, str | int]:
    """What is assumed of the processor by whoever rounds to ``channel_block``; nothing for other targets.

    For the report: ``isa`` and ``channel_block``.
    """
    isa = host_isa(target)
    return {"isa": isa, "channel_block": target.block(isa)} if isa else {}


def block_in_words(target: Target) -> str:
    """What that made of widths; empty when they are what any processor gets."""
    block = channel_block(target)
    if block == target.block(""):
        return ""
    return f"widths are multiples of {block} channels, as for this {host_isa(target)}"
