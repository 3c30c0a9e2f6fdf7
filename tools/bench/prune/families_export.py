"""Write torchvision networks with random weights as ONNX files; runs in the environment that has torchvision.

``python families_export.py FOLDER NAME:KIND...`` writes ``FOLDER/NAME.KIND.onnx`` for each pair not
there yet.  Kinds: ``kept`` (legacy exporter, BatchNormalization nodes stay), ``folded`` (legacy exporter,
normalisations folded into convolutions) and ``dynamo`` (the exporter built on torch.export).  A pair that
cannot be exported leaves ``NAME.KIND.txt`` with the reason.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
import traceback
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

SMALL = {"inception_v3": 96, "googlenet": 64, "densenet": 64}  # what the deepest pyramids still run at
SIZE = 64
SEGMENTATION = ("lraspp", "deeplabv3", "fcn")
CLASSES, SEGMENTATION_CLASSES = 1000, 8
OPSET = 17
DYNAMO_OPSET = 18


def without_kernels() -> list[torch.library.Library]:
    """Let torchvision be imported where its compiled operators do not fit the torch that is there.

    It registers shape rules for them when it is imported, so they are declared, without any code.  They stay
    declared as long as the result is held.
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise SystemExit("torchvision is not installed here")
    rules = Path(spec.origin).with_name("_meta_registrations.py").read_text(encoding="utf-8")
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in sorted(set(re.findall(r'register_fake\("torchvision::(\w+)"\)', rules))):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor x) -> Tensor")
    return [library]


def build(name: str) -> torch.nn.Module:
    """Return a network in evaluation mode, with weights and statistics of usual size drawn from its name."""
    from torchvision import models

    torch.manual_seed(zlib.crc32(name.encode()))
    if name.startswith(SEGMENTATION):
        classes = SEGMENTATION_CLASSES
        net = getattr(models.segmentation, name)(weights=None, weights_backbone=None, num_classes=classes)
    elif name == "wide_resnet14_2":  # the family, in a size that stays below the limit
        net = models.resnet.ResNet(models.resnet.Bottleneck, [1, 1, 1, 1], width_per_group=128)
    else:
        extra: dict[str, Any] = {"weights": None}
        if name in ("googlenet", "inception_v3"):
            extra |= {"aux_logits": False, "init_weights": False}
        net = getattr(models, name)(**extra)
    settle(net)
    return net.eval()


def settle(net: torch.nn.Module) -> None:
    """Give normalisations statistics, and layer scales a size at which their branch counts."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, 0, 0.1)
    for parameter_name, parameter in net.named_parameters():
        if parameter_name.endswith("layer_scale"):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)


class Out(torch.nn.Module):
    """A segmentation network hands out a dictionary; this one tensor of it is exported."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the map of scores."""
        return self.net(x)["out"]


def legacy(net: torch.nn.Module, x: torch.Tensor, path: Path, keep: bool) -> None:
    """Export by tracing; ``keep`` leaves BatchNormalization nodes alone."""
    mode = torch.onnx.TrainingMode.PRESERVE if keep else torch.onnx.TrainingMode.EVAL
    torch.onnx.export(
        net,
        (x,),
        str(path),
        dynamo=False,
        training=mode,
        do_constant_folding=not keep,
        opset_version=OPSET,
        input_names=["input"],
        output_names=["output"],
    )


def dynamo(net: torch.nn.Module, x: torch.Tensor, path: Path) -> None:
    """Export with torch.export."""
    torch.onnx.export(
        net, (x,), str(path), dynamo=True, opset_version=DYNAMO_OPSET, external_data=False, verbose=False
    )


EXPORTERS: dict[str, Callable[[torch.nn.Module, torch.Tensor, Path], None]] = {
    "kept": lambda net, x, path: legacy(net, x, path, keep=True),
    "folded": lambda net, x, path: legacy(net, x, path, keep=False),
    "dynamo": dynamo,
}


def network(name: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """Return a network that gives one tensor, and an input for it."""
    net = build(name)
    if name.startswith(SEGMENTATION):
        net = Out(net).eval()
    size = next((size for start, size in SMALL.items() if name.startswith(start)), SIZE)
    return net, torch.randn(1, 3, size, size)


def output_modules(net: torch.nn.Module) -> list[torch.nn.Module]:
    """The layers that make the outputs: those with as many channels as there are classes."""
    widths = {CLASSES, SEGMENTATION_CLASSES}
    return [
        module
        for module in net.modules()
        if getattr(module, "out_features", None) in widths
        or (isinstance(module, torch.nn.Conv2d) and module.out_channels in widths and module.bias is not None)
    ]


def export(folder: Path, name: str, kind: str) -> None:
    """Write one file, whole or not at all."""
    net, x = network(name)
    unfinished = folder / f"{name}.{kind}.part"
    with torch.no_grad():
        EXPORTERS[kind](net, x, unfinished)
    unfinished.rename(folder / f"{name}.{kind}.onnx")


def main() -> int:
    """Export what is missing; the number of pairs that could not be."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("pairs", nargs="+", metavar="NAME:KIND")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    held = without_kernels()
    failures = 0
    for pair in arguments.pairs:
        name, kind = pair.split(":")
        path = arguments.folder / f"{name}.{kind}.onnx"
        if path.exists():
            continue
        try:
            export(arguments.folder, name, kind)
        except Exception:  # whatever the exporter raises is a line of the table
            failures += 1
            path.with_suffix(".txt").write_text(traceback.format_exc())
        print(pair, "written" if path.exists() else "failed", flush=True)
    del held
    return failures


if __name__ == "__main__":
    sys.exit(main())
