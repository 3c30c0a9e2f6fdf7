"""What a pass is: a frozen dataclass whose fields are its options, with a name, a contract and a ``run``."""

from __future__ import annotations

import dataclasses
import enum
import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from graphopt.pipeline.contract.options import (
    Option,
    convert,
    deprecation,
    describe,
    present_name,
    with_present_names,
)

if TYPE_CHECKING:
    from typing_extensions import Self

    from graphopt.ir import Model
    from graphopt.pipeline.contract.context import Context
    from graphopt.pipeline.contract.moves import Move


class Contract(enum.Enum):
    """What a pass promises about the numbers; the manager checks it."""

    EXACT = "exact"  # outputs equal up to rounding: compared on samples
    APPROXIMATE = "approximate"  # outputs may move: signal-to-noise, agreement and metric are reported


class _AcceptsOldNames(ABCMeta):
    """Lets a pass be made with names that its options had before."""

    def __call__(cls, *args: Any, **values: Any) -> Any:
        owner: type[Pass] = cls  # type: ignore[assignment]
        options = owner.describe() if values else ()
        for old in values:
            if (new := present_name(options, old)) != old:
                warnings.warn(deprecation(owner.name, old, new), DeprecationWarning, stacklevel=2)
        return super().__call__(*args, **with_present_names(owner.name, options, values.items()))


@dataclass(frozen=True)
class Pass(metaclass=_AcceptsOldNames):
    """One step of a run.

    A subclass is a frozen dataclass. The first line of its docstring is its summary in ``graphopt passes``;
    its fields, declared with ``option``, are its options in a spec, a recipe and Python. An option value of
    the wrong type or out of bounds raises UsageError when the pass is made.

    The model is valid before and after ``run``, not necessarily in between.
    """

    name: ClassVar[str] = ""
    contract: ClassVar[Contract] = Contract.APPROXIMATE
    too_long_for_trials: ClassVar[bool] = False  # whether a search over the run's passes leaves it out
    needs: ClassVar[tuple[str, ...]] = ()  # specs of passes put before this one when the run lacks them

    def __post_init__(self) -> None:
        options = self.describe()
        for item in options:
            value = convert(self.name, options, item.name, getattr(self, item.name))
            object.__setattr__(self, item.name, value)

    @property
    def keeps_signature(self) -> bool:
        """Whether inputs and outputs must stay as declared; not for a pass that is asked to change them."""
        return True

    @property
    def is_for_speed(self) -> bool:
        """Whether speed is all that the pass is for: a run takes it back where its result is slower here."""
        return False

    @classmethod
    def describe(cls) -> tuple[Option, ...]:
        """The options of this pass, in order."""
        return describe(cls)

    @classmethod
    def summary(cls) -> str:
        """What the pass does, in one line."""
        return (cls.__doc__ or "").strip().partition("\n")[0]

    @property
    def options(self) -> dict[str, Any]:
        """The value of every option."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def at_step(self, step: int, steps: int) -> Self:
        """The pass as it runs in ``step`` (from 0) of a loop of ``steps``.

        Itself by default; a pass with a goal overrides this to reach the goal in the last step.
        """
        return self

    @abstractmethod
    def run(self, model: Model, ctx: Context) -> None:
        """Change ``model`` in place and say in ``ctx`` what changed and what was skipped, and why."""


@dataclass(frozen=True)
class Plan:
    """What a pass decided: plain JSON-able items that print, can be edited, saved and replayed.

    ``missed`` says which stated goals a plan that was read from a file does not reach.  ``beside`` is what
    planning worked out on the way, which ``apply`` need not do again in the same process: no file holds it,
    and without it the same is carried out.
    """

    items: tuple[Mapping[str, Any], ...] = ()
    missed: tuple[str, ...] = ()
    beside: object = dataclasses.field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Trial:
    """What one thing alone would do: ``graphopt sensitivity`` carries each out on the untouched model.

    ``item`` names what is changed (a group, a layer, a tensor), ``level`` how far, e.g. the fraction of its
    channels removed or of its rank left; ``plan`` changes only that.
    """

    item: str
    level: float
    plan: Plan


@dataclass(frozen=True)
class Offer:
    """The moves of one pass, and how it plans those that were taken.

    ``plan(model, taken, ctx)`` gets the model as it stands when the pass's turn comes: passes before it have
    carried out their moves.
    """

    moves: tuple[Move, ...]
    plan: Callable[[Model, Sequence[Move], Context], Plan]


@dataclass(frozen=True)
class PlannedPass(Pass):
    """A pass that decides first and then acts: ``plan`` reads the model, ``apply`` is mechanical surgery."""

    careful: ClassVar[bool] = False  # whether it looks for how far to go where nobody says

    @abstractmethod
    def plan(self, model: Model, ctx: Context) -> Plan:
        """Decide what to do without changing ``model``."""

    @abstractmethod
    def apply(self, model: Model, plan: Plan, ctx: Context) -> None:
        """Carry out ``plan``, one made here or one read from a file."""

    def trials(self, model: Model, ctx: Context) -> Iterator[Trial]:
        """Yield what ``graphopt sensitivity`` should try.

        By default each item of the plan alone, at level 1, called after its first value that is a text; a
        pass that can do a thing more or less overrides this.
        """
        for number, item in enumerate(self.plan(model, ctx).items):
            name = next((value for value in item.values() if isinstance(value, str)), str(number))
            yield Trial(name, 1.0, Plan((item,)))

    @property
    def has_goal(self) -> bool:
        """Whether its own options say how far it goes, so that a budget of the run leaves it alone."""
        return True

    def offer(self, model: Model, ctx: Context, saves: str) -> Offer | None:
        """Return the moves that this pass can make on ``model``, for a search over all passes of a run.

        ``saves`` is what the run is to save: one of ``moves.GOALS``.  None, the default, when the pass has a
        goal of its own or nothing to choose: it then runs as it is written.
        """
        return None

    def for_trials(self) -> Self:
        """The pass that applies the trials' plans.

        Itself by default; a pass that mends a whole network after each change overrides this to leave that
        out, since hundreds of trials are carried out.
        """
        return self

    def run(self, model: Model, ctx: Context) -> None:
        """Plan, then apply."""
        self.apply(model, self.plan(model, ctx), ctx)
