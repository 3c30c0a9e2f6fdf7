"""Whether one quantizer's figure is more than noise apart from another's, over the same images and draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from graphopt.metrics.significance import Paired, bootstrap

Row = Mapping[str, Any]


def apart(own: Sequence[Row], other: Sequence[Row] | None, flag: str) -> Paired | None:
    """Points by which a share of ``own`` is above the same of ``other`` (above nothing when None).

    ``flag`` names {image: 0 or 1} in each row.  Rows are paired by draw, and images resampled with all their
    draws, since an image that judges in several is the same image.  None where a side has no flags.
    """
    if not own or any(flag not in row for row in [*own, *(other or ())]):
        return None
    peers = None if other is None else {row["draw"]: row[flag] for row in other}
    total: dict[str, float] = {}
    count: dict[str, int] = {}
    for row in own:
        if peers is not None and row["draw"] not in peers:
            continue
        for image, value in row[flag].items():
            against = 0 if peers is None else peers[row["draw"]][image]
            total[image] = total.get(image, 0.0) + value - against
            count[image] = count.get(image, 0) + 1
    if not total:
        return None
    sums, counts = np.array(list(total.values())), np.array(list(count.values()), np.float64)

    def points(weights: np.ndarray) -> np.ndarray:
        """(resamples, 1) from (resamples, images)."""
        return np.asarray(100 * (weights @ sums) / (weights @ counts))[:, None]

    return bootstrap(points, len(sums), 0)[0]
