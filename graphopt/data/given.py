"""Samples from whatever a caller has: DATA text, arrays, data loaders, calibration readers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graphopt.data.load import from_arrays, load, make_samples
from graphopt.data.ports import batching, known_dims
from graphopt.data.preprocess.config import Preprocess
from graphopt.data.samples import Samples
from graphopt.data.sources.arrays import array_feeder
from graphopt.data.sources.spool import spooled
from graphopt.data.sources.stream import as_array, read_items
from graphopt.data.spec import DataSpec
from graphopt.errors import DataError, UsageError
from graphopt.util.text import described

if TYPE_CHECKING:
    from graphopt.ir import Port

KINDS = (
    "give DATA text, an array, a dict of arrays, (inputs, labels), or what yields feeds: a list, a data "
    "loader, a CalibrationDataReader"
)


def check_given(given: Any, name: str) -> None:
    """Raise UsageError for what can be no samples, before anything is read; ``name`` is the argument's."""
    if given is None or isinstance(given, (str, Path, Samples, Mapping)) or _is_array(given):
        return
    if isinstance(given, (bytes, bytearray, memoryview, bool, int, float)) or not _yields(given):
        raise UsageError(f"{name} is {described(given)}, which names no samples", hint=KINDS)
    if isinstance(given, (list, tuple)) and not given:
        raise UsageError(f"{name} is an empty {type(given).__name__}: it holds no samples", hint=KINDS)


def open_samples(
    given: Any,
    inputs: Sequence[Port],
    preprocess: Preprocess | None = None,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    transform: Callable[[Any], Any] | None = None,
    seed: int = 0,
) -> Samples:
    """Open the samples ``given`` for a model with these ``inputs``, and check the first one.

    Args:
        given: DATA text or a path (``load``); Samples; an array whose first axis counts samples, of any
            library, for a model with one input; a dict of such arrays by input name, class labels under
            ``labels``; a tuple of such arrays, the inputs in order and then the labels; or anything that
            yields feeds: lists, generators, data sets, torch and paddle data loaders, and onnxruntime's
            CalibrationDataReader. A feed is a dict by input name, one array, or a list of the inputs in order
            with the labels last; it is a row or a batch of rows.
        transform: a function that turns what is yielded into such a feed.

    Raises:
        UsageError: an object of another kind. DataError: what cannot be read or does not fit.
    """
    check_given(given, "the data")
    if isinstance(given, (str, Path, Samples, Mapping)) and transform is not None:
        raise UsageError(
            f"transform= has nothing to do for {described(given)}",
            hint="it is called with each item of a data loader, a list or a generator",
        )
    if isinstance(given, Samples):
        return given
    if isinstance(given, (str, Path)):
        return spooled(load(given, inputs, preprocess, shapes=shapes, seed=seed))
    arrays = None if transform is not None else _whole_arrays(given, inputs)
    if arrays is not None:
        return from_arrays(arrays, inputs, preprocess, shapes=shapes)
    return _streamed(given, inputs, preprocess, shapes or {}, transform)


def _streamed(
    given: Any,
    inputs: Sequence[Port],
    preprocess: Preprocess | None,
    shapes: Mapping[str, Sequence[int]],
    transform: Callable[[Any], Any] | None,
) -> Samples:
    where = f"the {type(given).__name__}"
    dims = {port.name: known_dims(port, shapes) for port in inputs}
    batches = batching(dims)
    rows, warnings = read_items(given, inputs, dims, batches, transform, where)
    feeder = array_feeder(rows, (), inputs, dims, batches, preprocess, where)
    samples = make_samples(type(given).__name__, feeder, DataSpec(Path(where)), batches, preprocess)
    return samples.with_warnings(warnings)


def _whole_arrays(given: Any, inputs: Sequence[Port]) -> dict[str, Any] | None:
    """Arrays whose first axis counts samples, by input name; None for what yields feeds."""
    names = [port.name for port in inputs]
    if isinstance(given, Mapping):
        return {str(name): as_array(value, f"'{name}' of the data") for name, value in given.items()}
    if _is_array(given):
        if len(names) != 1:
            raise DataError(
                f"one array is given, but the model has {len(names)} inputs",
                hint="give a dict of arrays by input name",
            )
        return {names[0]: as_array(given, "the data")}
    whole = isinstance(given, tuple) and len(names) <= len(given) <= len(names) + 1
    if whole and all(map(_is_array, given)) and len({len(part) for part in given if part.ndim}) == 1:
        keys = [*names, "labels"]
        return {
            key: as_array(part, f"part {key} of the data") for key, part in zip(keys, given, strict=False)
        }
    return None


def _is_array(value: Any) -> bool:
    """Whether a value is an array or tensor of some library."""
    return hasattr(value, "shape") and hasattr(value, "dtype") and hasattr(value, "ndim")


def _yields(value: Any) -> bool:
    """Whether feeds can be had from a value."""
    if isinstance(value, type):
        return False
    return any(hasattr(value, name) for name in ("__iter__", "get_next")) or (
        hasattr(value, "__len__") and hasattr(value, "__getitem__")
    )
