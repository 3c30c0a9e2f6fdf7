"""A detector and a segmenter for scenes; widths are multiples of 16, in which channels are pruned."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from make_models_parts.networks import CLASS_COUNT, ResidualBlock, conv_bn

STRIDE = 8  # pixels between the cells of the detector's grid


class Cells(NamedTuple):
    """What the detector says of each cell: logits (N, K, H, W) and left, top, right, bottom (N, 4, H, W).

    The four distances from the cell's centre are in units of ``STRIDE`` and positive.
    """

    logits: Tensor
    distances: Tensor


class Detector(nn.Module):
    """One box for each cell of a grid, without anchors (FCOS, Tian et al. 2019).

    In inference it answers as Ultralytics' YOLOv8 does: (N, 4 + K, cells), box centre and size in pixels,
    then a score for each class.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(1, 16, stride=2)
        self.block1 = ResidualBlock(16, 32, stride=2)
        self.block2 = ResidualBlock(32, 64, stride=2)
        self.block3 = ResidualBlock(64, 64)
        self.neck = conv_bn(64, 64)
        self.classes = nn.Conv2d(64, CLASS_COUNT, 1)
        self.boxes = nn.Conv2d(64, 4, 1)
        nn.init.constant_(self.classes.bias, -4.0)  # few cells hold an item

    def cells(self, x: Tensor) -> Cells:
        """The two heads, as training needs them."""
        x = torch.relu(self.stem(x))
        x = self.block3(self.block2(self.block1(x)))
        x = torch.relu(self.neck(x))
        return Cells(self.classes(x), nn.functional.softplus(self.boxes(x)))

    def forward(self, x: Tensor) -> Tensor:
        found = self.cells(x)
        left_top, right_bottom = found.distances.flatten(2).split(2, 1)
        centres = grid_centres(found.logits.shape[2], found.logits.shape[3])
        middle = (centres + (right_bottom - left_top) / 2) * STRIDE
        size = (left_top + right_bottom) * STRIDE
        return torch.cat((middle, size, found.logits.flatten(2).sigmoid()), 1)


def grid_centres(height: int, width: int) -> Tensor:
    """Centres x, y of all cells in units of ``STRIDE``: (1, 2, height * width)."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack((columns.flatten(), rows.flatten()))[None] + 0.5


class Segmenter(nn.Module):
    """A small U-Net (Ronneberger et al. 2015) at half resolution: (N, 1, S, S) to logits (N, K + 1, S, S)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(1, 16, stride=2)
        self.down1 = ResidualBlock(16, 32, stride=2)
        self.down2 = ResidualBlock(32, 64, stride=2)
        self.deep = ResidualBlock(64, 64)
        self.up1 = nn.ConvTranspose2d(64, 32, 2, 2)
        self.merge1 = conv_bn(64, 32)
        self.up2 = nn.ConvTranspose2d(32, 16, 2, 2)
        self.merge2 = conv_bn(32, 16)
        self.classes = nn.Conv2d(16, CLASS_COUNT + 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        half = torch.relu(self.stem(x))
        quarter = self.down1(half)
        eighth = self.deep(self.down2(quarter))
        quarter = torch.relu(self.merge1(torch.cat((self.up1(eighth), quarter), 1)))
        half = torch.relu(self.merge2(torch.cat((self.up2(quarter), half), 1)))
        return nn.functional.interpolate(self.classes(half), scale_factor=2.0, mode="bilinear")
