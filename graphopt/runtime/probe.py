"""Ask a running model for the shapes of its inner tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from graphopt.runtime.session import Session

if TYPE_CHECKING:
    import numpy as np

    from graphopt.ir import Model


def tensor_shapes(
    model: Model, names: Iterable[str], feeds: Mapping[str, np.ndarray], *, custom_ops: Sequence[str] = ()
) -> dict[str, tuple[int, ...]]:
    """Shapes of the named tensors of the main graph for these feeds, where shape inference cannot tell them.

    Runs a copy of the model that hands out shapes in place of values, so it needs no memory for those.
    Names that no node of the main graph computes are left out.
    Raises ModelError when the model does not run, and above 2 GB.
    """
    from graphopt import ir

    copy = ir.from_bytes(model.to_bytes())
    wanted = set(names)
    tensors = {t.name: t for node in copy.graph.nodes for t in node.outputs if t.name in wanted}
    probes = {name: copy.graph.add_node("Shape", [tensor]).output.name for name, tensor in tensors.items()}
    if not probes:
        return {}
    # for a single run, optimising takes longer than it saves
    outputs = list(probes.values())
    session = Session(copy, outputs=outputs, optimization="disabled", custom_ops=custom_ops)
    dims = session.run(feeds)
    return {name: tuple(int(d) for d in dims[probe]) for name, probe in probes.items()}
