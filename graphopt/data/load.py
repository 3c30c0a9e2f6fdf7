"""The entry: from a DATA text, or arrays in memory, to Samples that fit a model's inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graphopt.data.feeder import Feeder
from graphopt.data.ports import Batching, Dims, batching, known_dims
from graphopt.data.preprocess.config import Preprocess
from graphopt.data.preprocess.declared import Declared
from graphopt.data.preprocess.transform import UNSCALED
from graphopt.data.remote_path import RemotePath, without_secrets
from graphopt.data.samples import Samples
from graphopt.data.sources.arrays import ArrayFeeder, array_feeder
from graphopt.data.sources.files import ARCHIVES, SUFFIXES, open_images
from graphopt.data.sources.images import ImageFeeder, image_feeder
from graphopt.data.sources.rows import ArrayRows, Rows, open_npy, open_npz
from graphopt.data.spec import DataSpec, exists, parse_spec, shuffled
from graphopt.errors import DataError

if TYPE_CHECKING:
    from graphopt.ir import Port


def load(
    spec: str | Path,
    inputs: Sequence[Port],
    preprocess: Preprocess | None = None,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
) -> Samples:
    """Open the samples that `spec` names for a model with these `inputs`, and check the first one.

    `shapes` fixes dynamic dims.  `seed` has no influence: the order of real data depends on its names alone,
    so that ``DATA::64`` and ``DATA::64:`` stay apart for every seed.
    Raises DataError for data that cannot be read or does not fit, UsageError for a malformed `spec`.
    """
    parsed = parse_spec(str(spec))
    dims = {port.name: known_dims(port, shapes or {}) for port in inputs}
    batches = batching(dims)
    feeder = _open(parsed, inputs, dims, batches, preprocess)
    return make_samples(without_secrets(str(spec)), feeder, parsed, batches, preprocess)


def from_arrays(
    arrays: Mapping[str, np.ndarray],
    inputs: Sequence[Port],
    preprocess: Preprocess | None = None,
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    source: str = "arrays",
) -> Samples:
    """Samples from arrays in memory, matched as those of an ``.npz``: by input name, labels as ``labels``."""
    dims = {port.name: known_dims(port, shapes or {}) for port in inputs}
    batches = batching(dims)
    rows: dict[str, Rows] = {
        name: ArrayRows(f"array '{name}' of {source}", np.asarray(array)) for name, array in arrays.items()
    }
    feeder = array_feeder(rows, (), inputs, dims, batches, preprocess, source)
    return make_samples(source, feeder, DataSpec(Path(source)), batches, preprocess)


def _open(
    spec: DataSpec,
    inputs: Sequence[Port],
    dims: Mapping[str, Dims | None],
    batches: Batching,
    recipe: Preprocess | None,
) -> Feeder:
    path, name = spec.path, spec.path.name.lower()
    if not (path.exists() if isinstance(path, RemotePath) else exists(path)):
        raise DataError(f"there is no file or folder {path}", hint="check the path of the samples")
    if path.is_dir() or name.endswith((*ARCHIVES, *SUFFIXES)):
        if len(spec.names) > 1:
            raise DataError(
                f"{path} holds images, of which # can pick one folder only", hint="name one folder"
            )
        files = open_images(path, spec.names[0] if spec.names else "")
        return image_feeder(files, inputs, dims[inputs[0].name] if inputs else None, recipe)
    if name.endswith(".npz"):
        return array_feeder(open_npz(path), spec.names, inputs, dims, batches, recipe, str(path))
    if name.endswith(".npy"):
        return array_feeder({"array": open_npy(path)}, (), inputs, dims, batches, recipe, str(path))
    raise DataError(
        f"{path} is not a kind of samples that graphopt reads",
        hint="give an .npz, an .npy, a folder of images or a .tar or .zip of images",
    )


def make_samples(
    source: str, feeder: Feeder, spec: DataSpec, batches: Batching, recipe: Preprocess | None
) -> Samples:
    """Samples of the rows of ``feeder`` that ``spec`` takes, the first of them tried."""
    order = shuffled(feeder.names)
    rows = order[spec.start : spec.stop]
    used, warnings = _recipe_used(feeder, recipe, source)
    samples = Samples(
        source, feeder, rows, batches.size, used, (*warnings, *_size_warnings(spec, len(order), source))
    )
    if len(samples) == 0:
        needed = f" of {batches.size} rows each, the model's batch," if samples.group > 1 else ""
        raise DataError(
            f"{source} leaves no samples{needed}: there are {len(order)} in all",
            hint="take a larger part of the data",
        )
    if left := len(rows) % samples.group:
        text = (
            f"{left} of {len(rows)} rows of {source} are left out: the model takes {samples.group} at a time"
        )
        samples = replace(samples, warnings=(*samples.warnings, text))
    for _ in replace(samples, rows=np.sort(rows)[: samples.group]):  # the first as stored: nothing is skipped
        break
    return samples


def _size_warnings(spec: DataSpec, count: int, source: str) -> list[str]:
    if spec.stop is not None and spec.stop > count:
        return [f"{source} asks for samples up to {spec.stop}, but there are {count}"]
    return []


def _recipe_used(
    feeder: Feeder, recipe: Preprocess | None, source: str
) -> tuple[Preprocess | None, list[str]]:
    """The resolved recipe, and what there is to say about it."""
    recipes: list[Preprocess] = []
    if isinstance(feeder, ImageFeeder):
        recipes = [feeder.transform.recipe]
    elif isinstance(feeder, ArrayFeeder):
        recipes = [column.recipe for column in feeder.columns if column.recipe is not None]
    if not recipes:
        warning = f"preprocessing does not apply to {source}: its arrays are fed as they are"
        return None, [warning] if recipe is not None and not isinstance(recipe, Declared) else []
    return recipes[0], [UNSCALED] if recipe is None and recipes[0].has_values else []
