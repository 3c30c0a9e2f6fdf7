"""What a backend can do with a quantized or pruned model: plain data, read from one TOML file each.

To add one, write its file beside the others; ``--target FILE.toml`` takes one from anywhere.  A package of
its own names the path of its file in the entry-point group ``graphopt.targets``.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from graphopt.errors import UsageError
from graphopt.util.registry import Registry, added

if sys.version_info >= (3, 11):
    from importlib.resources.abc import Traversable

    import tomllib
else:
    from importlib.abc import Traversable

    import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

GROUP = "graphopt.targets"
HINT = "begin with a copy of a target in graphopt/targets, and change what is different"
CHOICES = {
    "placement": ("inputs", "both"),
    "bias": ("int32", "float32"),
    "checked": ("rules", "run"),
    "tails": ("integer", "float"),
    "residual": ("both", "skip"),
}
T = TypeVar("T")


@dataclass(frozen=True)
class Grid:
    """How numbers are quantized.

    ``symmetric`` grids have their zero point in the middle (0 for signed types); ``narrow`` ones leave out
    the lowest integer, so that the grid is the same on both sides.
    """

    dtype: str
    symmetric: bool
    narrow: bool = False


@dataclass(frozen=True)
class WeightGrid(Grid):
    """A grid for weights; ``channel_axis`` is the axis that may have a scale of its own, by operator."""

    channel_axis: Mapping[str, int] | None = None

    def axis(self, op: str) -> int | None:
        """The channel axis of an operator's weight, None when it takes one scale for the whole weight."""
        return (self.channel_axis or {}).get(op)


@dataclass(frozen=True)
class Operators:
    """How the backend treats quantized operators; what stands in no list stays float.

    ``integer`` run on integers with scales of their own; ``pass_through`` need the same scale before and
    after; ``shared_scale`` want equal scales on all inputs; ``absorbed`` melt into their producer when the
    output range proves it; ``structural`` have a fixed output range [low, high] whatever the data.
    """

    integer: tuple[str, ...] = ()
    pass_through: tuple[str, ...] = ()
    shared_scale: tuple[str, ...] = ()
    absorbed: tuple[str, ...] = ()
    structural: Mapping[str, tuple[float, float]] | None = None
    fixed_16: Mapping[str, tuple[float, int]] | None = None  # scale and zero point of 16-bit results

    @property
    def known(self) -> frozenset[str]:
        """All operators that can run on integers."""
        return frozenset((*self.integer, *self.pass_through, *self.absorbed))


@dataclass(frozen=True)
class Allowed:
    """What a user may choose for a backend: integer types, zero points in the middle or anywhere, modes."""

    activations: tuple[str, ...]
    weights: tuple[str, ...]
    symmetric: tuple[bool, ...]
    modes: tuple[str, ...] = ("static",)
    dynamic: tuple[str, ...] = ()  # operators that mode=dynamic makes faster, or at least not much slower


@dataclass(frozen=True)
class Target:
    """One backend.

    ``placement`` says where quantization nodes stand: at the inputs of integer operators, or at both inputs
    and outputs.  ``bias`` is the type of biases in integer layers.  ``min_range`` is the smallest width of a
    range.  ``channel_block`` is the number of channels the kernels work on at a time, by instruction set.

    ``runtime`` is what messages call the backend; ``checked`` says whether its results are run here or only
    held against its rules.  ``whole``: every tensor is stored, graph outputs too.  ``tails``: what stays
    ``float`` before an output.  ``residual``: ``skip`` stores only the operand of an Add that no layer makes.
    ``walls``: the runtime quantizes float layers between integers unless the file prevents it.
    ``zero_point`` is the only one allowed.
    ``attributes`` and ``weight_rank`` are what operators need to be integer.  ``rewrites`` are tried on the
    graph first.
    """

    name: str
    summary: str
    runtime: str
    checked: str
    opset_min: int
    placement: str
    bias: str
    min_range: float
    allowed: Allowed
    activation: Grid
    weight: WeightGrid
    operators: Operators
    channel_block: Mapping[str, int]
    rewrites: tuple[str, ...] = ()
    whole: bool = False
    tails: str = "integer"
    residual: str = "both"
    walls: bool = False
    static_shapes: bool = False
    least_channels: int = 1
    depthwise_block: int = 1
    zero_point: int | None = None
    attributes: Mapping[str, Mapping[str, tuple[Any, ...]]] | None = None
    weight_rank: Mapping[str, tuple[int, ...]] | None = None

    def block(self, isa: str) -> int:
        """Channels per block on a machine; ``isa`` as ``runtime.machine()`` names it."""
        fitting = [name for name in self.channel_block if isa.startswith(name)]
        return self.channel_block[max(fitting, key=len) if fitting else "default"]


def names() -> tuple[str, ...]:
    """The targets there are, in alphabetical order: graphopt's own, and those that other packages add."""
    return _registry().names


def load(name: str) -> Target:
    """The target of this name, or of a TOML file: every text that ends in ``.toml`` is a path.

    Raises:
        UsageError: there is no such target, or a file does not describe one; the key at fault is named.
    """
    if name.endswith(".toml"):
        return _read(Path(name).stem, Path(name))
    return _load(name)


@lru_cache(maxsize=16)
def _load(name: str) -> Target:
    entry = _registry().load(name)
    return entry if isinstance(entry, Target) else _read(name, entry)


@lru_cache(maxsize=1)
def _registry() -> Registry:
    files = resources.files("graphopt.targets").iterdir()
    own = {file.name.removesuffix(".toml"): file for file in files if file.name.endswith(".toml")}
    return Registry(added(GROUP), kind="target", built_in=own, of=(Target, Traversable))


def _read(name: str, file: Traversable) -> Target:
    try:
        return _target(name, _frozen(tomllib.loads(file.read_text(encoding="utf-8"))))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(
            f"the target {file} cannot be read: {reason}", hint=f"known: {', '.join(names())}"
        ) from error
    except KeyError as error:
        raise UsageError(f"the target {file} lacks {error.args[0]}", hint=HINT) from error
    except (TypeError, ValueError) as error:
        raise UsageError(f"the target {file} is not valid: {error}", hint=HINT) from error


def _target(name: str, table: Mapping[str, Any]) -> Target:
    parts = {
        "name": name,
        "allowed": _strict(Allowed, table["allowed"]),
        "activation": _strict(Grid, table["activation"]),
        "weight": _strict(WeightGrid, table["weight"]),
        "operators": _strict(Operators, table["operators"]),
    }
    for key, choices in CHOICES.items():
        if table.get(key, choices[0]) not in choices:
            raise ValueError(f"{key} is one of {', '.join(choices)}, not {table[key]!r}")
    return _strict(Target, {**table, **parts})


def _strict(kind: type[T], values: Any) -> T:
    """Build a dataclass from a table; ValueError for keys that it does not have, or that are missing."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{kind.__name__} takes a table, not {values!r}")
    parameters = inspect.signature(kind).parameters
    unknown = set(values) - set(parameters)
    if unknown:
        raise ValueError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    missing = [key for key, one in parameters.items() if one.default is one.empty and key not in values]
    if missing:
        raise ValueError(f"{kind.__name__} lacks {', '.join(missing)}")
    return kind(**values)


def _frozen(value: Any) -> Any:
    """A parsed TOML value without anything that can be changed: targets are shared."""
    if isinstance(value, dict):
        return MappingProxyType({key: _frozen(item) for key, item in value.items()})
    return tuple(value) if isinstance(value, list) else value
