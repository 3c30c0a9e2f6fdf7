"""One distillation as asked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..graph.select import Choice
from .settings import Settings


@dataclass(frozen=True)
class Request:
    """What to do besides the settings of training."""

    settings: Settings
    choice: Choice = field(default_factory=Choice)
    losses: tuple[str, ...] = ("auto",)
    hints: tuple[str, ...] = ()
    hint_weight: float = 1.0
    sparse: str = "auto"
