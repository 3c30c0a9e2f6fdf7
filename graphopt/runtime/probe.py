"""Shapes of a model's inner tensors, inferred or seen in a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import TYPE_CHECKING

from graphopt.runtime.session import Session, SessionOptions

if TYPE_CHECKING:
    import numpy as np

    from graphopt.ir import Model


def tensor_shapes(
    model: Model, names: Iterable[str], feeds: Mapping[str, np.ndarray], *, custom_ops: Sequence[str] = ()
) -> dict[str, tuple[int, ...]]:
    """Shapes of the named tensors of the main graph for these feeds.

    What shape inference leaves open is seen in a run: opening a session takes far longer than inference, and
    more than in proportion to the nodes.  Names that no node of the main graph computes are left out.
    Raises ModelError when the model has to be run and does not, and above 2 GB.
    """
    from graphopt import ir

    wanted = set(names)
    computed = [t.name for node in model.graph.nodes for t in node.outputs if t.name in wanted]
    if not computed:
        return {}
    inferred = ir.infer_shapes(model, {name: array.shape for name, array in feeds.items()})
    shapes: dict[str, tuple[int, ...]] = {}
    for name in computed:
        dims = inferred.get(name)
        sizes = tuple(size for size in dims or () if isinstance(size, int))
        if dims is not None and len(sizes) == len(dims):
            shapes[name] = sizes
    left = wanted.intersection(computed) - shapes.keys()
    return shapes | (_measured(model, left, feeds, custom_ops) if left else {})


def _measured(
    model: Model, names: Set[str], feeds: Mapping[str, np.ndarray], custom_ops: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """Run a copy of the model that gives shapes in place of values, so that it needs no memory for those."""
    from graphopt import ir

    copy = ir.from_bytes(model.to_bytes())
    tensors = {t.name: t for node in copy.graph.nodes for t in node.outputs if t.name in names}
    probes = {name: copy.graph.add_node("Shape", [tensor]).output.name for name, tensor in tensors.items()}
    # for a single run, optimising takes longer than it saves
    outputs = list(probes.values())
    options = SessionOptions(custom_ops=tuple(custom_ops))
    session = Session(copy, options, outputs=outputs, optimization="disabled")
    dims = session.run(feeds)
    return {name: tuple(int(d) for d in dims[probe]) for name, probe in probes.items()}
