"""INT8 of text networks on rendered text: a detector's map and an orientation classifier's answers.

    python -m tools.bench.quant.text [--corpus DIR] [--draws N]

Calibration and judging pages come from different seeds.  Pages hold lines of random letters in several sizes
and greys; lines for the classifier hold one each, every other one turned upside down.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image, ImageDraw, ImageFont

import graphopt
from graphopt import data, ir, runtime
from tools.bench.quant.peers import ort_best
from tools.bench.quant.targets import CORPUS, FREEZE, fusion_row, latency_row

LETTERS = list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ")
SIZES = {"ppocr_v4_det": (320, 320), "ppocr_v2_cls": (48, 192)}
PRESENT = 0.3  # of the detector's map: text from here on
CALIBRATION, JUDGES = 64, 128


def page(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Lines of random letters, (1, 3, height, width) in -1..1."""
    back = int(rng.integers(150, 256))
    image = Image.new("RGB", (width, height), (back, int(rng.integers(150, 256)), back))
    pen, top = ImageDraw.Draw(image), int(rng.integers(2, 20))
    while top < height:
        size = int(rng.integers(12, max(13, height // 10)))
        text = "".join(rng.choice(LETTERS, size=int(rng.integers(4, 30))))
        left, ink = int(rng.integers(0, width // 2)), int(rng.integers(0, 100))
        pen.text((left, top), text, fill=(ink, ink, ink), font=ImageFont.load_default(size=size))
        top += size + int(rng.integers(4, 40))
    return _feed(image)


def line(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """One line of random letters, upside down every other time, (1, 3, height, width) in -1..1."""
    back, ink = int(rng.integers(150, 256)), int(rng.integers(0, 100))
    image = Image.new("RGB", (width, height), (back, back, back))
    text = "".join(rng.choice(LETTERS, size=int(rng.integers(4, 14))))
    font = ImageFont.load_default(size=int(rng.integers(height // 2, height - 12)))
    ImageDraw.Draw(image).text((4, 4), text, fill=(ink, ink, ink), font=font)
    return _feed(image.rotate(180) if rng.random() < 0.5 else image)


def _feed(image: Image.Image) -> np.ndarray:
    values = np.asarray(image, dtype=np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
    return np.ascontiguousarray(values.astype(np.float32))


def compare(plain: Path, stored: Path, images: np.ndarray) -> dict[str, float]:
    """SNR in dB, and of maps the IoU of what is text, of scores the share of same answers in percent."""
    first, second = runtime.Session(plain), runtime.Session(stored)
    power = noise = 0.0
    shared = union = same = 0
    for image in images:
        feeds = {first.input_names[0]: image[None]}
        (wanted,), (found,) = first.run(feeds).values(), second.run(feeds).values()
        power += float(np.square(wanted.astype(np.float64)).sum())
        noise += float(np.square(wanted.astype(np.float64) - found).sum())
        here, there = wanted > PRESENT, found > PRESENT
        shared, union = shared + int((here & there).sum()), union + int((here | there).sum())
        same += int(wanted.argmax() == found.argmax())
    row = {"snr_db": 10 * float(np.log10(power / max(noise, 1e-30)))}
    return row | (
        {"iou": shared / max(union, 1)} if wanted.ndim == 4 else {"agreement": 100 * same / len(images)}
    )


def run(name: str, corpus: Path, work: Path, seed: int) -> dict[str, Any]:
    """All figures of one network and draw."""
    height, width = SIZES[name]
    draw = page if name.endswith("det") else line
    rng = np.random.default_rng(seed)
    known, judging = (
        np.concatenate([draw(height, width, rng) for _ in range(count)]) for count in (CALIBRATION, JUDGES)
    )
    shape = {"x": (1, 3, height, width)}
    common: dict[str, Any] = {"shape": shape, "latency": False, "threads": 1, "force": True}
    paths = {
        tool: work / f"{name}-{tool}.onnx" for tool in ("float", "graphopt", "graphopt all", "onnxruntime")
    }
    graphopt.optimize(str(corpus / "models" / f"{name}.onnx"), FREEZE, output=paths["float"], **common)
    given = {"calibration": data.from_arrays({"x": known}, ir.load(paths["float"]).signature.inputs)}
    for tool, passes in (("graphopt", "quant"), ("graphopt all", "quant:measure=false")):
        graphopt.optimize(
            str(paths["float"]), passes, output=paths[tool], target="ort-cpu", **given, **common
        )
    ort_best(paths["float"], paths["onnxruntime"], list(given["calibration"]))
    row: dict[str, Any] = {"model": name, "seed": seed, "fusion": fusion_row(paths["graphopt"])}
    row["fusion all"] = fusion_row(paths["graphopt all"])
    row |= {tool: compare(paths["float"], path, judging) for tool, path in paths.items() if tool != "float"}
    return row | {"ms": latency_row(paths, {"x": judging[:1]})}


@click.command()
@click.option("--corpus", type=click.Path(path_type=Path), default=CORPUS, show_default=True)
@click.option("--model", "names", multiple=True, type=click.Choice(list(SIZES)), help="Only these models.")
@click.option("--draws", type=click.IntRange(min=1), default=1, show_default=True)
def main(corpus: Path, names: tuple[str, ...], draws: int) -> None:
    """INT8 of text networks on rendered text."""
    for name in names or SIZES:
        for seed in range(draws):
            with tempfile.TemporaryDirectory() as folder:
                _print(run(name, corpus, Path(folder), seed))


def _print(row: Mapping[str, Any]) -> None:
    for key, value in row.items():
        print(f"{key}: {value}", flush=True)


if __name__ == "__main__":
    main()
