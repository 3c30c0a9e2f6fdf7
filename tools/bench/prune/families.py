"""The torchvision networks that pruning is held to: one or more of every family, by three exporters."""

from __future__ import annotations

import fnmatch
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from tools.bench.support.peers import DEFAULT_ENVIRONMENT

EXPORT_SCRIPT = Path(__file__).with_name("families_export.py")
DEFAULT_EXPORTS = DEFAULT_ENVIRONMENT / "families"
INSTALL = "torch==2.13.0 torchvision==0.28.0 torch-pruning onnx onnxscript"

LEGACY = (
    *("resnet18", "resnet34", "resnet50", "resnext50_32x4d", "wide_resnet14_2"),
    *("regnet_x_400mf", "regnet_y_400mf", "regnet_x_800mf", "regnet_y_800mf"),
    *("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large"),
    *("mnasnet0_5", "mnasnet1_0", "efficientnet_b0", "efficientnet_b3", "efficientnet_v2_s"),
    *("shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0"),
    *("densenet121", "googlenet", "inception_v3", "squeezenet1_0", "squeezenet1_1", "convnext_tiny"),
    *("lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "fcn_resnet50", "deeplabv3_resnet50"),
)
DYNAMO = (  # one of each family
    *("resnet18", "resnext50_32x4d", "wide_resnet14_2", "regnet_y_400mf", "mobilenet_v2"),
    *("mobilenet_v3_small", "mnasnet1_0", "efficientnet_b0", "shufflenet_v2_x1_0", "densenet121"),
    *("googlenet", "inception_v3", "squeezenet1_1", "convnext_tiny", "lraspp_mobilenet_v3_large"),
    *("deeplabv3_mobilenet_v3_large", "fcn_resnet50"),
)
NORMALISED_OVER_CHANNELS = ("convnext_tiny",)  # exact pruning cannot reach most of their convolutions


@dataclass(frozen=True)
class Subject:
    """One exported file and how it is pruned."""

    name: str
    kind: str
    inexact: bool = False

    @property
    def title(self) -> str:
        """The name in tables."""
        return f"{self.name} {self.kind}{' inexact' if self.inexact else ''}"

    def path(self, folder: Path) -> Path:
        """Where its export lies."""
        return folder / f"{self.name}.{self.kind}.onnx"


def subjects(pattern: str) -> list[Subject]:
    """All files to prune whose name matches, the file with each way to prune it."""
    kinds = [("kept", LEGACY), ("folded", LEGACY), ("dynamo", DYNAMO)]
    pairs = [(name, kind) for kind, names in kinds for name in names if fnmatch.fnmatchcase(name, pattern)]
    return [
        Subject(name, kind, inexact)
        for name, kind in pairs
        for inexact in ((False, True) if name in NORMALISED_OVER_CHANNELS else (False,))
    ]


def ensure_exports(chosen: Sequence[Subject], folder: Path, python: Path) -> None:
    """Export what is not there yet; raises a usage error that says what is missing."""
    missing = dict.fromkeys(f"{s.name}:{s.kind}" for s in chosen if not s.path(folder).exists())
    if not missing:
        return
    if not python.exists():
        raise click.UsageError(
            f"{len(missing)} exports are missing in {folder} and there is no Python at {python}: make an "
            f"environment with {INSTALL} and name it with --torch-env"
        )
    subprocess.run([str(python), "-W", "ignore", str(EXPORT_SCRIPT), str(folder), *missing], check=False)
