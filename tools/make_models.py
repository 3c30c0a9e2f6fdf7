#!/usr/bin/env python3
"""Make the sample models and samples in `models/` from Fashion-MNIST: classifiers, a detector, a segmenter.

Requirements beyond graphopt's own (they are needed to make the models, not to use them):

    apt-get install dataset-fashion-mnist        # or the four IDX files in a folder of your own, see --data
    pip install torch==2.13.0 paddlepaddle==3.3.1 paddle2onnx==2.1.0 onnx onnxruntime numpy pillow

The steps are files in, files out: `--only paddle` reads the residual model that lies in --out, so PyTorch and
PaddlePaddle may live in two environments. The same seed, machine and thread count give the same files.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from make_models_parts.check import check, largest_difference
from make_models_parts.fashion import Split, read_split, write_samples

CALIBRATION_IMAGES = 512
EVALUATION_IMAGES = 2000
CALIBRATION_SCENES = 256
EVALUATION_SCENES = 300
PADDLE_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Job:
    """What every step needs to know."""

    out: Path
    train: Split
    test: Split
    seed: int
    threads: int
    epochs: int


def make_torch_model(architecture: str, target: float, job: Job) -> None:
    """Train the network of that name and keep it when its test top-1 reaches `target`."""
    import torch
    from make_models_parts import networks, torch_export
    from make_models_parts.training import Schedule

    torch.set_num_threads(job.threads)
    path = job.out / f"fashion_{architecture}.onnx"
    torch_export.make(getattr(networks, architecture), path, job.train, Schedule(job.epochs), job.seed)
    check(path, job.test, EVALUATION_IMAGES, target)


def make_attention_model(architecture: str, target: float, epochs: int, job: Job) -> None:
    """Train the transformer or the hybrid of that name and keep it when its test top-1 reaches `target`."""
    import torch
    from make_models_parts import torch_export, transformers
    from make_models_parts.training import Schedule

    torch.set_num_threads(job.threads)
    path = job.out / f"fashion_{architecture}.onnx"
    schedule = Schedule(
        epochs, batch=64, learning_rate=2e-3, weight_decay=0.05, shift=1, erased=0.0, adaptive=True
    )
    torch_export.make(getattr(transformers, architecture), path, job.train, schedule, job.seed)
    check(path, job.test, EVALUATION_IMAGES, target)


def make_paddle_model(target: float, job: Job) -> None:
    """Write the residual model through PaddlePaddle and compare it with the PyTorch export."""
    from make_models_parts import paddle_export

    source, path = job.out / "fashion_residual.onnx", job.out / "fashion_residual_paddle.onnx"
    paddle_export.make(source, path)
    check(path, job.test, EVALUATION_IMAGES, target)
    difference = largest_difference(path, source, job.test)
    print(f"{path.name}: differs from {source.name} by at most {difference:.1e}")
    if difference > PADDLE_TOLERANCE:
        raise ValueError(f"{path} differs by {difference:.1e}: weights were not copied over")


def make_samples(job: Job) -> None:
    """Write the images to calibrate on and to evaluate on."""
    path = job.out / "fashion_samples.npz"
    counts = {"calibration": CALIBRATION_IMAGES, "evaluation": EVALUATION_IMAGES}
    write_samples(path, job.train, job.test, **counts, seed=job.seed)
    print(f"{path.name}: {counts}, {path.stat().st_size} bytes")


def make_scenes(job: Job) -> None:
    """Write scenes to calibrate on and scenes with boxes and masks to evaluate on."""
    import numpy as np
    from make_models_parts.scenes import compose, write_scenes

    path = job.out / "fashion_scenes.npz"
    calibration = compose(job.train, CALIBRATION_SCENES, np.random.default_rng([job.seed, 1]))
    evaluation = compose(job.test, EVALUATION_SCENES, np.random.default_rng([job.seed, 2]))
    write_scenes(path, calibration, evaluation)
    print(f"{path.name}: {CALIBRATION_SCENES} + {EVALUATION_SCENES} scenes, {path.stat().st_size} bytes")


def make_dense_model(name: str, metric: str, target: float, epochs: int, rate: float, job: Job) -> None:
    """Train the detector or the segmenter on scenes and keep it when its metric reaches `target`."""
    import torch
    from make_models_parts import dense_export
    from make_models_parts.check import check_scenes
    from make_models_parts.training import Schedule

    torch.set_num_threads(job.threads)
    path = job.out / f"fashion_{name}.onnx"
    schedule = Schedule(epochs, batch=64, learning_rate=rate)
    dense_export.make(name, path, job.train, schedule, job.seed)
    check_scenes(path, job.out / "fashion_scenes.npz", metric, target)


STEPS: dict[str, Callable[[Job], None]] = {
    "samples": make_samples,
    "residual": partial(make_torch_model, "residual", 0.915),
    "depthwise": partial(make_torch_model, "depthwise", 0.91),
    "transformer": partial(make_attention_model, "transformer", 0.9, 6),
    "hybrid": partial(make_attention_model, "hybrid", 0.9, 6),
    "paddle": partial(make_paddle_model, 0.915),
    "scenes": make_scenes,
    "detector": partial(make_dense_model, "detector", "mAP", 0.7, 16, 0.08),
    "segmenter": partial(make_dense_model, "segmenter", "mIoU", 0.65, 8, 0.2),
}


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--out", type=Path, default=Path("models"), help="folder to write to (models)")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("/usr/share/datasets/fashion-mnist"),
        help="folder of the four *-ubyte.gz files (default: where Debian puts them, %(default)s)",
    )
    parser.add_argument("--only", choices=STEPS, action="append", help="do this step alone; may be repeated")
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches and drawn samples (0)")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch while training (1)")
    parser.add_argument("--epochs", type=int, default=8, help="of each classifier (8, 10 to 15 CPU minutes)")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    train, test = read_split(arguments.data, "train"), read_split(arguments.data, "t10k")
    job = Job(arguments.out, train, test, arguments.seed, arguments.threads, arguments.epochs)
    for name in arguments.only or STEPS:
        STEPS[name](job)


if __name__ == "__main__":
    main()
