"""Writes what a backend's converter reads beside the ONNX file."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graphopt.errors import OutputError
from graphopt.pipeline.deploy.float_form import StoredLayer, float_form, has_pairs

if TYPE_CHECKING:
    from graphopt.data import Samples
    from graphopt.ir import Model
    from graphopt.targets import Target

CALIBRATION_SAMPLES = 128  # memory: samples for LiteRT's converter, all in one array
NAMES = {  # of companions beside {stem}.onnx
    "ncnn-scales": "{stem}.ncnn.npz",
    "litert-calibration": "{stem}.litert",
}


@dataclass(frozen=True)
class Deployment:
    """What a target is given: the model in its form, and drafts of the files beside it, by kind."""

    model: Model
    companions: Mapping[str, Path] = field(default_factory=dict)

    def publish(self, output: Path) -> list[Path]:
        """Move the companions beside ``output``; OutputError when that fails."""
        placed = [(source, place_of(kind, output)) for kind, source in self.companions.items()]
        try:
            for source, place in placed:
                if place.is_dir():
                    shutil.rmtree(place)
                source.replace(place)
        except OSError as error:
            raise OutputError(f"{error.filename} cannot be written: {error.strerror or error}") from error
        return [place for _, place in placed]


def place_of(kind: str, output: Path) -> Path:
    """Where a companion of ``output`` goes."""
    return output.with_name(NAMES[kind].format(stem=output.stem))


def check_companions(target: Target, output: Path, *, force: bool) -> None:
    """Raise OutputError when a companion of ``output`` is there already, or is something else."""
    for kind in target.companions:
        place = place_of(kind, output)
        is_folder = kind == "litert-calibration"
        if place.exists() and (
            not force or place.is_dir() != is_folder or (is_folder and not _is_ours(place))
        ):
            raise OutputError(
                f"{place} exists, which goes beside the output", hint="move it, or name another output"
            )


def deployment(
    model: Model, target: Target, samples: Samples | None, folder: Path, output: Path
) -> Deployment:
    """The model in the form of its target, and the companions of ``output`` written to ``folder``.

    ``samples`` are those of calibration, the user's own.
    """
    layers: Sequence[StoredLayer] = ()
    made = model
    if target.form == "float+table" and has_pairs(model):
        made, layers = float_form(model)
    companions = {}
    for kind in target.companions:
        place = folder / place_of(kind, output).name
        if kind == "ncnn-scales" and layers:
            _write_ncnn(place, layers)
        elif kind == "litert-calibration" and samples is not None:
            _write_litert(place, samples)
        else:
            continue
        companions[kind] = place
    return Deployment(made, companions)


def commands(target: Target, output: Path, sizes: Mapping[str, Sequence[int]]) -> Iterator[str]:
    """The commands from a written file to the device, as its target names them."""
    shapes = ",".join(f"[{','.join(map(str, size))}]" for size in sizes.values())
    calibration = ""
    folder = place_of("litert-calibration", output)
    if (folder / "calibration.json").is_file():
        entries = json.loads((folder / "calibration.json").read_text("utf-8"))
        calibration = " ".join(
            f"-cind {entry['input']} {folder / entry['file']} {entry['mean']} {entry['std']}"
            for entry in entries
        )
    stem = shlex.quote(str(output.with_suffix("")))  # 'a b'.onnx is one word too
    has_scales = place_of("ncnn-scales", output).is_file()
    for template in target.converter:
        if has_scales or "{stem}.ncnn.npz" not in template:
            yield template.format(stem=stem, sizes=shapes, calibration=calibration)


def _write_ncnn(place: Path, layers: Sequence[StoredLayer]) -> None:
    arrays: dict[str, np.ndarray] = {}
    for index, layer in enumerate(layers):
        arrays |= {f"weight_{index}": layer.values, f"scale_{index}": layer.scales}
        arrays[f"input_{index}"] = np.float32(layer.input_scale)
    with place.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _write_litert(folder: Path, samples: Samples) -> None:
    """The calibration samples as onnx2tf takes them: an array for each input, channels last."""
    folder.mkdir()
    taken: dict[str, list[np.ndarray]] = {}
    for sample in samples.take(CALIBRATION_SAMPLES):
        for name, value in sample.feeds.items():
            taken.setdefault(name, []).append(value)
    entries = []
    for index, (name, values) in enumerate(taken.items()):
        array = np.concatenate(values) if len({value.shape[1:] for value in values}) == 1 else values[0]
        if array.ndim in (3, 4, 5):
            array = np.moveaxis(array, 1, -1)
        file = f"input_{index}.npy"
        np.save(folder / file, np.ascontiguousarray(array))
        entries.append(
            {"input": name, "file": file, "mean": _constant(array, "0.0"), "std": _constant(array, "1.0")}
        )
    (folder / "calibration.json").write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")


def _constant(array: np.ndarray, number: str) -> str:
    """A number for each channel, nested as the array is: the samples are preprocessed already."""
    channels = ",".join([number] * array.shape[-1])
    return f"{'[' * array.ndim}{channels}{']' * array.ndim}"


def _is_ours(folder: Path) -> bool:
    return (folder / "calibration.json").is_file()
