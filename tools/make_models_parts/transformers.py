"""A small vision transformer and a net of convolutions and attention, for 28x28 grey images."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from make_models_parts.networks import CLASS_COUNT, InvertedResidual, conv_bn

WIDTH = 64
HEADS = 4
HIDDEN = 192


class Attention(nn.Module):
    """Self-attention with one projection for queries, keys and values, as timm writes it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        z = nn.functional.scaled_dot_product_attention(q, k, v)
        y: Tensor = self.proj(z.transpose(1, 2).reshape(batch, tokens, width))
        return y


class SeparateAttention(nn.Module):
    """Self-attention with three projections and a scale behind the first product."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        size = width // self.heads
        q, k, v = (
            layer(x).reshape(batch, tokens, self.heads, size).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        weights = torch.softmax(q @ k.transpose(-2, -1) / size**0.5, dim=-1)
        y: Tensor = self.proj((weights @ v).transpose(1, 2).reshape(batch, tokens, width))
        return y


class Block(nn.Module):
    """Attention and a network of two layers, each normalised before and added to what it read."""

    def __init__(self, width: int, attention: nn.Module, hidden: int, activation: nn.Module) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = attention
        self.mlp = nn.Sequential(
            OrderedDict(fc1=nn.Linear(width, hidden), act=activation, fc2=nn.Linear(hidden, width))
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class VisionTransformer(nn.Module):
    """Four blocks over 49 tokens and a class token (Dosovitskiy et al. 2021), (N, 1, 28, 28) to (N, 10).

    Two convolutions take the place of cutting patches: short training reaches more (Xiao et al. 2021).
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv_bn(1, 32, 3, stride=2), nn.ReLU(), conv_bn(32, WIDTH, 3, stride=2), nn.ReLU()
        )
        self.embed = nn.Conv2d(WIDTH, WIDTH, 1)
        self.token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.position = nn.Parameter(0.02 * torch.randn(1, 50, WIDTH))
        self.blocks = nn.Sequential(
            *(Block(WIDTH, Attention(WIDTH, HEADS), HIDDEN, nn.GELU()) for _ in range(4))
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.classifier = nn.Linear(WIDTH, CLASS_COUNT)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(self.stem(x)).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        y: Tensor = self.classifier(self.norm(self.blocks(x))[:, 0])
        return y


class AttentionStage(nn.Module):
    """Attention among all pixels between convolutions that see neighbours (MobileViT, Mehta et al. 2022)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.local = conv_bn(channels, channels)
        self.enter = nn.Conv2d(channels, width, 1)
        self.blocks = nn.Sequential(
            *(Block(width, SeparateAttention(width, HEADS), 2 * width, nn.SiLU()) for _ in range(2))
        )
        self.norm = nn.LayerNorm(width)
        self.leave = conv_bn(width, channels, 1)
        self.fuse = conv_bn(2 * channels, channels, 1)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        y = self.enter(self.act(self.local(x)))
        shape = y.shape
        y = self.norm(self.blocks(y.flatten(2).transpose(1, 2))).transpose(1, 2).reshape(shape)
        z: Tensor = self.act(self.fuse(torch.cat([x, self.act(self.leave(y))], 1)))
        return z


def transformer() -> nn.Module:
    """A vision transformer: (N, 1, 28, 28) to (N, 10)."""
    return VisionTransformer()


def hybrid() -> nn.Module:
    """Inverted residuals, then attention over 49 pixels: (N, 1, 28, 28) to (N, 10)."""
    return nn.Sequential(
        OrderedDict(
            stem=conv_bn(1, 32, 5, stride=2),
            relu=nn.ReLU6(),
            block1=InvertedResidual(32, 64, 48, stride=2),
            block2=InvertedResidual(48, 144, 48),
            stage=AttentionStage(48, WIDTH),
            block3=InvertedResidual(48, 144, 48),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(48, CLASS_COUNT),
        )
    )
