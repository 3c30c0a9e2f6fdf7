"""What can be asked of ``prune``."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, ClassVar

from graphopt.errors import UsageError
from graphopt.pipeline import Contract, PlannedPass, option
from graphopt.pipeline.contract.selection import Selection

from .importance.criteria import NORMALISERS, REDUCTIONS, criteria
from .scope import Scope

if TYPE_CHECKING:
    from typing_extensions import Self

GOALS = ("ratio", "macs", "params", "bytes", "latency")
IMPORTANCE = ("auto", "obs", *criteria().names)
RANKINGS = ("global", "layer")
UNITS = ("ranks", "heads", "none")
MAX_DROP = 1.0  # fixed: points that may be lost when nothing is said


@dataclass(frozen=True)
class Options(PlannedPass):
    """The options of ``prune``, and what follows from them alone."""

    name: ClassVar[str] = "prune"
    contract: ClassVar[Contract] = Contract.APPROXIMATE
    careful: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("clean", "fold-bn:lone=true")

    ratio: float | None = option(
        None, "fraction of the channels to remove from each group", minimum=0, maximum=0.99
    )
    macs: float | None = option(
        None, "fraction of the multiply-accumulates to leave", minimum=0.01, maximum=1
    )
    params: float | None = option(None, "fraction of the parameters to leave", minimum=0.01, maximum=1)
    bytes: float | None = option(None, "fraction of the weight bytes to leave", minimum=0.01, maximum=1)
    latency: float | None = option(
        None, "fraction of the time to leave, as measured on this machine", minimum=0.01, maximum=1
    )
    max_drop: float | None = option(
        None,
        f"points that pruning may cost when no goal is given; none: {MAX_DROP:g}, or what the run's budget "
        "for all its passes leaves",
        minimum=0,
        maximum=100,
    )
    ratios: tuple[str, ...] = option(
        (),
        "fractions to remove from certain layers whatever the goal, such as conv1*@0.3",
    )
    max_ratio: float = option(
        1.0, "fraction of the channels that any group may lose at most", minimum=0, maximum=1
    )
    round_to: int | None = option(
        None, "keep multiples of this many channels; none: the block of the target", minimum=1
    )
    min_channels: int = option(1, "keep at least this many channels of each group", minimum=1)
    importance: str = option(
        "auto",
        "what makes a channel important: obs, what consumers lose without it; l1, l2 or fpgm, its filters; "
        "bn, the scale of its normalisation; energy or variance, what it carries; random; auto, obs where "
        "there are samples to go by, else l2",
        choices=IMPORTANCE,
    )
    reduction: str = option(
        "mean", "how the scores of coupled layers become one; not for obs, which adds up", choices=REDUCTIONS
    )
    normaliser: str = option(
        "mean", "what the scores of a layer are divided by; not for obs", choices=tuple(NORMALISERS)
    )
    ranking: str = option(
        "global",
        "where channels compete: global, all groups at one price; layer, every group loses the same fraction",
        choices=RANKINGS,
    )
    steps: int = option(
        1, "reach the goal in this many steps; each scores, prunes and repairs", minimum=1, maximum=100
    )
    repair: bool = option(True, "fit the remaining weights to the calibration samples, layer by layer")
    attention: str = option(
        "ranks",
        "what attention may lose: ranks, dimensions of its heads, after a change of basis that sorts them; "
        "heads, whole heads; none",
        choices=UNITS,
    )
    exclude: tuple[str, ...] = option((), "layers to leave alone: names with * and ?, or operator types")
    include: tuple[str, ...] = option((), "the only layers to prune: names with * and ?, or operator types")
    skip_first: int = option(0, "leave this many layers at the beginning alone", minimum=0)
    skip_last: int = option(0, "leave this many layers at the end alone", minimum=0)
    allow_inexact: bool = option(
        False,
        "also separate channels that one normalisation spans, as LayerNormalization does: what stays changes",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [goal for goal in GOALS if getattr(self, goal) is not None]
        if len(given) > 1:
            raise UsageError(
                f"prune takes one goal, not {' and '.join(given)}", hint=f"give one of {', '.join(GOALS)}"
            )
        self._refuse_unheard()
        _ = self.scope  # a wrong ratio is reported at once

    def _refuse_unheard(self) -> None:
        """Refuse options that others leave without effect."""
        defaults = {field.name: field.default for field in fields(self)}
        if self.goal and self.max_drop != defaults["max_drop"]:
            raise UsageError(
                f"prune: max_drop decides how far to go, and so does {self.goal}", hint="give one of the two"
            )
        if self.steps > 1 and not self.goal:
            raise UsageError(
                "prune: steps needs a goal to reach",
                hint=f"give one of {', '.join(GOALS)}, or leave steps out",
            )
        if self.steps > 1 and not self.repair:
            raise UsageError(
                "prune: steps needs repair, which each step ends with", hint="leave one of them out"
            )
        for name in ("reduction", "normaliser"):
            if self.importance == "obs" and getattr(self, name) != defaults[name]:
                raise UsageError(
                    f"prune: {name} is for scores of filters, and importance=obs has none",
                    hint="give another importance, such as l2",
                )

    @property
    def goal(self) -> str:
        """The goal that was given, or nothing."""
        return next((goal for goal in GOALS if getattr(self, goal) is not None), "")

    @property
    def has_goal(self) -> bool:
        """Whether it says itself how far to go, in a goal or in points."""
        return bool(self.goal) or self.max_drop is not None

    @property
    def scope(self) -> Scope:
        """Which layers may be pruned, and how far."""
        selection = Selection(self.include, self.exclude, self.skip_first, self.skip_last)
        return Scope.parse(selection, self.ratios, self.max_ratio)

    def at_step(self, step: int, steps: int) -> Self:
        """The pass with the share of its goal that falls to one of ``steps`` equal cuts.

        Each leaves the same fraction of what the one before left.
        """
        if steps == 1:
            return self
        if self.goal == "ratio":
            return replace(self, ratio=1.0 - (1.0 - float(self.ratio or 0.0)) ** (1.0 / steps))
        if self.goal:
            return replace(self, **{self.goal: float(getattr(self, self.goal)) ** (1.0 / steps)})
        return replace(self, max_drop=(MAX_DROP if self.max_drop is None else self.max_drop) / steps)
