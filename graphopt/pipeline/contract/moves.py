"""Moves: what a planned pass can do to single parts of a model, what each saves and what it costs.

A pass *offers* moves and a search over all passes of a run chooses among them, so that the last unit saved
costs the same in every pass.  Moves of one ``item`` exclude each other: a group of channels becomes 32 or 48
wide, not both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

GOALS = ("latency", "macs", "bytes", "params")  # what a run may save, and a move says that it saves


@dataclass(frozen=True)
class Effect:
    """What a move does to one layer, which is named by its first output.

    ``inputs`` and ``outputs`` are how many channels go on either side, ``kernel`` is the element type that it
    then computes in (``int8``; nothing: as it is), ``share`` what other changes leave of its work and
    weights, and ``integer_share`` the same where it computes in 8 bits (None: ``share``), whose time may
    shrink less.
    From effects the engine prices a move, and several moves that meet in a layer: widths multiply, and a
    layer in 8 bits saves less once it is narrower.
    """

    layer: str
    inputs: int = 0
    outputs: int = 0
    kernel: str = ""
    share: float = 1.0
    integer_share: float | None = None


@dataclass(frozen=True)
class Saving:
    """What a move saves alone, as fractions of the whole model; ``latency`` None where not measured."""

    macs: float = 0.0
    params: float = 0.0
    bytes: float = 0.0
    latency: float | None = None


@dataclass(frozen=True)
class Move:
    """One thing that a pass can do.

    ``item`` names what is changed, ``unit`` says what that is (group, layer, pair), ``level`` how much of it
    is left: channels, ranks or bits as a fraction.  ``degradation`` is the predicted share of the output's
    variance that turns into noise, at the layers that read what is changed.  A pass that cannot say what
    happens in layers leaves ``effects`` empty and states the ``saving`` itself; savings then add up.
    """

    item: str
    unit: str
    level: float
    degradation: float
    effects: tuple[Effect, ...] = ()
    saving: Saving = Saving()
    what: Any = None  # for the pass that offered it
