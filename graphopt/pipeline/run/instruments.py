"""What is observed around each pass of a run: how large the model is, and the model itself on request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from graphopt.errors import OutputError

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.record.record import PassRecord


class Instrument(Protocol):
    """Looks at the model after each pass; must not change it."""

    def after(self, index: int, record: PassRecord, model: Model) -> None:
        """Called when pass ``index`` is done and checked."""


@dataclass(frozen=True)
class Size:
    """How large a model is, without running or inferring anything."""

    nodes: int  # without Constant nodes
    parameters: int
    bytes: int  # of all weights


def size(model: Model) -> Size:
    """Count a model's nodes and weights, those of subgraphs included."""
    from graphopt.cost.static.parameters import parameters
    from graphopt.cost.static.totals import count_nodes

    return Size(count_nodes(model), parameters(model), model.weight_bytes)


class Dump:
    """Writes the model after each pass that changed it: ``DIR/01-fold-bn.onnx``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def after(self, index: int, record: PassRecord, model: Model) -> None:
        """Write the model, if the pass changed it."""
        if not record.changes:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            model.save(self._folder / f"{index + 1:02d}-{record.name}.onnx", force=True)
        except OSError as error:
            raise OutputError(
                f"the dump in {self._folder} cannot be written: {error.strerror or error}"
            ) from error
