"""What the corpus knows about each of its models, and how a test compares a result with it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import helper

Feeds = dict[str, np.ndarray]
Builder = Callable[[], onnx.ModelProto]

SYMBOL_SIZES = {"H": 8, "W": 8, "L": 5}  # any other symbol, and any unknown dimension, is run with 2


@dataclass(frozen=True)
class Case:
    """An awkward little model and what is beyond doubt about it.

    `expect` may hold:

    - ``"fold-bn"``: ``"folds"`` (no BatchNormalization is left) or ``"stays"`` (all of them are);
    - ``"reason-like"``: a regular expression that a reason given for staying should match;
    - ``"ops_after_clean_fold"``: op type -> exact count after ``clean,fold-bn``, subgraphs included;
    - ``"could_reach"``: counts that would be right too, a wish that `unmet` does not check;
    - ``"keeps"``: names of nodes that must still be there;
    - ``"round_trip"``: ``"sorted"`` when loading and saving has to put the nodes into order;
    - ``"max_bytes"``: the largest acceptable serialised size after ``clean,fold-bn``.
    """

    name: str
    build: Builder
    expect: Mapping[str, Any] = field(default_factory=dict)
    make_feeds: Callable[[np.random.Generator], Feeds] | None = None
    runs: bool = True  # onnxruntime executes it
    valid: bool = True  # the onnx checker accepts it
    finite: bool = True  # all outputs are finite
    random: bool = False  # two runs on the same feeds differ

    def __str__(self) -> str:
        return self.name

    def feeds(self, rng: np.random.Generator) -> Feeds:
        """Draw inputs for a run; dynamic dimensions get small sizes, the same for the same symbol."""
        return self.make_feeds(rng) if self.make_feeds else random_feeds(self.build(), rng)


class Catalogue(list[Case]):
    """The cases of one theme; a builder function becomes a case by decoration."""

    def add(self, expect: Mapping[str, Any] | None = None, **fields: Any) -> Callable[[Builder], Builder]:
        """Register the decorated builder under its own name."""

        def register(build: Builder) -> Builder:
            self.append(Case(build.__name__, build, expect or {}, **fields))
            return build

        return register

    def put(self, name: str, build: Builder, expect: Mapping[str, Any] | None = None, **fields: Any) -> None:
        """Register one member of a family of builders."""
        self.append(Case(name, build, expect or {}, **fields))


def left(**ops: int) -> dict[str, Any]:
    """Expect exactly these counts of op types after ``clean,fold-bn``."""
    return {"ops_after_clean_fold": ops}


def could(**ops: int) -> dict[str, Any]:
    """Wish for these counts of op types; nobody checks them."""
    return {"could_reach": ops}


def folds(**ops: int) -> dict[str, Any]:
    """Expect every BatchNormalization to be folded."""
    return {"fold-bn": "folds", **left(BatchNormalization=0, **ops)}


def stays(reason: str = "", **ops: int) -> dict[str, Any]:
    """Expect every BatchNormalization to stay, for a reason like this regular expression."""
    return {"fold-bn": "stays", "reason-like": reason, **left(**ops)}


def random_feeds(model: onnx.ModelProto, rng: np.random.Generator) -> Feeds:
    """Draw a value for each graph input that no initializer fills."""
    filled = {tensor.name for tensor in model.graph.initializer}
    return {v.name: _random_value(v, rng) for v in model.graph.input if v.name not in filled}


def _random_value(value: onnx.ValueInfoProto, rng: np.random.Generator) -> np.ndarray:
    tensor = value.type.tensor_type
    shape = [
        d.dim_value if d.HasField("dim_value") else SYMBOL_SIZES.get(d.dim_param, 2) for d in tensor.shape.dim
    ]
    dtype = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        return rng.integers(0, 128, shape).astype(dtype)
    return rng.standard_normal(shape).astype(dtype)


def graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield the graph, then the graphs in the attributes of its nodes, at any depth."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from graphs(inner)


def count_ops(model: onnx.ModelProto) -> Counter[str]:
    """Count the nodes by op type, subgraphs included."""
    return Counter(node.op_type for graph in graphs(model.graph) for node in graph.node)


def unmet(case: Case, after: onnx.ModelProto, reasons: Iterable[str] | None = None) -> list[str]:
    """Say which expectations a model that went through ``clean,fold-bn`` does not meet.

    `reasons` are the sentences given for what stayed; None leaves them unchecked.
    """
    before, now = count_ops(case.build()), count_ops(after)
    wanted = dict(case.expect.get("ops_after_clean_fold", {}))
    if case.expect.get("fold-bn") == "stays":
        wanted.setdefault("BatchNormalization", before["BatchNormalization"])
    faults = [f"{now[op]} {op} instead of {count}" for op, count in wanted.items() if now[op] != count]
    names = {node.name for graph in graphs(after.graph) for node in graph.node}
    faults += [f"node {name} is gone" for name in case.expect.get("keeps", ()) if name not in names]
    if after.ByteSize() > case.expect.get("max_bytes", after.ByteSize()):
        faults.append(f"{after.ByteSize()} bytes are more than {case.expect['max_bytes']}")
    pattern = case.expect.get("reason-like", "")
    if reasons is not None and pattern and not any(re.search(pattern, reason, re.I) for reason in reasons):
        faults.append(f"no reason like {pattern!r}")
    return faults
