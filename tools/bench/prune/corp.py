"""CORP's method, as its paper and code describe it (2602.05243), on plain ONNX: what `prune` is held against.

Hidden units of MLPs go by energy times how often they are active, and those that stay take them over by a
ridge regression.  Dimensions of queries and keys go by E[q^2] E[k^2], and a matrix fitted to the scores makes
up for them; as in the code it is symmetrised.  The scores keep their scale, which is the better of its two
variants.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from graphopt import ir
from graphopt.ir.analysis.attention import Attention, Projection
from graphopt.ir.transform.layer_bias import vector_bias
from graphopt.passes.prune.attention.separate import separate
from graphopt.passes.prune.coupling.coupling import couple
from graphopt.passes.prune.coupling.facts import Facts
from graphopt.passes.prune.surgery.cut import remove_channels
from graphopt.runtime import Session

RIDGE = 1e-3  # of the mean diagonal


def prune(
    model: ir.Model, facts: Facts, feeds: Iterable[dict[str, np.ndarray]], hidden: float, rank: float
) -> None:
    """Leave these fractions of the hidden units and of the dimensions of queries and keys, in place."""
    attentions = separate(model, facts)
    pairs = _hidden_pairs(model)
    wanted = [fc2.inputs[0].name for _, fc2 in pairs]
    wanted += [one.source.name for a in attentions for one in (a.query, a.key) if one is not None]
    seen: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    session = Session(model, outputs=wanted)
    for sample in feeds:
        for name, values in session.run(sample).items():
            seen[name].append(values.reshape(-1, values.shape[-1]).astype(np.float64))
    rows = {name: np.concatenate(parts) for name, parts in seen.items()}
    gone: dict[str, np.ndarray] = {}
    for fc1, fc2 in pairs:
        gone[fc1.output.name] = _hidden(fc2, rows[fc2.inputs[0].name], hidden)
    for attention in attentions:
        gone |= _scores(attention, rows, rank)
    coupling = couple(model, facts)
    keep = coupling.keep_all()
    for layer in coupling.layers:
        if layer.ids is not None and layer.node.output.name in gone:
            keep[coupling.on(layer.ids)[gone[layer.node.output.name]]] = False
    remove_channels(model, coupling, keep)


def _hidden_pairs(model: ir.Model) -> list[tuple[ir.Node, ir.Node]]:
    """The two layers of every MLP: a MatMul that widens, and the next that narrows again."""
    layers = [n for n in model.graph.find("MatMul") if n.inputs[1].constant is not None]
    shapes = [node.inputs[1].shape for node in layers]
    return [
        (layers[i], layers[i + 1])
        for i in range(len(layers) - 1)
        if shapes[i][0] < shapes[i][1] == shapes[i + 1][0] and shapes[i + 1][1] == shapes[i][0]
    ]


def _hidden(fc2: ir.Node, x: np.ndarray, left: float) -> np.ndarray:
    """Fold the units that go into those that stay; return the former."""
    size = x.shape[1]
    score = np.square(x).mean(axis=0) * (x > 0).mean(axis=0)
    order = np.argsort(-score)
    kept, lost = np.sort(order[: round(left * size)]), np.sort(order[round(left * size) :])
    mean = x.mean(axis=0)
    centred = x - mean
    gram = centred[:, kept].T @ centred[:, kept]
    gram += RIDGE * np.trace(gram) / len(kept) * np.eye(len(kept))
    filled = np.linalg.solve(gram, centred[:, kept].T @ centred[:, lost])  # x_lost ~ x_kept filled + c
    weight, bias = fc2.inputs[1].constant, vector_bias(fc2)
    assert weight is not None and bias is not None and fc2.graph is not None
    wide = weight.astype(np.float64)
    offset = (mean[lost] - mean[kept] @ filled) @ wide[lost]
    wide[kept] += filled @ wide[lost]
    fc2.graph.set_constant(fc2, 1, wide.astype(weight.dtype))
    fc2.graph.set_constant(bias.node, bias.index, (bias.values + offset).astype(weight.dtype))
    return lost


def _scores(attention: Attention, rows: dict[str, np.ndarray], left: float) -> dict[str, np.ndarray]:
    """Let the dimensions that stay make up for those that go; return the latter by layer."""
    query, key = attention.query, attention.key
    assert query is not None and key is not None
    heads, size = query.columns.shape
    rank, gone = round(left * size), dict[str, list[int]]()
    for head in range(heads):
        q, k = rows[query.source.name][:, query.columns[head]], rows[key.source.name][:, key.columns[head]]
        order = np.argsort(-np.square(q).mean(axis=0) * np.square(k).mean(axis=0))
        kept = np.sort(order[:rank])
        gq, gk = (x.T @ x / len(x) + 1e-6 * np.eye(size) for x in (q, k))
        best = np.linalg.solve(gq[np.ix_(kept, kept)], gq[kept]) @ gk[:, kept]
        best = best @ np.linalg.inv(gk[np.ix_(kept, kept)])  # q k^T ~ q_kept best k_kept^T
        _multiply(query, head, kept, (best + best.T) / 2)
        # one rank for all heads: what stays comes first in each
        for one in (query, key):
            _permute(one, head, np.concatenate([kept, np.setdiff1d(np.arange(size), kept)]))
    for one in (query, key):
        gone[one.layer.output.name] = one.columns[:, rank:].ravel().tolist()
    return {name: np.asarray(columns) for name, columns in gone.items()}


def _multiply(one: Projection, head: int, kept: np.ndarray, matrix: np.ndarray) -> None:
    _change(one, one.columns[head][kept], lambda part: part @ matrix)


def _permute(one: Projection, head: int, order: np.ndarray) -> None:
    _change(one, one.columns[head], lambda part: part[..., order])


def _change(one: Projection, columns: np.ndarray, how) -> None:  # type: ignore[no-untyped-def]
    weight, bias = one.layer.inputs[1].constant, vector_bias(one.layer)
    assert weight is not None and one.layer.graph is not None
    wide = weight.astype(np.float64)
    wide[:, columns] = how(wide[:, columns])
    one.layer.graph.set_constant(one.layer, 1, wide.astype(weight.dtype))
    if bias is not None:
        line = bias.values.astype(np.float64)
        line[columns] = how(line[columns])
        one.layer.graph.set_constant(bias.node, bias.index, line.astype(weight.dtype))
