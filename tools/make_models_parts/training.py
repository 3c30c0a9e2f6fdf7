"""Training on the CPU: everything in tensors, one learning-rate cycle, a few epochs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from make_models_parts.fashion import MEAN, STD, Split

SIZE = 28


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: the learning rate rises for a quarter of the steps and falls to zero."""

    epochs: int
    batch: int = 128
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    label_smoothing: float = 0.05
    shift: int = 2  # pixels
    erased: float = 0.25  # share of the images that lose a rectangle
    adaptive: bool = False  # AdamW in place of SGD with momentum: attention does not learn with the latter


def train(network: nn.Module, split: Split, schedule: Schedule, seed: int) -> None:
    """Train `network` in place on the whole split and leave it in inference mode."""
    randomness = torch.Generator().manual_seed(seed)
    images = torch.tensor(split.images)
    labels = torch.tensor(split.labels, dtype=torch.long)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing from torch's stubs
    network.train()
    optimizer, rate = optimizer_of(network, schedule, len(images) // schedule.batch)
    loss_of = nn.CrossEntropyLoss(label_smoothing=schedule.label_smoothing)
    for epoch in range(schedule.epochs):
        started, total = time.perf_counter(), 0.0
        for chosen in _batches(len(images), schedule.batch, randomness):
            loss = loss_of(network(augment(images[chosen], randomness, schedule)), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rate.step()
            total += loss.item() * len(chosen)
        report(epoch, total / len(images), time.perf_counter() - started)
    network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    network.eval()


def augment(images: Tensor, randomness: torch.Generator, schedule: Schedule) -> Tensor:
    """Mirror, shift by a few pixels and erase a rectangle, at random per image; then normalise.

    `images` is uint8 of shape (N, 1, 28, 28); the result is float32 of the same shape. Padding is black.
    """
    shifted = _shift_and_mirror(images[:, 0], randomness, schedule.shift)
    x = (shifted.float() / 255 - MEAN) / STD
    return x.masked_fill(_rectangles(len(x), randomness, schedule.erased), 0.0).unsqueeze(1)


def report(epoch: int, loss: float, seconds: float) -> None:
    """Say how an epoch went."""
    print(f"epoch {epoch + 1}: loss {loss:.4f}, {seconds:.0f} s", file=sys.stderr, flush=True)


def optimizer_of(
    network: nn.Module, schedule: Schedule, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Gradient descent with one cycle of the learning rate over all steps."""
    optimizer: torch.optim.Optimizer
    if schedule.adaptive:
        optimizer = torch.optim.AdamW(network.parameters(), weight_decay=schedule.weight_decay)
    else:
        optimizer = torch.optim.SGD(
            network.parameters(), momentum=0.9, nesterov=True, weight_decay=schedule.weight_decay
        )
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.learning_rate, total_steps=schedule.epochs * steps, pct_start=0.25
    )
    return optimizer, rate


def _batches(count: int, size: int, randomness: torch.Generator) -> Iterator[Tensor]:
    """Full batches of a fresh permutation; the few images left over wait for the next epoch."""
    order = torch.randperm(count, generator=randomness)
    return iter(torch.split(order[: count - count % size], size))


def _shift_and_mirror(images: Tensor, randomness: torch.Generator, reach: int) -> Tensor:
    count = len(images)
    padded = nn.functional.pad(images, (reach,) * 4)
    offsets = torch.randint(0, 2 * reach + 1, (2, count, 1), generator=randomness)
    mirrored = torch.rand(count, 1, generator=randomness) < 0.5
    line = torch.arange(SIZE)
    rows = line + offsets[0]
    columns = torch.where(mirrored, line.flip(0), line) + offsets[1]
    return padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def _rectangles(count: int, randomness: torch.Generator, probability: float) -> Tensor:
    """True inside one rectangle of 4 to 12 pixels a side for a share of the images: (N, 28, 28)."""
    line = torch.arange(SIZE)
    sides = torch.randint(4, 13, (2, count, 1), generator=randomness)
    starts = (torch.rand(2, count, 1, generator=randomness) * (SIZE + 1 - sides)).long()
    inside = (line >= starts) & (line < starts + sides)
    erased = torch.rand(count, 1, 1, generator=randomness) < probability
    return inside[0][:, :, None] & inside[1][:, None, :] & erased
