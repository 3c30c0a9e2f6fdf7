"""Train one architecture and write it with the TorchScript exporter, batch normalisation kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from make_models_parts.fashion import Split
from make_models_parts.metadata import INPUT, OUTPUT, describe
from make_models_parts.training import SIZE, Schedule, train

OPSET = 17


def make(build: Callable[[], nn.Module], path: Path, split: Split, schedule: Schedule, seed: int) -> None:
    """Build, train and export to `path`; the same seed, machine and thread count give the same weights."""
    torch.manual_seed(seed)
    network = build()
    train(network, split, schedule, seed)
    export(network, path, SIZE, OUTPUT)
    describe(path)


def export(network: nn.Module, path: Path, side: int, output: str) -> None:
    """Write `network`, which is in inference mode, to `path` with a dynamic batch dimension.

    Its input are grey images of ``side`` by ``side`` pixels.

    `PRESERVE` is what keeps BatchNormalization: exporting for `EVAL` folds it into the convolutions. The
    network itself is in inference mode, so the nodes are too.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*legacy TorchScript.*")
        torch.onnx.export(
            network,
            (torch.zeros(2, 1, side, side),),
            path,
            input_names=[INPUT],
            output_names=[output],
            dynamic_axes={INPUT: {0: "batch"}, output: {0: "batch"}},
            opset_version=OPSET,
            do_constant_folding=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            dynamo=False,
        )
