"""Write timm networks with random weights as ONNX files; runs in an environment that has torch and timm.

``python exports.py FOLDER [PATTERN...]`` writes ``FOLDER/NAME.legacy.onnx`` (the tracing exporter) and
``FOLDER/NAME.dynamo.onnx`` (the exporter built on torch.export) for each network whose name matches and
that is not there yet.  What cannot be exported leaves ``NAME.KIND.txt`` with the reason.
"""

from __future__ import annotations

import argparse
import fnmatch
import traceback
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

LEGACY_OPSET, DYNAMO_OPSET = 17, 18


@dataclass(frozen=True)
class Family:
    """A network of timm and the side of its square input."""

    name: str
    side: int = 224
    is_sized: bool = False  # its constructor asks for the side

    def at(self, side: int) -> Family:
        """The same network for another side."""
        return replace(self, side=side)

    @property
    def arguments(self) -> dict[str, Any]:
        """What its constructor needs for the side."""
        return {"img_size": self.side} if self.is_sized else {}


FAMILIES = (
    Family("convnext_atto"),
    Family("densenet121", 128),
    Family("edgenext_xx_small"),
    Family("efficientformerv2_s0"),
    Family("fastvit_t8"),
    Family("mobilenetv4_conv_small"),
    Family("mobilevit_xxs"),
    Family("mobilevitv2_050"),
    Family("poolformer_s12", 128),
    Family("repvit_m0_9"),
    Family("resnetv2_50", 128),
    Family("swin_tiny_patch4_window7_224", is_sized=True),
    Family("vit_tiny_patch16_224", is_sized=True),
    Family("xcit_nano_12_p16_224"),
)


def network(family: Family) -> tuple[torch.nn.Module, torch.Tensor]:
    """Return a network in evaluation mode, with weights drawn from its name, and an input for it."""
    import timm

    torch.manual_seed(zlib.crc32(family.name.encode()))
    net = timm.create_model(family.name, pretrained=False, **family.arguments)
    settle(net)
    return net.eval(), torch.rand(1, 3, family.side, family.side)


def settle(net: torch.nn.Module) -> None:
    """Give normalisations statistics and layer scales sizes at which they count."""
    for module in net.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
    for name, parameter in net.named_parameters():
        if parameter.ndim < 4 and name.rsplit(".", 1)[-1].startswith(("gamma", "layer_scale")):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)


def legacy(net: torch.nn.Module, x: torch.Tensor, path: Path) -> None:
    """Trace the network."""
    torch.onnx.export(net, (x,), path, opset_version=LEGACY_OPSET, dynamo=False)


def dynamo(net: torch.nn.Module, x: torch.Tensor, path: Path) -> None:
    """Export the network's program."""
    torch.onnx.export(
        net, (x,), path, opset_version=DYNAMO_OPSET, dynamo=True, external_data=False, verbose=False
    )


KINDS: dict[str, Callable[[torch.nn.Module, torch.Tensor, Path], None]] = {
    "legacy": legacy,
    "dynamo": dynamo,
}


def write(family: Family, kind: str, folder: Path) -> None:
    """Export one network in one way; the file appears only when it is complete."""
    path, reason = folder / f"{family.name}.{kind}.onnx", folder / f"{family.name}.{kind}.txt"
    if path.exists():
        return
    draft = path.with_suffix(".part")
    try:
        with torch.no_grad():
            KINDS[kind](*network(family), draft)
    except Exception:
        reason.write_text(traceback.format_exc(), encoding="utf-8")
        draft.unlink(missing_ok=True)
        print(f"{path.name}: not exported, see {reason.name}")
        return
    reason.unlink(missing_ok=True)
    draft.rename(path)
    print(path.name, flush=True)


def main() -> None:
    """Export what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("patterns", nargs="*", default=["*"], help="networks whose names match")
    parser.add_argument("--kind", choices=[*KINDS, "all"], default="all")
    parser.add_argument("--side", type=int, help="side of the input instead of each network's own")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    kinds = list(KINDS) if asked.kind == "all" else [asked.kind]
    for family in FAMILIES:
        if any(fnmatch.fnmatch(family.name, pattern) for pattern in asked.patterns):
            for kind in kinds:
                write(family.at(asked.side or family.side), kind, asked.folder)


if __name__ == "__main__":
    main()
