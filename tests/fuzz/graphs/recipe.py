"""What a seed stands for: blocks in an order, a head, an opset, a type and quirks; drawn, built, settled."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from tests.fuzz.graphs.blocks import BLOCKS
from tests.fuzz.graphs.draft import MOST, Draft, Feature, Port, UnfitError
from tests.fuzz.graphs.feeds import runs
from tests.fuzz.graphs.quirks import QUIRKS, apply_quirks

INPUTS = (
    (3, 6, 6),
    (4, 5, 7),
    (1, 8, 8),
    (2, 12),
    (3, 10),
    (7, 8),
    (5, 6),
    (6,),
    (16,),
    (2, 3, 4, 4),
    (8, 4, 4),
)
HEADS = ("plain", "plain", "classifier", "classifier", "scores", "largest", "two")
TYPES = ("float32",) * 16 + ("float16", "double")
OPSETS = (9, 10, 11, 11, 12, 13, 13, 14, 15, 16, 17, 17, 18, 19, 20, 21, 22, 23)
FIRST_LAYERS = {2: ("gemm", "matmul"), 3: ("conv", "matmul"), 4: ("conv", "conv"), 5: ("conv", "conv")}


@dataclass(frozen=True)
class Recipe:
    """A graph in words.  Every step is a block and the number that its own draws come from."""

    seed: int
    row: tuple[int, ...]
    batch: int
    dynamic: bool
    opset: int
    ir: int
    dtype: str
    steps: tuple[tuple[int, str], ...]
    head: str
    quirks: tuple[str, ...]

    def __str__(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def read(cls, text: str) -> Recipe:
        """The recipe that ``str`` wrote."""
        fields: dict[str, Any] = json.loads(text)
        fields["row"], fields["quirks"] = tuple(fields["row"]), tuple(fields["quirks"])
        fields["steps"] = tuple((int(number), str(name)) for number, name in fields["steps"])
        return cls(**fields)


@dataclass(frozen=True)
class Graph:
    """A model, its inputs, and the recipe it was built from."""

    model: onnx.ModelProto
    ports: tuple[Port, ...]
    recipe: Recipe


def draw(seed: int) -> Recipe:
    """Draw a recipe; not all of its steps may fit."""
    rng = np.random.default_rng(seed)

    def pick(values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    row = pick(INPUTS)
    dynamic = bool(rng.random() < 0.4)
    batch = int(rng.choice([1, 1, 1, 2, 3])) if not dynamic else int(rng.choice([1, 2]))
    opset = int(pick(OPSETS))
    names = sorted(BLOCKS)
    odds = np.array([BLOCKS[name].odds for name in names])
    count = int(rng.integers(2, 9))
    drawn = [str(name) for name in rng.choice(names, 3 * count, p=odds / odds.sum())]
    steps = [str(pick(FIRST_LAYERS[len(row) + 1])), *drawn]
    quirks = tuple(name for name, quirk in QUIRKS.items() if rng.random() < quirk.odds)
    ir = int(rng.choice([3, 4, 6, 7, 8, 8, 9, 10, 10, 11]))
    return Recipe(
        seed,
        row,
        batch,
        dynamic,
        opset,
        ir,
        str(pick(TYPES)),
        tuple(enumerate(steps)),
        str(pick(HEADS)),
        quirks,
    )


def build(recipe: Recipe, *, most: int | None = None) -> Graph:
    """Build a recipe; steps that do not fit are left out, and what comes behind ``most`` that fit."""
    d = Draft(recipe.seed, opset=recipe.opset, dtype=recipe.dtype, batch=recipe.batch, dynamic=recipe.dynamic)
    d.features.append(Feature(d.port("x", *recipe.row), (recipe.batch, *recipe.row)))
    done = 0
    for number, name in recipe.steps:
        if most is not None and done >= most:
            break
        done += _grow(d, recipe.seed, number, name)
    return finish(d, recipe)


def fitting(recipe: Recipe, most: int = 8) -> Recipe:
    """The recipe with only the steps that fit, and at most so many."""
    d = Draft(recipe.seed, opset=recipe.opset, dtype=recipe.dtype, batch=recipe.batch, dynamic=recipe.dynamic)
    d.features.append(Feature(d.port("x", *recipe.row), (recipe.batch, *recipe.row)))
    steps = [(number, name) for number, name in recipe.steps if _grow(d, recipe.seed, number, name)]
    return dataclasses.replace(recipe, steps=tuple(steps[:most]))


def settle(recipe: Recipe) -> Graph | None:
    """A graph of those steps that onnxruntime runs on its own samples; None where hardly anything is left."""
    recipe = fitting(recipe)
    graph = _try(recipe)
    if graph is not None:
        return graph
    plain = dataclasses.replace(recipe, quirks=())
    kept: tuple[tuple[int, str], ...] = ()
    for step in recipe.steps:
        longer = (*kept, step)
        if _try(dataclasses.replace(plain, steps=longer)) is not None:
            kept = longer
    if not kept:
        return None
    recipe = dataclasses.replace(recipe, steps=kept)
    return (
        _try(recipe)
        or _try(dataclasses.replace(recipe, quirks=()))
        or _try(dataclasses.replace(recipe, quirks=(), head="plain"))
    )


def graphs(first: int, end: int) -> Iterator[Graph]:
    """The graphs of a range of seeds; seeds that stand for nothing that runs are left out."""
    for seed in range(first, end):
        graph = settle(draw(seed))
        if graph is not None:
            yield graph


def _try(recipe: Recipe) -> Graph | None:
    graph = build(recipe)
    return graph if runs(graph.model, graph.ports, recipe.seed) else None


def _grow(d: Draft, seed: int, number: int, name: str) -> bool:
    """Add a step; False when nothing there fits it."""
    block = BLOCKS[name]
    rng = np.random.default_rng([seed, number])
    recent = d.features[-1] if rng.random() < 0.85 else d.features[int(rng.integers(len(d.features)))]
    if block.since > d.opset or recent.rank not in block.ranks:
        return False
    d.rng = rng
    before = len(d.nodes), len(d.side.ports), len(d.side.outputs), len(d.inputs)
    try:
        grown = block.build(d, recent)
    except UnfitError:
        del (
            d.nodes[before[0] :],
            d.side.ports[before[1] :],
            d.side.outputs[before[2] :],
            d.inputs[before[3] :],
        )
        return False
    if grown.row > 8 * MOST or grown.row < 1 or not 2 <= grown.rank <= 5 or min(grown.shape) < 1:
        del (
            d.nodes[before[0] :],
            d.side.ports[before[1] :],
            d.side.outputs[before[2] :],
            d.inputs[before[3] :],
        )
        return False
    d.features.append(grown)
    return True


def finish(d: Draft, recipe: Recipe) -> Graph:
    """Add the head and the outputs, and the quirks."""
    d.rng = np.random.default_rng([recipe.seed, 10**6])
    last = d.features[-1]
    head = recipe.head
    if last.name == "x":
        last = Feature(d.op("Relu", "x"), last.shape)
    if head in ("classifier", "scores", "largest"):
        flat = d.op("Flatten", last.name) if last.rank > 2 else last.name
        last = Feature(d.dense(flat, last.row, 5), (last.shape[0], 5))
    if head == "scores":
        last = Feature(d.softmax(last.name, 2, 1), last.shape)
    if head == "two":
        d.output(d.op("Sigmoid", last.name), last.shape)
    if head == "largest":
        d.output(d.op("ArgMax", last.name, axis=1), (last.shape[0], 1), np.int64)
    else:
        d.output(last.name, last.shape)
    outputs = [output for output in d.side.outputs if output.name not in {port.name for port in d.side.ports}]
    names = []
    for output in outputs:
        names.append(output.name)
        if output.name not in d.types:
            batched = len(output.shape or ()) > 0 and (output.shape or ())[0] == recipe.batch
            d.tell(output.name, d.declared(output.shape or (), batched), output.dtype)
    model = d.model(*names, opset=recipe.opset, ir=recipe.ir, domains=sorted(d.side.domains))
    model.ir_version = recipe.ir
    return Graph(apply_quirks(model, recipe.quirks, recipe.ir), tuple(d.side.ports), recipe)
