"""INT8: accuracy against the float network and against other quantizers, latency, and cost of calibration."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graphopt import data, ir, optimize, runtime
from tools.bench.quant import calibration as quant_calibration
from tools.bench.quant import peers as quant_peers
from tools.bench.quant.cases import CASES, LITE0, Reference, Subject, judged, stacked
from tools.bench.quant.floor import PLAIN, float_weights
from tools.bench.quant.paired import apart
from tools.bench.support.session import Session
from tools.bench.support.tables import Goal, Record, show, show_goals

OURS, BEST, FLOOR, SYNTHETIC, FOUR = "graphopt", "ort u8s8", "floor", "no data", "4-bit weights"
SNR, AGREEMENT, LOST = 22.5, 98.3, 0.4  # of Lite0
AHEAD, NEAR = 2.0, 0.5  # dB above the best peer, or below the floor
FOUR_LOST, SYNTHETIC_LOST = 7.0, 3.0  # points
SECONDS = 90.0

FLAGS = ("same", "change")  # of every image; only shares of them are written

Quantizer = Callable[[Path, Path, list[data.Sample]], None]


@dataclass(frozen=True)
class Options:
    """Which part to run, over how many draws, on which models, where NNCF's interpreter is, and with what.

    ``tools`` names quantizers, all when empty.
    """

    part: str = "all"
    draws: int = 5
    pattern: str = ""
    nncf: Path | None = None
    tools: tuple[str, ...] = ()


def bench(session: Session, corpus: Path, options: Options) -> Record:
    """Run the parts asked for, print their tables and goals; the record of it all."""
    record = session.record("quant")
    for case in CASES:
        if case.model.startswith(options.pattern) and options.part in ("all", "accuracy"):
            _accuracy(record, Subject.of(case, corpus, session.scratch), options)
    if options.part in ("all", "calibration"):
        quant_calibration.bench(record, Subject.of(LITE0, corpus, session.scratch))
    show_goals(record.goals)
    return record


def ours(passes: str) -> Quantizer:
    """graphopt with these passes."""

    def run(source: Path, output: Path, samples: list[data.Sample]) -> None:
        arrays = data.from_arrays(stacked(samples), ir.load(source).signature.inputs)
        optimize(source, passes=passes, calibration=arrays, target="ort-cpu", latency=False).save(
            output, force=True
        )

    return run


def without_data(source: Path, output: Path, samples: list[data.Sample]) -> None:
    """graphopt with images that it makes up."""
    optimize(source, passes="quant", target="ort-cpu", latency=False).save(output, force=True)


def _quantizers(case_model: str, options: Options) -> dict[str, Quantizer]:
    found: dict[str, Quantizer] = {
        "ort default": quant_peers.ort_default,
        BEST: quant_peers.ort_best,
        OURS: ours("quant"),
    }
    if options.nncf is not None:
        found["nncf"] = quant_peers.nncf(options.nncf)
    if case_model == LITE0.model:
        found |= {SYNTHETIC: without_data, FOUR: ours("quant:weight_bits=4")}
    return {tool: made for tool, made in found.items() if not options.tools or tool in options.tools}


def _accuracy(record: Record, subject: Subject, options: Options) -> None:
    rows: list[dict[str, Any]] = []
    reference = Reference(subject.path)
    for number, (calibration, judges) in enumerate(subject.draws(options.draws)):
        for tool, quantize in _quantizers(subject.case.model, options).items():
            output = subject.path.with_suffix(f".{tool.replace(' ', '-')}.onnx")
            row: dict[str, Any] = {"model": subject.case.model, "tool": tool, "draw": number}
            started = time.perf_counter()
            try:
                quantize(subject.path, output, calibration)
                row["seconds"] = time.perf_counter() - started
                row |= judged(reference, output, judges)
            except Exception as error:  # a peer's failure is a result too
                row["failure"] = f"{type(error).__name__}: {error}".splitlines()[0]
            rows.append(row)
            _tell(row)
        if not options.tools or FLOOR in options.tools:
            plain = subject.path.with_suffix(".plain.onnx")
            ours(PLAIN)(subject.path, plain, calibration)
            floor = float_weights(subject.path, plain)
            found = judged(reference, floor, judges, optimization="disabled")
            rows.append({"model": subject.case.model, "tool": FLOOR, "draw": number, **found})
            _tell(rows[-1])
    _time(subject, rows)
    intervals = _intervals(rows)
    record.rows += [{key: value for key, value in row.items() if key not in FLAGS} for row in rows]
    record.rows += intervals
    show(
        subject.case.model, COLUMNS, [_printed(rows, tool) for tool in dict.fromkeys(r["tool"] for r in rows)]
    )
    show(
        "graphopt against the others, points",
        ("over", "share", "points", "low", "high"),
        [
            (
                row["over"],
                row["share"],
                f"{row['difference']:+.2f}",
                f"{row['low']:+.2f}",
                f"{row['high']:+.2f}",
            )
            for row in intervals
        ],
    )
    record.goals += _goals(subject.case.model, rows)


def _intervals(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """By how many points shares of graphopt's are above the others', with 95 % intervals."""
    found = []
    own = [row for row in rows if row["tool"] == OURS and "failure" not in row]
    for tool in (None, *dict.fromkeys(row["tool"] for row in rows if row["tool"] != OURS)):
        others = [row for row in rows if row["tool"] == tool and "failure" not in row]
        if tool is not None and not others:
            continue
        for flag, share in (("same", "agreement"), ("change", "points lost")):
            paired = apart(own, None if tool is None else others, flag)
            if paired is not None:
                over = tool or "nothing"
                found.append({"model": own[0]["model"], "over": over, "share": share, **asdict(paired)})
    return found


def _tell(row: dict[str, Any]) -> None:
    """One line as soon as a result is there: a long run may be ended early."""
    print({key: value for key, value in row.items() if key not in FLAGS}, flush=True)


def _time(subject: Subject, rows: list[dict[str, Any]]) -> None:
    """Latency of the last files against float and against onnxruntime's, in interleaved pairs."""
    feeds = subject.pool[0].feeds
    plain, best = (runtime.Session(subject.path), subject.path.with_suffix(f".{BEST.replace(' ', '-')}.onnx"))
    for row in rows:
        output = subject.path.with_suffix(f".{row['tool'].replace(' ', '-')}.onnx")
        if row["draw"] != rows[-1]["draw"] or not output.exists() or "failure" in row:
            continue
        made = runtime.Session(output)
        row["speedup"] = runtime.paired_latency(plain, made, feeds).speedup
        if row["tool"] == OURS and best.exists():
            row["of best"] = runtime.paired_latency(runtime.Session(best), made, feeds).ratio


COLUMNS = ("quantizer", "SNR dB by output", "agreement %", "points lost", "times faster", "seconds", "remark")


def _printed(rows: Sequence[dict[str, Any]], tool: str) -> tuple[str, ...]:
    own = [row for row in rows if row["tool"] == tool]
    good = [row for row in own if "failure" not in row]
    failure = next((row["failure"] for row in own if "failure" in row), "")
    names = good[0]["snr"] if good else {}
    decibels = " / ".join(f"{_mean(good, 'snr', name):.1f}" for name in names)
    figures = (_mean(good, key) for key in ("agreement", "lost", "speedup", "seconds"))
    return (tool, decibels, *("-" if value is None else f"{value:.2f}" for value in figures), failure)


def _mean(rows: Sequence[dict[str, Any]], *keys: str) -> float | None:
    found = []
    for row in rows:
        value: Any = row
        for key in keys:
            value = None if value is None else value.get(key)
        if value is not None:
            found.append(float(value))
    return float(np.mean(found)) if found else None


def _goals(model: str, rows: list[dict[str, Any]]) -> list[Goal]:
    by_tool = {
        tool: [r for r in rows if r["tool"] == tool and "failure" not in r]
        for tool in {r["tool"] for r in rows}
    }
    own = by_tool.get(OURS, [])
    if not own:
        return [Goal(model, "is quantized", None, 0)]
    slower = Goal(model, f"latency of {BEST}'s", _mean(own, "of best"), 1.05)
    if model != LITE0.model:
        return [slower, *(_ahead(model, name, by_tool) for name in own[0]["snr"])]
    (name,) = own[0]["snr"]
    real, made_up = _mean(own, "lost"), _mean(by_tool.get(SYNTHETIC, []), "lost")
    further = None if real is None or made_up is None else made_up - real
    return [
        slower,
        Goal(model, f"dB short of {SNR}", SNR - (_mean(own, "snr", name) or 0.0), 0.0),
        Goal(model, "answers changed, %", 100 - (_mean(own, "agreement") or 0.0), 100 - AGREEMENT),
        Goal(model, "points lost", real, LOST),
        Goal(model, "points lost with 4-bit weights", _mean(by_tool.get(FOUR, []), "lost"), FOUR_LOST),
        Goal(
            model,
            "points lost without data",
            further,
            SYNTHETIC_LOST,
        ),
        Goal(model, "seconds of the whole run", _mean(own, "seconds"), SECONDS),
    ]


def _ahead(model: str, name: str, by_tool: dict[str, list[dict[str, Any]]]) -> Goal:
    """How many dB an output is short of the lower of both goals."""
    levels = {tool: _mean(rows, "snr", name) for tool, rows in by_tool.items()}
    peers = [levels[tool] for tool in ("ort default", BEST) if levels.get(tool) is not None]
    limits = [max(peers, default=0.0) + AHEAD]
    if levels.get(FLOOR) is not None:
        limits.append((levels[FLOOR] or 0.0) - NEAR)
    wanted = min(limits)
    return Goal(model, f"{name}: dB short of {wanted:.1f}", wanted - (levels[OURS] or 0.0), 0.0)
