"""Train a detector or a segmenter on scenes and write it with the TorchScript exporter."""

from __future__ import annotations

from pathlib import Path

import torch

from make_models_parts.dense_networks import Detector, Segmenter
from make_models_parts.dense_training import box_loss, mask_loss, train
from make_models_parts.fashion import Split
from make_models_parts.metadata import describe
from make_models_parts.scenes import SIDE
from make_models_parts.torch_export import export
from make_models_parts.training import Schedule

KINDS = {
    "detector": (Detector, box_loss, "boxes", "object detection"),
    "segmenter": (Segmenter, mask_loss, "classes", "semantic segmentation"),
}


def make(name: str, path: Path, split: Split, schedule: Schedule, seed: int) -> None:
    """Build, train and export to `path`; the same seed, machine and thread count give the same weights."""
    build, loss_of, output, task = KINDS[name]
    torch.manual_seed(seed)
    network = build()
    train(network, loss_of, split, schedule, seed)
    export(network, path, SIDE, output)
    describe(path, task)
