"""Every backend by every pass: what runs, how right it is, what computes on integers, and how fast.

    python -m tools.bench.backends --install                    each backend in an environment of its own
    python -m tools.bench.backends --out backends.json          the two samples, then the models of --corpus
    python -m tools.bench.backends --tables backends.json       the table of the README and those of targets

A cell holds the SQNR of the worst output against unoptimised onnxruntime on the same file, and the time as a
multiple of that of ``clean`` in the same backend: both in one process, in turn, one thread.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import click
import numpy as np

import graphopt
from graphopt import backends, data, ir, runtime, targets
from graphopt.errors import GraphoptError
from graphopt.pipeline.deploy.companions import place_of
from graphopt.pipeline.deploy.verification import judged
from graphopt.pipeline.run.inputs import Inputs

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT.parents[0] / "shared" / "corpus"
SAMPLES = 2  # time: samples that each file is run on
CALIBRATION = 16  # time: samples that ranges are measured on
FLOATS = {  # subjects that are the same file for every backend
    "original": "",
    "clean": "clean,fold-bn",
    "prune": "clean,fold-bn,prune:macs=0.7:repair=false",
    "lowrank": "clean,fold-bn,lowrank:macs=0.7",
}
PLAIN = (
    "rounding=nearest:bias_correction=false:equalise=none:absorb=false:keep_noisy_float=false:measure=false"
)
TARGETS = {  # of a backend, when its name is not one
    "onnxruntime": "ort-cpu",
    "opencv-classic": "opencv",
    "reference": "generic",
}
SIZES: Mapping[str, dict[str, tuple[int, ...]]] = {"ppocr_v4_det": {"x": (1, 3, 160, 160)}}
CORPUS_MODELS = ("cifar_resnet20_bn", "efficientnet_lite0_bn", "ppocr_v4_det")


@dataclass
class Cell:
    """One file in one backend; ``status`` is right, noisy, wrong, fails (there) or refused (by graphopt)."""

    model: str
    backend: str
    version: str
    subject: str
    target: str
    status: str
    sqnr_db: float | None = None  # against onnxruntime on the same file
    float_db: float | None = None  # against the float model
    ort_float_db: float | None = None  # the same for onnxruntime
    integer: int | None = None
    layers: int | None = None
    ratio: float | None = None
    note: str = ""


@dataclass
class Subject:
    """A file to run, or why there is none."""

    name: str
    target: str
    path: Path | None
    reference: Path | None = None
    companions: dict[str, Path] = field(default_factory=dict)
    note: str = ""


class Workshop:
    """Makes the files of one model, each once."""

    def __init__(self, source: Path, work: Path) -> None:
        self.source, self.work = source, work
        self.name = source.stem
        self.sizes = SIZES.get(self.name, {})
        model = ir.load(source)
        self.shapes = dict(Inputs(model, shapes=self.sizes).shapes)
        samples = data.synthetic(model.signature.inputs, self.shapes, SAMPLES + CALIBRATION, 7)
        feeds = [dict(sample.feeds) for sample in samples]
        self.feeds, kept = feeds[:SAMPLES], feeds[SAMPLES:]
        self.calibration = {name: np.concatenate([feed[name] for feed in kept]) for name in kept[0]}
        self._made: dict[tuple[str, str], Subject] = {}

    def subjects(self, backend: str) -> Iterator[Subject]:
        """All files that a backend is asked to run."""
        own = TARGETS.get(backend, backend)
        for name in FLOATS:
            yield self._subject(name, "ort-cpu", FLOATS[name])
        yield self._subject("cast", own, "cast")
        yield self._subject("quant", own, f"quant:{PLAIN}")
        if backend in targets.load("generic").backends and own != "generic":
            yield self._subject("generic", "generic", f"quant:{PLAIN}")

    def _subject(self, name: str, target: str, passes: str) -> Subject:
        key = (name, target)
        if key not in self._made:
            self._made[key] = self._make(name, target, passes)
        return self._made[key]

    def _make(self, name: str, target: str, passes: str) -> Subject:
        if not passes:
            return Subject(name, target, self.source, self.source)
        output = self.work / f"{self.name}-{name}-{target}.onnx"
        options: dict[str, Any] = {"shape": self.sizes, "fix_shape": True, "latency": False, "threads": 1}
        if name in ("quant", "generic"):
            options["calibration"] = self.calibration
        profile = targets.load(target)
        try:
            result = graphopt.optimize(self.source, passes, output=output, target=target, **options)
        except GraphoptError as error:
            return Subject(name, target, None, note=f"graphopt: {error}")
        step = next(
            entry for entry in result.report.passes if entry.name == passes.split(":")[0].split(",")[-1]
        )
        beside = {kind: place_of(kind, output) for kind in profile.companions}
        companions = {kind: path for kind, path in beside.items() if path.exists()}
        if not step.changes and not companions and name in ("cast", "quant", "generic"):
            return Subject(
                name, target, None, note=next((skip.reason for skip in step.skips), "nothing changed")
            )
        reference = output
        if profile.form == "float+table":  # what it stands for is the file with pairs
            reference = output.with_suffix(".pairs.onnx")
            pairs = self.work / "pairs.toml"
            pairs.write_text(f'base = "{target}"\nform = "qdq"\ncompanions = []\n', encoding="utf-8")
            graphopt.optimize(self.source, passes, output=reference, target=str(pairs), **options)
        return Subject(name, target, output, reference, companions)


def measure(workshop: Workshop, where: backends.Installed, seconds: float, timeout: float) -> Iterator[Cell]:
    """The cells of one model in one backend."""
    subjects = list(workshop.subjects(where.backend.name))
    running = [s for s in subjects if s.path is not None]
    outputs = list(ir.load(workshop.source).signature.outputs)
    names = [port.name for port in outputs]
    entries = [backends.Entry(s.path, workshop.feeds[0], names, s.companions) for s in running if s.path]
    result = backends.run(where, entries, seconds=seconds, timeout=timeout)
    clean = next(i for i, s in enumerate(running) if s.name == "clean")
    plain = running[clean].path
    float_outputs = runtime.Session(plain, optimization="disabled").run(workshop.feeds[0])
    for subject in subjects:
        cell = Cell(
            workshop.name, where.backend.name, result.version, subject.name, subject.target, "refused"
        )
        if subject.path is None:
            cell.note = subject.note
        else:
            index = running.index(subject)
            _fill(cell, subject, result.answers[index], workshop, float_outputs)
            ratio = result.ratio(index, clean)
            cell.ratio = None if ratio is None else round(ratio, 3)
        yield cell


def _fill(
    cell: Cell,
    subject: Subject,
    answer: backends.Answer,
    workshop: Workshop,
    float_outputs: Mapping[str, Any],
) -> None:
    if answer.outputs is None:
        cell.status, cell.note = "fails", answer.error
        return
    right = runtime.Session(subject.reference, optimization="disabled").run(workshop.feeds[0])
    is_lossy = subject.name in ("cast", "quant", "generic")
    worst, noise, wrong = judged([right], [answer.outputs], [float_outputs] if is_lossy else None)
    cell.sqnr_db, cell.note = _finite(worst), noise or wrong
    cell.float_db = _finite(backends.agreement(float_outputs, answer.outputs).sqnr_db)
    cell.ort_float_db = _finite(backends.agreement(float_outputs, right).sqnr_db)
    cell.status = "wrong" if wrong else "noisy" if noise else "right"
    if "litert-calibration" in subject.companions:  # integers of its own converter: there is no other answer
        cell.status = "right" if (cell.float_db or 0.0) > 15.0 else "wrong"
    if answer.kernels is not None:
        cell.integer, cell.layers = answer.kernels.integer, answer.kernels.layers


def _finite(value: float) -> float:
    """JSON has no infinity: 200 dB stand for equal outputs, -200 for what cannot be compared."""
    return round(max(-200.0, min(200.0, value if not math.isnan(value) else -200.0)), 1)


def models(corpus: Path, more: Sequence[Path]) -> list[Path]:
    """The two samples, and what there is of the other models."""
    own = [ROOT / "models" / f"{name}.onnx" for name in ("fashion_residual", "fashion_depthwise")]
    others = [corpus / "models" / f"{name}.onnx" for name in CORPUS_MODELS]
    return [*own, *(path for path in others if path.exists()), *more]


@click.command()
@click.option("--install", is_flag=True, help="Install every backend that is not there.")
@click.option("--corpus", type=click.Path(path_type=Path), default=CORPUS, show_default=True)
@click.option("--more", type=click.Path(path_type=Path, exists=True), multiple=True, help="Another model.")
@click.option("--model", "only", multiple=True, help="Only the models of these names.")
@click.option("--backend", "chosen", multiple=True, type=click.Choice(list(backends.BACKENDS)))
@click.option("--seconds", default=2.0, show_default=True, help="For timing all files of a model.")
@click.option("--timeout", default=120.0, show_default=True, help="Seconds for one file.")
@click.option("--out", type=click.Path(path_type=Path), help="Write all cells to this file, as they come.")
@click.option("--tables", type=click.Path(path_type=Path, exists=True), help="Write docs from this file.")
def main(
    install: bool,
    corpus: Path,
    more: tuple[Path, ...],
    only: tuple[str, ...],
    chosen: tuple[str, ...],
    seconds: float,
    timeout: float,
    out: Path | None,
    tables: Path | None,
) -> None:
    """Every backend by every pass."""
    if tables is not None:
        from tools.bench.backends_page import write_pages

        write_pages(json.loads(tables.read_text("utf-8")))
        return
    names = chosen or tuple(backends.BACKENDS)
    if install:
        for name in names:
            if backends.installed(name) is None:
                print(f"installing {name}", flush=True)
                backends.install(name)
        return
    document: dict[str, Any] = {
        "date": date.today().isoformat(),
        "machine": dict(runtime.machine(1)),
        "cells": [],
    }
    for source in models(corpus, more):
        if only and source.stem not in only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            workshop = Workshop(source, Path(folder))
            for name in names:
                where = backends.installed(name)
                if where is None:
                    print(f"{name} is not installed: --install")
                    continue
                cells = list(measure(workshop, where, seconds, timeout))
                document["cells"] += [asdict(cell) for cell in cells]
                _print(cells)
                if out is not None:
                    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _print(cells: Sequence[Cell]) -> None:
    texts = [
        f"{c.subject} {c.status}"
        + (f" {c.sqnr_db:.0f}" if c.sqnr_db is not None else "")
        + (f"/{c.ratio:.2f}" if c.ratio is not None else "")
        + (f" [{c.integer} of {c.layers}]" if c.integer else "")
        + (f" ({c.note[:160]})" if c.status in ("wrong", "fails", "noisy") else "")
        for c in cells
    ]
    print(f"{cells[0].model} in {cells[0].backend} {cells[0].version}: {'; '.join(texts)}", flush=True)


if __name__ == "__main__":
    main()
