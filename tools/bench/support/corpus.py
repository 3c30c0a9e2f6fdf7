"""What the whole job does to every real model of the corpus, with real data where there is some."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.bench.support import subject
from tools.bench.support.measure import Run, run
from tools.bench.support.session import Session
from tools.bench.support.tables import Goal, Record, show, show_goals

PASSES = "clean,fold-bn,prune,quant"
IMAGENET = "size=224;interpolation=bicubic;mean=127;std=128"
CIFAR = "scale=0.00392156862745098;mean=0.485,0.456,0.406;std=0.229,0.224,0.225"
FASHION = "scale=0.00392156862745098;mean=0.2860;std=0.3530"
FACES = "mean=127;std=128"
TEXT = "scale=0.00392156862745098;mean=0.5;std=0.5"


@dataclass(frozen=True)
class Job:
    """One model and the data it is optimized with; texts as on the command line, ``{data}`` is the folder."""

    model: str
    calibration: str = ""
    evaluation: str = ""
    preprocess: str = ""
    passes: str = PASSES
    flags: tuple[str, ...] = ()

    def command(self, start: list[str], corpus: Path, output: Path, report: Path) -> list[str]:
        """The command line of this job."""
        source = corpus / "models" / f"{self.model}.onnx"
        named = {"calibration": self.calibration, "evaluation": self.evaluation}
        data = [f"--{key}={text.format(data=corpus / 'data')}" for key, text in named.items() if text]
        recipe = [f"--preprocess={self.preprocess}"] if self.preprocess else []
        flags = (*data, *recipe, *self.flags, f"--report={report}", "--threads=1")
        return subject.optimize(start, source, output, self.passes, *flags)


def _cifar(model: str) -> Job:
    archive = "{data}/cifar10_jpeg.tar"
    return Job(model, f"{archive}#train::256", f"{archive}#test", CIFAR)


def _fashion(model: str) -> Job:
    samples = "{data}/fashion_mnist_test10k_calib2k.npz"
    return Job(model, f"{samples}#x_calib::256", f"{samples}#x_test,y_test", FASHION)


PHOTOS = "{data}/imagenet-dev"
UNLABELLED = f"{PHOTOS}/images"  # the same photos, for models with other classes
LITE0 = Job("efficientnet_lite0_bn", f"{PHOTOS}::64", f"{PHOTOS}::64:", IMAGENET)
JOBS = (
    LITE0,
    Job(LITE0.model, LITE0.calibration, LITE0.evaluation, IMAGENET, "clean,fold-bn,quant"),
    _cifar("cifar_resnet20_bn"),
    _cifar("cifar_resnet20_dynamo_raw"),
    _cifar("cifar_resnet20_dynamo_opt"),
    _fashion("fashion_resnet14_bn"),
    _fashion("fashion_mnv2_bn"),
    Job("ppocr_v4_det", f"{UNLABELLED}::32", "", f"size=320;{TEXT}", flags=("--shape=x=1x3x320x320",)),
    Job("ppocr_v2_cls", f"{UNLABELLED}::32", "", f"size=48x192;{TEXT}", flags=("--shape=x=1x3x48x192",)),
    Job("ulfd_rfb320", f"{UNLABELLED}::32", "", FACES, "clean:freeze=true,fold-bn,prune,quant"),
    Job("mtcnn_onet", f"{UNLABELLED}::32", "", f"size=48;{FACES}"),
    Job("paddle_mobilenet_v1_rand", f"{UNLABELLED}::32", "", IMAGENET),
    Job("silero_vad"),
)
AGREEMENT, POINTS, SPEED = 0.97, 1.0, 1.8  # of Lite0 in INT8


def bench(session: Session, corpus: Path) -> Record:
    """Run every job, print a row each and the goals; the record of it all."""
    record = session.record("corpus")
    rows = []
    for number, job in enumerate(JOBS):
        output, report = (session.scratch / f"{number}-{job.model}.{kind}" for kind in ("onnx", "json"))
        done = run(job.command(session.start, corpus, output, report), session.scratch, session.limits)
        found = json.loads(report.read_text(encoding="utf-8")) if done.ok else None
        record.rows.append({"model": job.model, "passes": job.passes, "cpu": done.cpu, "report": found})
        rows.append(_printed(job, done, found))
        record.goals += _goals(job, done, found)
    show("the whole job on every model of the corpus", COLUMNS, rows)
    show_goals(record.goals)
    return record


COLUMNS = (
    *("model", "passes", "bytes", "MACs left", "time left", "top-1", "agreement", "SNR dB", "CPU s"),
    "remark",
)


def _printed(job: Job, done: Run, found: dict[str, Any] | None) -> tuple[str, ...]:
    if found is None:
        return (job.model, job.passes, *("-",) * 6, f"{done.cpu:.0f}", done.complaint)
    before, after = found["before"], found["after"]
    decibels = min(found["agreement"].get("snr_db", {}).values(), default=None)
    return (
        job.model,
        job.passes,
        f"{before['bytes']:,} -> {after['bytes']:,}",
        _ratio(before, after, "macs"),
        _ratio(before, after, "latency_ms"),
        _top1(before, after),
        _figure(found["agreement"].get("top1"), ".4f"),
        _figure(decibels, ".1f"),
        f"{done.cpu:.0f}",
        "; ".join(f"{entry['name']} changed nothing" for entry in found["passes"] if not entry["changes"]),
    )


def _goals(job: Job, done: Run, found: dict[str, Any] | None) -> list[Goal]:
    """Every model becomes smaller; Lite0 in INT8 keeps its answers and is faster."""
    if found is None:
        return [Goal(job.model, "runs", None, 0)]
    before, after = found["before"], found["after"]
    smaller = Goal(job.model, f"bytes, {job.passes}", after["bytes"], before["bytes"])
    if job.model != LITE0.model or job.passes == PASSES:
        return [smaller]
    lost = 100 * (before["metrics"]["top1"] - after["metrics"]["top1"])
    return [
        smaller,
        Goal(job.model, "INT8: points of top-1 lost", lost, POINTS),
        Goal(job.model, "INT8: answers that changed", 1 - found["agreement"]["top1"], 1 - AGREEMENT),
        Goal(job.model, "INT8: time left", after["latency_ms"] / before["latency_ms"], 1 / SPEED),
    ]


def _ratio(before: dict[str, Any], after: dict[str, Any], key: str) -> str:
    return f"{after[key] / before[key]:.3f}" if before.get(key) and after.get(key) else "-"


def _top1(before: dict[str, Any], after: dict[str, Any]) -> str:
    if "top1" not in before["metrics"]:
        return "-"
    return f"{before['metrics']['top1']:.4f} -> {after['metrics']['top1']:.4f}"


def _figure(value: float | None, pattern: str) -> str:
    return "-" if value is None else format(value, pattern)
