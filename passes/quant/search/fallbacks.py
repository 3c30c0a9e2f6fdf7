"""Ways to store a model that lose less and less, for a budget to climb before layers stay float."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from ..calibration.ranges import Calibrator
from ..items import TuneItem
from ..plan_builder import PlanBuilder
from ..scheme import WIDE, Scheme

METHODS = ("mean", "mse")  # calibrators that may lose less than the one asked for


@dataclass(frozen=True)
class Fallback:
    """One way: ``builder`` makes its drafts, ``tuning`` is done to their integers.

    ``builder`` raises ModelError when the model cannot be stored this way.
    """

    name: str
    builder: Callable[[], PlanBuilder]
    tuning: tuple[TuneItem, ...]


def climb(
    make: Callable[[Calibrator, Scheme], PlanBuilder],
    calibrator: Calibrator,
    scheme: Scheme,
    tuning: Sequence[TuneItem],
    refit: bool,
) -> Iterator[Fallback]:
    """What is asked for, other calibrators, careful rounding, and activations in 16 bits where allowed."""
    asked, careful = tuple(tuning), (TuneItem(rounding=True, bias=True, refit=refit),)

    def rung(name: str, how: Calibrator, on: Scheme, tuned: tuple[TuneItem, ...]) -> Fallback:
        return Fallback(name, lambda: make(how, on), tuned)

    yield rung("all in 8 bits", calibrator, scheme, asked)
    for method in METHODS:
        if method != calibrator.method:
            yield rung(f"calibrator={method}", replace(calibrator, method=method), scheme, asked)
    if asked != careful:
        yield rung("rounding=second-order:bias_correction=true", calibrator, scheme, careful)
    wide = [dtype for dtype in scheme.target.allowed.activations if dtype in WIDE]
    if wide and scheme.activation.dtype not in WIDE:
        levels = replace(calibrator, levels=2**16 - 1)
        yield rung(f"activations={wide[0]}", levels, scheme.of(wide[0]), careful)
