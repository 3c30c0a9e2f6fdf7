"""Train the detector and the segmenter on scenes that are composed anew for every epoch."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from make_models_parts.dense_networks import CLASS_COUNT, STRIDE, Detector, grid_centres
from make_models_parts.fashion import MEAN, STD, Split
from make_models_parts.scenes import Scenes, compose
from make_models_parts.training import Schedule, optimizer_of, report

SCENES = 8192  # of one epoch
NEAR = 1.5  # cells from a box's centre within which cells learn the box
FOCUS = 2.0  # gamma of the focal loss
CLIP = 5.0

Loss = Callable[[nn.Module, Tensor, Scenes, np.ndarray], Tensor]


def train(network: nn.Module, loss_of: Loss, split: Split, schedule: Schedule, seed: int) -> None:
    """Train ``network`` in place and leave it in inference mode."""
    rng = np.random.default_rng(seed)
    network.train()
    optimizer, rate = optimizer_of(network, schedule, SCENES // schedule.batch)
    for epoch in range(schedule.epochs):
        started, total = time.perf_counter(), 0.0
        scenes = compose(split, SCENES, rng)
        for chosen in np.split(np.arange(SCENES), SCENES // schedule.batch):
            images = (torch.from_numpy(scenes.images[chosen]).float() / 255 - MEAN) / STD
            loss = loss_of(network, images, scenes, chosen)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), CLIP)
            optimizer.step()
            rate.step()
            total += loss.item() * len(chosen)
        report(epoch, total / SCENES, time.perf_counter() - started)
    network.eval()


def mask_loss(network: nn.Module, images: Tensor, scenes: Scenes, chosen: np.ndarray) -> Tensor:
    """Cross-entropy of every pixel."""
    masks = torch.from_numpy(scenes.masks[chosen]).long()
    return nn.functional.cross_entropy(network(images), masks)


def box_loss(network: nn.Module, images: Tensor, scenes: Scenes, chosen: np.ndarray) -> Tensor:
    """Focal loss of the classes, and one minus the generalised IoU of the boxes of cells near an item."""
    assert isinstance(network, Detector)
    found = network.cells(images)
    boxes = torch.from_numpy(scenes.boxes[chosen])
    height, width = found.logits.shape[2:]
    owner = _owners(boxes, height, width)  # (N, cells), -1 where no item is near
    logits = found.logits.flatten(2).transpose(1, 2)
    owned = owner >= 0
    mine = boxes.gather(1, owner.clamp(min=0)[:, :, None].expand(-1, -1, 5))
    wanted = nn.functional.one_hot(mine[:, :, 0].long().clamp(min=0), CLASS_COUNT) * owned[:, :, None]
    count = owned.sum().clamp(min=1)
    centres = grid_centres(height, width).transpose(1, 2)
    distances = found.distances.flatten(2).transpose(1, 2)
    corners = torch.cat((centres - distances[:, :, :2], centres + distances[:, :, 2:]), 2)
    overlap = _generalised_iou(corners[owned], mine[owned][:, 1:] / STRIDE)
    return _focal(logits, wanted.float()) / count + 2.0 * (1 - overlap).sum() / count


def _owners(boxes: Tensor, height: int, width: int) -> Tensor:
    """The item that each cell answers for: the nearest whose box holds the cell, near its centre."""
    centres = grid_centres(height, width)[0].T  # (cells, 2)
    corners = boxes[:, :, 1:] / STRIDE
    middle = (corners[:, :, :2] + corners[:, :, 2:]) / 2
    offset = centres[None, None] - middle[:, :, None]  # (N, items, cells, 2)
    inside = (centres > corners[:, :, None, :2]) & (centres < corners[:, :, None, 2:])
    usable = inside.all(3) & (offset.abs() < NEAR).all(3) & (boxes[:, :, :1] >= 0)
    distance = offset.square().sum(3).masked_fill(~usable, torch.inf)
    nearest = distance.min(1)
    return torch.where(nearest.values.isfinite(), nearest.indices, -1)


def _focal(logits: Tensor, wanted: Tensor) -> Tensor:
    """Focal loss (Lin et al. 2017), summed."""
    plain = nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    wrong = (logits.sigmoid() - wanted).abs()
    return (wrong.pow(FOCUS) * plain).sum()


def _generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised IoU of rows left, top, right, bottom (Rezatofighi et al. 2019)."""
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    areas = [(rows[:, 2:] - rows[:, :2]).prod(1) for rows in (a, b)]
    union = areas[0] + areas[1] - shared
    hull = (torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])).prod(1)
    return shared / union - (hull - union) / hull.clamp(min=1e-6)
