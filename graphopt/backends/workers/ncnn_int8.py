"""Turn a float model of ncnn into one of 8-bit integers, by the scales that graphopt wrote.

    python -m graphopt.backends.workers.ncnn_int8 SMALL.ncnn.npz SMALL.ncnn.param SMALL.ncnn.bin

writes ``SMALL.int8.param`` and ``SMALL.int8.bin``, which ncnn loads like any model, and ``SMALL.table``,
the same scales by ncnn's names for its own ``ncnn2int8``.  The float model is what ``pnnx SMALL.onnx fp16=0``
makes of the ONNX file, whose weights are the rounded ones: by their bytes layers are found, since pnnx
renames them.

The layouts are those of ncnn's ``modelbin.cpp`` and of the layers' ``load_model``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

INT8_TAG = (0x000D4B38).to_bytes(4, "little")  # fixed: what weights of int8 begin with
FLOAT_TAG = bytes(4)


@dataclass(frozen=True)
class Kind:
    """How a layer of ncnn says how large it is, and that it runs on integers: keys of its parameters."""

    size: int  # the key of its number of weights
    bias: int  # the key of whether it has a bias
    scale_term: int  # what key 8 becomes when it runs on integers


KINDS = {
    "Convolution": Kind(6, 5, 2),
    "ConvolutionDepthWise": Kind(6, 5, 1),
    "InnerProduct": Kind(2, 1, 2),
    "Deconvolution": Kind(6, 5, 0),
    "DeconvolutionDepthWise": Kind(6, 5, 0),
}


@dataclass(frozen=True)
class Stored:
    """A layer's integers: int8 weights, a scale for each output channel, and one for what it reads."""

    values: np.ndarray
    scales: np.ndarray
    input_scale: float

    @property
    def floats(self) -> bytes:
        """The weights as they stand in the float model."""
        shape = (-1, *(1 for _ in self.values.shape[1:]))
        product = self.values.astype(np.float32) * self.scales.astype(np.float32).reshape(shape)
        return product.astype("<f4").tobytes()


def read_scales(path: Path) -> list[Stored]:
    """The layers of a file of scales."""
    with np.load(path, allow_pickle=False) as arrays:
        count = sum(name.startswith("weight_") for name in arrays.files)
        return [
            Stored(arrays[f"weight_{i}"], arrays[f"scale_{i}"], float(arrays[f"input_{i}"]))
            for i in range(count)
        ]


def convert(layers: list[Stored], param: str, weights: bytes) -> tuple[str, bytes, str]:
    """The model of integers: its parameters, its weights, and the table of scales.

    Raises ValueError when a layer of the scales is not in the float model.
    """
    by_bytes = {layer.floats: layer for layer in layers}
    lines = param.splitlines()
    done, table, made, position = set(), [], [], 0
    for number, line in enumerate(lines):
        name, kind, count, has_bias, channels = _layer(line)
        if kind is None:
            continue
        start, end = position + 4, position + 4 + 4 * count
        layer = by_bytes.get(weights[start:end]) if weights[position:start] == FLOAT_TAG else None
        stop = end + (4 * channels if has_bias else 0)
        if layer is None or not kind.scale_term:
            made.append(weights[position:stop])
        else:
            made.append(_stored(layer, weights[end:stop]))
            lines[number] = f"{line} 8={kind.scale_term}"
            table.append((name, layer))
            done.add(id(layer))
        position = stop
    missing = sum(id(layer) not in done for layer in by_bytes.values())
    if missing:
        raise ValueError(
            f"{missing} of {len(by_bytes)} layers are not in the float model: is it of this ONNX file, by "
            "pnnx with fp16=0, and without weights outside Convolution, Deconvolution and InnerProduct?"
        )
    return "\n".join(lines) + "\n", b"".join([*made, weights[position:]]), _table(table)


def _layer(line: str) -> tuple[str, Kind | None, int, bool, int]:
    """Name, kind, number of weights, whether there is a bias, and channels that a line speaks of."""
    words = line.split()
    kind = KINDS.get(words[0]) if len(words) > 3 else None
    if kind is None:
        return "", None, 0, False, 0
    values = dict(word.split("=", 1) for word in words[4 + int(words[2]) + int(words[3]) :] if "=" in word)
    return (
        words[1],
        kind,
        int(values[str(kind.size)]),
        values.get(str(kind.bias), "0") == "1",
        int(values["0"]),
    )


def _stored(layer: Stored, bias: bytes) -> bytes:
    integers = layer.values.astype(np.int8).tobytes()
    padding = bytes(-len(integers) % 4)
    scales = (1.0 / layer.scales.astype(np.float64)).astype("<f4").tobytes()
    return INT8_TAG + integers + padding + bias + scales + np.float32(1.0 / layer.input_scale).tobytes()


def _table(layers: list[tuple[str, Stored]]) -> str:
    """ncnn's text of scales: those of weights, then those of what layers read."""
    rows = [(f"{name}_param_0", 1.0 / layer.scales.astype(np.float64)) for name, layer in layers]
    rows += [(name, np.array([1.0 / layer.input_scale])) for name, layer in layers]
    return "".join(f"{name} {' '.join(f'{value:.9g}' for value in values)}\n" for name, values in rows)


def convert_files(scales: Path, param: Path, weights: Path) -> tuple[Path, Path]:
    """Convert files; returns the two written."""
    stem = param.name.removesuffix(".param").removesuffix(".ncnn")
    text, data, table = convert(read_scales(scales), param.read_text("utf-8"), weights.read_bytes())
    made = param.with_name(f"{stem}.int8.param"), param.with_name(f"{stem}.int8.bin")
    made[0].write_text(text, encoding="utf-8")
    made[1].write_bytes(data)
    param.with_name(f"{stem}.table").write_text(table, encoding="utf-8")
    return made


def _arguments() -> Iterator[Path]:
    for text in sys.argv[1:]:
        if not Path(text).is_file():
            sys.exit(f"error: there is no file {text}")
        yield Path(text)


def main() -> None:
    """Convert the files that the command line names."""
    paths = list(_arguments())
    if len(paths) != 3:
        sys.exit("usage: python -m graphopt.backends.workers.ncnn_int8 SCALES.npz FLOAT.param FLOAT.bin")
    try:
        made = convert_files(*paths)
    except (ValueError, KeyError, OSError) as error:
        sys.exit(f"error: {error}")
    print(f"wrote {made[0]} and {made[1]}")


if __name__ == "__main__":
    main()
