"""The rank of the signal, found without being told the noise."""

from __future__ import annotations

import numpy as np
import pytest

from graphopt.passes.lowrank.solve.vbmf import signal_rank


@pytest.mark.parametrize("shape", [(60, 200), (200, 60), (80, 80)])
@pytest.mark.parametrize("rank", [0, 1, 7, 20])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_planted_ranks_are_found(shape: tuple[int, int], rank: int, scale: float) -> None:
    rng = np.random.default_rng(rank)
    signal = 2.0 * rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    assert signal_rank(scale * (signal + rng.standard_normal(shape))) == rank


def test_what_drowns_in_noise_is_noise() -> None:
    rng = np.random.default_rng(0)
    signal = 0.03 * rng.standard_normal((60, 5)) @ rng.standard_normal((5, 200))
    assert signal_rank(signal + rng.standard_normal((60, 200))) == 0
    assert signal_rank(np.zeros((4, 5))) == 0
