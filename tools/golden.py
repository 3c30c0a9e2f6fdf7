"""Record what graphopt makes of models, to show that a change of its code changes nothing of that.

    python tools/golden.py record.json              writes the record
    python tools/golden.py --check record.json      runs everything once more and names what differs

Forty runs over the models of ``models/`` and the light models of the onnx wheel are recorded: each pass with
several options, and the commands that look at models. Of a run the record holds a hash of the file that was
written, of the plan, and of every key of the report; times, paths, versions and the machine are left out.
Kernels differ between processors, so a record is good for the machine and the runtime it was made with.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import graphopt
from graphopt.errors import GraphoptError

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "models"
FASHION = "scale=0.00392156862745098;mean=0.2860;std=0.3530"
# Keys of reports that say when, where and with what a run was made.
LEFT_OUT = frozenset({"graphopt", "command", "machine", "input", "output", "seconds", "source", "path"})
DEPTH = 3  # keys of a report are hashed down to this depth: deep enough to find what differs
DIGITS = 12  # hexadecimal digits kept of a hash

Hashes = dict[str, Any]
Entry = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One run of ``optimize``: a model, its passes, and the samples they look at."""

    passes: str
    model: str = "fashion_residual"
    samples: int = 48
    flags: Mapping[str, Any] = field(default_factory=dict)

    def run(self, folder: Path) -> Entry:
        """Run it and hash what it wrote."""
        output, plan, report = (folder / name for name in ("out.onnx", "plan.json", "report.json"))
        graphopt.optimize(
            model_path(self.model),
            self.passes,
            output=output,
            plan_out=plan,
            report=report,
            **{"latency": False, "threads": 1, "seed": 7, **self._data(), **self.flags},
        )
        return {
            "file": digest(output.read_bytes()),
            "plan": hash_document(json.loads(plan.read_text(encoding="utf-8"))),
            "report": hash_document(json.loads(report.read_text(encoding="utf-8"))),
        }

    def _data(self) -> dict[str, Any]:
        if not self.samples:
            return {}
        return {"calibration": calibration(self.model, self.samples), "preprocess": FASHION}


@dataclass(frozen=True)
class Look:
    """One run of a command that looks at models; it writes a report and no model."""

    command: str
    model: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def run(self, folder: Path) -> Entry:
        """Run it and hash its report."""
        outcome = getattr(graphopt, self.command)(model_path(self.model), **self.options)
        return {"report": hash_document(outcome.to_json())}


def model_path(name: str) -> str:
    """The file of a model of ours, or of a light model of the onnx wheel."""
    if not name.startswith("light_"):
        return str(MODELS / f"{name}.onnx")
    import onnx.backend.test

    return str(Path(onnx.backend.test.__file__).parent / "data" / "light" / f"{name}.onnx")


def calibration(model: str, samples: int) -> str:
    """The first of the calibration samples that belong to a model."""
    scenes = model in ("fashion_detector", "fashion_segmenter")
    return f"{MODELS / ('fashion_scenes' if scenes else 'fashion_samples')}.npz#calibration::{samples}"


def evaluation(samples: int) -> str:
    """The first of the labelled images."""
    return f"{MODELS / 'fashion_samples.npz'}#images,labels::{samples}"


def cases() -> dict[str, Case | Look]:
    """All runs by name."""
    return {**_exact(), **_approximate(), **_quantized(), **_looks()}


def _exact() -> dict[str, Case | Look]:
    plain = {"verify": "structure"}
    surgeon = f'surgeon:function="{ROOT / "examples" / "surgeon_classify.py"}:with_probabilities"'
    return {
        "clean": Case("clean", samples=0),
        "clean-opset": Case("clean:opset=19:patterns=false", "fashion_detector", 0),
        "clean-paddle": Case("clean,fold-bn", "fashion_residual_paddle", 0),
        "clean-light-shufflenet": Case("clean,fold-bn", "light_shufflenet", 0, plain),
        "clean-light-squeezenet": Case("clean:fold_limit=0", "light_squeezenet", 0, plain),
        "fold-bn": Case("fold-bn:lone=false", samples=0),
        "fold-bn-light-resnet50": Case("fold-bn", "light_resnet50", 0, plain),
        "surgeon": Case(surgeon, "fashion_depthwise", 8),
    }


def _approximate() -> dict[str, Case | Look]:
    judged = {"evaluation": evaluation(96), "max_drop": 5.0}
    return {
        "cast": Case("cast", samples=8),
        "cast-io": Case("cast:io=true:ranges=false", "fashion_segmenter", 4),
        "sparsify": Case("sparsify:ratio=0.6"),
        "sparsify-pattern": Case("sparsify:pattern=2of4:repair=false", "fashion_depthwise", 8),
        "sparsify-global": Case("sparsify:ratio=0.4:ranking=global", "fashion_segmenter", 4),
        "prune": Case("prune:macs=0.6"),
        "prune-ratio": Case("prune:ratio=0.3:importance=l1:repair=false", samples=0),
        "prune-layer": Case("prune:params=0.7:ranking=layer:importance=fpgm", "fashion_depthwise"),
        "prune-steps": Case("prune:macs=0.8:steps=2:round_to=8:exclude=/stem/*", "fashion_depthwise"),
        "prune-detector": Case("prune:bytes=0.8:importance=variance", "fashion_detector", 8),
        "prune-by-drop": Case("prune:max_drop=5", "fashion_depthwise", 64),
        "lowrank": Case("lowrank:macs=0.7"),
        "lowrank-energy": Case("lowrank:energy=0.97:kinds=svd|out|in:hint=vbmf:refit=false"),
        "lowrank-tucker": Case("lowrank:rank=16:kinds=tucker|cp", samples=16),
        "lowrank-segmenter": Case("lowrank:params=0.8", "fashion_segmenter", 4),
        "prune-lowrank-quant": Case("prune:ratio=0.1,lowrank:macs=0.9,quant:measure=false", flags=judged),
    }


def _quantized() -> dict[str, Case | Look]:
    def quant(options: str = "", model: str = "fashion_residual", samples: int = 24, **flags: Any) -> Case:
        return Case(f"quant:measure=false{options}", model, samples, flags)

    plain = ":equalise=none:absorb=false:keep_noisy_float=false:rounding=nearest:bias_correction=false"
    return {
        "quant": quant(),
        "quant-plain": quant(plain),
        "quant-depthwise": quant(":calibrator=entropy", "fashion_depthwise"),
        "quant-mse": quant(":calibrator=mse:per_channel=false", "fashion_depthwise"),
        "quant-detector": quant(":calibrator=percentile:percentile=99.9", "fashion_detector", 6),
        "quant-paddle": quant(":weight_bits=6:reduce_range=all", "fashion_residual_paddle"),
        "quant-drop": quant(":max_drop=1", "fashion_depthwise", 48),
        "quant-dynamic": quant(":mode=dynamic", samples=8),
        "quant-weights": quant(":mode=weights:bits=4:block=16", samples=8),
        "quant-openvino": quant(target="openvino"),
        "quant-tensorrt": quant(plain, "fashion_segmenter", 4, target="tensorrt"),
        "quant-qnn": quant(":activations=uint16", "fashion_depthwise", target="qnn", fix_shape=True),
    }


def _looks() -> dict[str, Case | Look]:
    reference = {"reference": model_path("fashion_depthwise"), "preprocess": FASHION}
    prepared = {"data": calibration("fashion_residual", 24), "preprocess": FASHION}
    planned = {"calibration": calibration("fashion_residual", 24), "preprocess": FASHION}
    return {
        "evaluate": Look("evaluate", "fashion_residual", {"data": evaluation(200), **reference}),
        "inspect": Look("inspect", "fashion_detector", {"layers": True}),
        "compare": Look(
            "compare",
            "fashion_residual",
            {"b": model_path("fashion_residual"), "latency": False, "layers": True, **prepared},
        ),
        "sensitivity": Look(
            "sensitivity",
            "fashion_depthwise",
            {"step": "quant:measure=false", "samples": 24, "cache": "off", "threads": 1, **planned},
        ),
    }


def run_all(chosen: Mapping[str, Case | Look], tell: Callable[[str], None]) -> dict[str, Entry]:
    """Run the cases, each in an empty folder; a run that graphopt refuses is recorded as its error."""
    record: dict[str, Entry] = {}
    for name, case in chosen.items():
        tell(name)
        with tempfile.TemporaryDirectory() as folder:
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    record[name] = case.run(Path(folder))
            except GraphoptError as error:
                record[name] = {"refused": type(error).__name__}
    return record


def digest(content: bytes) -> str:
    """A short hash of bytes."""
    return hashlib.sha256(content).hexdigest()[:DIGITS]


def hash_document(document: Any) -> Hashes:
    """A hash for each key of a document, as ``passes[2].changes``."""
    return {
        key: digest(json.dumps(value, sort_keys=True, default=str).encode())
        for key, value in _flat(_comparable(document), "", DEPTH)
    }


def _comparable(value: Any) -> Any:
    """A document without what differs from run to run and from folder to folder."""
    if isinstance(value, Mapping):
        return {key: _comparable(item) for key, item in value.items() if key not in LEFT_OUT}
    if isinstance(value, (list, tuple)):
        return [_comparable(item) for item in value]
    if isinstance(value, str):
        return value.replace(str(ROOT), "").replace(tempfile.gettempdir(), "")
    return value


def _flat(value: Any, key: str, depth: int) -> Iterator[tuple[str, Any]]:
    if depth and isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}" if key else name, depth - 1)
    elif depth and isinstance(value, list) and value:
        for index, item in enumerate(value):
            yield from _flat(item, f"{key}[{index}]", depth - 1)
    else:
        yield key, value


def differences(recorded: Mapping[str, Entry], now: Mapping[str, Entry]) -> list[str]:
    """What differs, a line for each run and each of file, plan and report, with the first key that does."""
    lines = []
    for name in (name for name in (*recorded, *(name for name in now if name not in recorded))):
        before, after = recorded.get(name), now.get(name)
        if before is None or after is None:
            lines.append(f"{name}: only in the {'record' if after is None else 'new runs'}")
            continue
        for part in (
            part for part in dict.fromkeys((*before, *after)) if before.get(part) != after.get(part)
        ):
            lines.append(f"{name}: {part}{_first_difference(before.get(part), after.get(part))}")
    return lines


def _first_difference(before: Any, after: Any) -> str:
    if not isinstance(before, dict) or not isinstance(after, dict):
        return "" if before and after else f" ({before or 'none'} -> {after or 'none'})"
    keys = [key for key in dict.fromkeys((*before, *after)) if before.get(key) != after.get(key)]
    return f" at {keys[0]}" + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")


def select(names: Sequence[str]) -> dict[str, Case | Look]:
    """The cases with these names, or all."""
    available = cases()
    unknown = [name for name in names if name not in available]
    if unknown:
        raise SystemExit(f"there is no run {unknown[0]!r}; the runs are {', '.join(available)}")
    return {name: case for name, case in available.items() if not names or name in names}


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a record, or check one; 1 when something differs."""
    parser = argparse.ArgumentParser(description="Record what graphopt makes of models, or check a record.")
    parser.add_argument("record", type=Path, help="the file of the record")
    parser.add_argument("--check", action="store_true", help="compare with the record instead of writing it")
    parser.add_argument("--only", nargs="+", default=(), metavar="RUN", help="only these runs")
    asked = parser.parse_args(arguments)
    chosen = select(asked.only)
    now = run_all(chosen, lambda name: print(name, file=sys.stderr, flush=True))
    if not asked.check:
        asked.record.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        return 0
    recorded = json.loads(asked.record.read_text(encoding="utf-8"))
    lines = differences({name: recorded[name] for name in recorded if not asked.only or name in chosen}, now)
    print("\n".join(lines) or f"{len(now)} runs, nothing differs")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
