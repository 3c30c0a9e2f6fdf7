"""From hardly a loss to the most that may be lost: trials along the whole range, for a front to choose from.

The moves, the multiplier and the trials are those of a search for one budget, and each trial makes the
prediction of the next ones better.  A sweep is anytime, and deterministic by seed apart from where the clock
ends it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from graphopt.pipeline.search.attempts import Attempts
from graphopt.pipeline.search.market import Choice, Market
from graphopt.pipeline.search.trials import OutOfTimeError, Tried

TRIES = 2  # time: trials at most for each point of the front that is wanted
ALONE = (0.125, 0.5, 1.0)  # time: shares of the most that may be lost, at which each pass is tried alone
NARROW = 0.02  # noise: of what is left, between two neighbours; what lies between them is the same model
WIDEST = 32.0  # time: the most that may be lost, as a multiple of the least that is aimed at


@dataclass(frozen=True)
class Swept:
    """A choice, the points that it was expected to lose before it was tried, and what it came to."""

    choice: Choice
    expected: float
    tried: Tried

    @property
    def is_worth_a_point(self) -> bool:
        """Whether its answers are numbers, and the input, which leaves all and loses none, is no better."""
        points = self.tried.loss.points
        return math.isfinite(points) and (self.tried.left < 1.0 or points < 0.0)


@dataclass(frozen=True)
class Sweep:
    """All that was tried, in order, those with moves of one pass alone by pass, and why it ended early."""

    all: tuple[Swept, ...]
    alone: dict[str, tuple[Swept, ...]]
    ended: str = ""

    @property
    def front(self) -> tuple[Swept, ...]:
        """What no other trial beats, that which leaves least first.

        Trials are compared by the noise of what is judged by: a hundred samples tell noise apart well, and
        points only where several answers changed.
        """
        worth = (one for one in self.all if one.is_worth_a_point)
        ordered = sorted(worth, key=lambda one: (one.tried.left, one.tried.loss.noise))
        front: list[Swept] = []
        for one in ordered:
            if not front or one.tried.loss.noise < front[-1].tried.loss.noise:
                front.append(one)
        return tuple(front)


class Sweeper:
    """Tries choices that are expected to lose from hardly anything to ``most`` points."""

    def __init__(self, attempts: Attempts, points: int, most: float) -> None:
        self._attempts, self._market = attempts, attempts.market
        self._points, self._most = points, most
        self._swept: dict[Choice, Swept] = {}
        self._alone: dict[str, tuple[Swept, ...]] = {}

    def sweep(self) -> Sweep:
        """Try; what was tried by then where the time or the user ends it."""
        ended = ""
        try:
            self._try_alone()  # first, since it teaches what each pass costs
            for points in self._levels():
                self._try(self._within(points, self._market))
            self._fill_gaps()
        except OutOfTimeError:
            ended = "the time limit ended the search"
        except KeyboardInterrupt:
            ended = "the search was interrupted"
        return Sweep(tuple(self._swept.values()), self._alone, ended)

    def _levels(self) -> Iterator[float]:
        """The points to aim at, evenly on a logarithmic scale: from the middle outwards, as each teaches."""
        count = max(self._points, 2)
        ladder = [self._most * WIDEST ** (index / (count - 1) - 1.0) for index in range(count)]
        yield from sorted(ladder, key=lambda level: abs(math.log(level / ladder[count // 2])))

    def _within(self, points: float, market: Market) -> Choice:
        """The choice of least use that is expected to lose no more than these points."""
        prediction = self._attempts.prediction
        return market.within_degradation(prediction.noise_for(points), prediction.weights)

    def _try(self, choice: Choice) -> Swept | None:
        """Try what is new and moves something; None for what moves nothing."""
        if choice == self._market.nothing:
            return None
        if choice not in self._swept:
            expected = self._attempts.prediction.points(self._market.degradation(choice))
            self._swept[choice] = Swept(choice, expected, self._attempts.carry_out(choice))
        return self._swept[choice]

    def _try_alone(self) -> None:
        """The moves of each pass without those of the others, at a few levels."""
        if len(self._attempts.passes) < 2:
            return
        for owner, name in enumerate(self._attempts.passes):
            choices = [self._within(share * self._most, self._market.only(owner)) for share in ALONE]
            swept = [one for choice in dict.fromkeys(choices) if (one := self._try(choice)) is not None]
            self._alone[name] = tuple(swept)

    def _fill_gaps(self) -> None:
        """Try between the two neighbours that lie farthest apart, until the front is full or has no gap."""
        closed: set[tuple[Choice, Choice]] = set()
        front = Sweep(tuple(self._swept.values()), {}).front
        while len(front) < self._points and len(self._swept) < TRIES * self._points:
            ends = [one for one in front if one.tried.loss.points <= self._most] or list(front)
            pairs = [
                (left.choice, right.choice)
                for left, right in itertools.pairwise(ends)
                if right.tried.left - left.tried.left > NARROW
            ]
            open_pairs = [pair for pair in pairs if pair not in closed]
            if not open_pairs:
                return
            widest = max(open_pairs, key=lambda pair: self._left(pair[1]) - self._left(pair[0]))
            closed.add(widest)
            noise = math.sqrt(math.prod(max(self._attempts.noise(choice), 1e-12) for choice in widest))
            self._try(self._market.within_degradation(noise, self._attempts.prediction.weights))
            front = Sweep(tuple(self._swept.values()), {}).front

    def _left(self, choice: Choice) -> float:
        return self._swept[choice].tried.left
