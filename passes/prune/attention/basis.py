"""Bases of heads in which the last channels matter least: whitened singular value decompositions.

For queries and keys the error of the scores, with both taken as independent, is
``E[(q D k^T)^2] = tr(D^T G_q D G_k)`` for what is left out, D; with ``G = L L^T`` and the decomposition
``L_q^T L_k = U S V^T`` the best approximation of rank r keeps the first r columns of ``L_q^-T U`` and
``L_k^-T V`` and errs by the sum of the other S^2.  The same with the values and the layer behind the heads is
the whitened decomposition of ``L^T W`` (the components are those of A^3, 2505.12942).
"""

from __future__ import annotations

import numpy as np

# noise: of the largest variance of a head; directions that vary less than a ten-thousandth as far as others
# are held there: what single precision makes of them is below a ten-millionth of the scores
FLOOR = 1e-8


def score_bases(queries: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return bases of queries and keys, and the size of the scores along each of their directions.

    ``queries`` are second moments (heads, size, size), ``keys`` the same about the mean of each sequence.
    With ``q' = q A`` and ``k' = k B`` the products stay, and the last channels add least to them.
    """
    left, right = _root(queries), _root(keys)
    u, sizes, vt = np.linalg.svd(left.transpose(0, 2, 1) @ right)
    root = np.sqrt(np.maximum(sizes, np.finfo(np.float64).tiny))[:, None, :]
    first = np.linalg.solve(left.transpose(0, 2, 1), u) * root
    second = np.linalg.solve(right.transpose(0, 2, 1), vt.transpose(0, 2, 1)) * root
    return first, second, sizes


def score_error(queries: np.ndarray, keys: np.ndarray, left: int) -> float:
    """Return the squared error of the scores, over all heads, without the channels from ``left`` on.

    ``queries`` and ``keys`` are second moments (heads, size, size) of channels in any basis.
    """
    lost = queries[:, left:, left:], keys[:, left:, left:]
    return float(np.einsum("hst,hst->", *lost))


def value_bases(results: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return bases of values and their inverses, for the weights (heads, size, outputs) that read them.

    ``results`` are covariances (heads, size, size) of what the heads come to.
    """
    root = _root(results)
    u, sizes, _ = np.linalg.svd(root.transpose(0, 2, 1) @ weights)
    full = np.zeros(u.shape[:2])
    full[:, : sizes.shape[1]] = sizes
    level = np.sqrt(np.maximum(full, FLOOR * full.max(initial=1e-30)))  # both sides equally large
    basis = np.linalg.solve(root.transpose(0, 2, 1), u) * level[:, None, :]
    inverse = (u.transpose(0, 2, 1) @ root.transpose(0, 2, 1)) / level[:, :, None]
    return basis, inverse


def _root(moments: np.ndarray) -> np.ndarray:
    """L with ``L L^T`` the moments (heads, size, size), none of its directions too small to be inverted."""
    values, vectors = np.linalg.eigh((moments + moments.transpose(0, 2, 1)) / 2)
    largest = values.max(axis=1, keepdims=True)
    held = np.maximum(values, np.where(largest > 0, FLOOR * largest, 1.0))
    root: np.ndarray = vectors * np.sqrt(held)[:, None, :]
    return root
