"""Choices that were carried out, what each came to, and the prediction that each made better."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from graphopt.pipeline.search.degradation import Degradation
from graphopt.pipeline.search.market import Choice, Market
from graphopt.pipeline.search.prediction import Prediction
from graphopt.pipeline.search.trials import OutOfTimeError, Trials, Tried


class Attempts:
    """Carries out choices of a market, each once, and learns from them.

    ``counts`` says how many points a trial lost, as the search counts them.
    """

    def __init__(
        self,
        market: Market,
        trials: Trials,
        judge: Degradation,
        passes: Sequence[str],
        counts: Callable[[Tried], float],
        deadline: float | None = None,
    ) -> None:
        self.market, self.judge, self.passes = market, judge, tuple(passes)
        self.prediction = Prediction(len(passes), judge.expected())
        self.tried: dict[Choice, Tried] = {}
        self._trials, self._counts, self._deadline = trials, counts, deadline

    def carry_out(self, choice: Choice) -> Tried:
        """What a choice comes to; OutOfTimeError when another trial would hardly end in time."""
        if choice not in self.tried:
            if self._deadline is not None and time.monotonic() + self._trials.longest > self._deadline:
                raise OutOfTimeError
            taken = [self.market.taken(choice, owner) for owner in range(len(self.passes))]
            tried = self._trials.carry_out(taken)
            self.tried[choice] = tried
            # None lost says that less than half an answer was, not that nothing ever will be.
            points = self._counts(tried) or 50.0 / self.judge.samples
            self.prediction.learn(self.market.degradation(choice), tried.noise, points)
        return self.tried[choice]

    def noise(self, choice: Choice) -> float:
        """The noise to expect of a choice, as a share of variance."""
        return self.prediction.noise(self.market.degradation(choice))

    def moved(self, choice: Choice) -> tuple[int, ...]:
        """How many items of each pass a choice moves."""
        return tuple(len(self.market.taken(choice, owner)) for owner in range(len(self.passes)))
