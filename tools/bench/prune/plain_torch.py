"""Train small networks without normalisation and residual sums on Fashion-MNIST.

``python plain_torch.py NAME OUTPUT [--data DIR] [--epochs N]``, in an environment with torch, trains one
network, prints its top-1 on the test images after each epoch and writes ONNX.  ``fire`` has fire modules as
SqueezeNet 1.1 has (squeeze, two expanding branches, Concat), MaxPool between them, a 1x1 classifier and the
mean over positions at the end; ``chain`` has 3x3 convolutions of about the same MACs one after the other, and
the same end.  DIR holds the data set's four ``.gz`` files, as Debian's ``dataset-fashion-mnist`` has.
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

DATA = "/usr/share/datasets/fashion-mnist"
MEAN, STD = 0.286, 0.353
BATCH, RATE, DECAY = 128, 4e-3, 1e-3
OPSET = 17
CLASSES = 10


class Fire(nn.Module):
    """A narrow 1x1 layer, and two layers that widen what it makes, side by side."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.one, self.three = nn.Conv2d(squeeze, expand, 1), nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return both branches, concatenated."""
        x = functional.relu(self.squeeze(x))
        return torch.cat([functional.relu(self.one(x)), functional.relu(self.three(x))], 1)


def fire() -> nn.Module:
    """Return four fire modules, about 0.9 million MACs."""
    first = [Fire(32, 16, 32), Fire(64, 16, 32), nn.MaxPool2d(2)]
    second = [Fire(64, 24, 48), Fire(96, 24, 48)]
    return nn.Sequential(*_conv(1, 32, 2), nn.MaxPool2d(2), *first, *second, *_end(96))


def chain() -> nn.Module:
    """Return five 3x3 convolutions, about 0.9 million MACs."""
    first = [*_conv(32, 24), *_conv(24, 24), nn.MaxPool2d(2)]
    second = [*_conv(24, 44), *_conv(44, 44)]
    return nn.Sequential(*_conv(1, 32, 2), nn.MaxPool2d(2), *first, *second, *_end(44))


def _conv(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.ReLU()]


def _end(inputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, CLASSES, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]


NETWORKS = {"fire": fire, "chain": chain}


def load(folder: Path, part: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images of a part, normalised, (N, 1, 28, 28) float32, and their classes."""
    raw = np.frombuffer(
        gzip.decompress((folder / f"{part}-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16
    )
    labels = np.frombuffer(
        gzip.decompress((folder / f"{part}-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8
    )
    images = (raw.reshape(-1, 1, 28, 28).astype(np.float32) / 255 - MEAN) / STD
    return torch.from_numpy(images.astype(np.float32)), torch.from_numpy(labels.astype(np.int64))


def train(net: nn.Module, folder: Path, epochs: int) -> None:
    """Train from scratch: AdamW, one cycle of the rate, mirrored images."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)
    images, labels = load(folder, "train")
    optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=DECAY)
    rounds = len(images) // BATCH
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, epochs * rounds)
    for epoch in range(epochs):
        order = torch.randperm(len(images))
        for number in range(rounds):
            chosen = order[number * BATCH : (number + 1) * BATCH]
            batch = images[chosen].flip(3) if torch.rand(()) < 0.5 else images[chosen]
            loss = functional.cross_entropy(net(batch), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
        print(f"epoch {epoch + 1}: {accuracy(net, folder):.4f}", flush=True)


def accuracy(net: nn.Module, folder: Path) -> float:
    """Return the top-1 on the test images."""
    images, labels = load(folder, "t10k")
    with torch.no_grad():
        answers = torch.cat([net(batch).argmax(1) for batch in images.split(500)])
    return float((answers == labels).float().mean())


def main() -> None:
    """Train and export what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(NETWORKS))
    parser.add_argument("output", type=Path)
    parser.add_argument("--data", type=Path, default=Path(DATA))
    parser.add_argument("--epochs", type=int, default=4)
    given = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    net = NETWORKS[given.name]()
    train(net, given.data, given.epochs)
    axes = {"input": {0: "N"}, "output": {0: "N"}}
    example = torch.zeros(1, 1, 28, 28)
    torch.onnx.export(
        net.eval(),
        (example,),
        str(given.output),
        input_names=["input"],
        output_names=["output"],
        dynamic_axes=axes,
        dynamo=False,
        opset_version=OPSET,
    )


if __name__ == "__main__":
    main()
