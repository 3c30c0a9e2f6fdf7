"""Time single layers: each in a tiny model of its own, all of them in turn."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from time import perf_counter

import numpy as np

from graphopt import ir
from graphopt.cost.latency.layer_shape import INTEGER, PRODUCTS, LayerShape
from graphopt.data.ports import IMAGE_CHANNELS
from graphopt.runtime import Kernel, ProfiledSession, SessionOptions
from graphopt.util.progress import Progress

FEWEST_ROUNDS, MOST_ROUNDS = 10, 200  # time: runs of each layer in a sitting
SETTLED = 0.03  # noise: a layer is timed when its fifth quickest run is within three percent of the quickest
SHORTEST = 1.5  # time: seconds of a sitting: a disturbance that lasts as long as all runs would not show
SESSIONS = 48  # memory: layers that are open at a time
BYTES = 512 * 2**20  # memory: of their weights and activations together

BEFORE, AFTER, WEIGHT = "graphopt_before", "graphopt_after", "graphopt_weight"
# Kernels around an integer layer that its neighbours in a network take away.
_BORDER = ("Transpose", "QuantizeLinear", "DequantizeLinear", "ReorderInput", "ReorderOutput")


def time_layers(
    layers: Sequence[LayerShape], threads: int, *, seconds: float, progress: Progress
) -> list[float]:
    """Milliseconds that onnxruntime spends on each layer, measured in turn for about ``seconds`` in all.

    Every layer runs at least ``FEWEST_ROUNDS`` times, however long that takes.  What counts is the time of
    the layer's own kernels, and of those that the runtime puts before it to change the memory layout.
    The first layer is the yardstick: where there are more layers than can be open together, it runs with
    all of them, and their times are scaled so that it takes equally long everywhere.
    """
    yardstick, sittings = layers[0], []
    chunks = list(_chunks(layers[1:])) or [[]]
    watched = progress(f"timing {len(layers)} layers", _rounds(chunks), len(chunks) * MOST_ROUNDS)
    sitting = None
    for chunk, number in watched:
        if sitting is None:
            sitting = _Sitting([yardstick, *chunk], threads, seconds / len(chunks))
        sitting.run_once(number)
        if number == MOST_ROUNDS - 1:
            sittings.append(sitting.finish())
            sitting = None
    unit = min(times[0] for times in sittings)
    return [unit, *(time * unit / times[0] for times in sittings for time in times[1:])]


def _rounds(chunks: Sequence[Sequence[LayerShape]]) -> Iterator[tuple[Sequence[LayerShape], int]]:
    return ((chunk, number) for chunk in chunks for number in range(MOST_ROUNDS))


class _Sitting:
    """Some layers, open together and run in turn."""

    def __init__(self, layers: Sequence[LayerShape], threads: int, seconds: float) -> None:
        rng, options = np.random.default_rng(0), SessionOptions(threads)
        self._layers = layers
        self._sessions = [ProfiledSession(tiny_model(layer, rng), options) for layer in layers]
        self._feeds = [{"x": _input(layer, rng)} for layer in layers]
        self._walls: list[list[float]] = [[] for _ in layers]
        self._start = perf_counter()
        self._seconds = seconds

    def run_once(self, number: int) -> None:
        """Run every layer that is not settled yet; nothing once the time is up."""
        for index, session in enumerate(self._sessions):
            if number >= FEWEST_ROUNDS and self._is_done(index):
                continue
            start = perf_counter()
            session.run(self._feeds[index])
            self._walls[index].append(perf_counter() - start)

    def _is_done(self, index: int) -> bool:
        spent = perf_counter() - self._start
        return spent > self._seconds or (spent > SHORTEST and is_settled(self._walls[index][1:]))

    def finish(self) -> list[float]:
        """Close the sessions; milliseconds of each layer."""
        pairs = zip(self._layers, self._sessions, strict=True)
        return [sum(k.typical for k in _own(session.finish(), layer)) / 1e3 for layer, session in pairs]


def is_settled(times: Sequence[float]) -> bool:
    """Whether the quickest runs agree, so that another would hardly be quicker."""
    quickest = sorted(times)[:5]
    return len(quickest) == 5 and quickest[-1] <= (1 + SETTLED) * quickest[0]


def tiny_model(layer: LayerShape, rng: np.random.Generator) -> ir.Model:
    """A model of one layer in the surroundings of a network.

    onnxruntime keeps activations of convolutions in a blocked layout and puts kernels that reorder them only
    where that begins and ends.  A narrow 1x1 convolution before the layer and a pooling after it keep those
    kernels away from the layer, as its neighbours do in a network.  A layer of the type ``int8`` stands
    between the pairs that let onnxruntime compute it on integers.
    """
    if layer.dtype == INTEGER:
        return _integer_model(layer, rng)
    model = ir.blank()
    graph = model.graph
    dims = _fed_dims(layer)
    tensor: ir.Tensor = ir.Variable("x", np.dtype(layer.dtype), dims)
    graph.inputs = [tensor]
    if _reads_features(layer):
        tensor = _convolution(graph, tensor, layer, rng)
    weights = [graph.add_constant("w", _values(layer.weight, layer.dtype, rng))] if layer.weight else []
    node = graph.add_node(layer.op, [tensor, *weights], layer.attributes, name="layer")
    if layer.op not in PRODUCTS:
        node = graph.add_node("GlobalAveragePool", [node.output], outputs=[ir.Variable(AFTER)], name=AFTER)
    node.output.dtype, node.output.shape = np.dtype(layer.dtype), (None,) * len(layer.input)
    graph.outputs = [node.output]
    return model


def _integer_model(layer: LayerShape, rng: np.random.Generator) -> ir.Model:
    """A layer between reading from and storing in 8 bits; its bias is left out, which takes no time."""
    model = ir.blank()
    graph = model.graph
    tensor: ir.Tensor = ir.Variable("x", np.dtype(np.uint8), layer.input)
    graph.inputs = [tensor]
    scale = graph.add_constant("scale", np.float32(0.02))
    zero = graph.add_constant("zero", np.uint8(128))
    read = graph.add_node("DequantizeLinear", [tensor, scale, zero], name=BEFORE)
    operands: list[ir.Tensor] = [read.output]
    if layer.weight:
        values = rng.integers(-127, 128, layer.weight).astype(np.int8)
        stored = [graph.add_constant("w", values), graph.add_constant("w_scale", np.float32(0.01))]
        stored.append(graph.add_constant("w_zero", np.int8(0)))
        operands.append(graph.add_node("DequantizeLinear", stored, name=WEIGHT).output)
    node = graph.add_node(layer.op, operands, layer.attributes, name="layer")
    made = graph.add_node("QuantizeLinear", [node.output, scale, zero], name=AFTER)
    made.output.dtype, made.output.shape = np.dtype(np.uint8), (None,) * len(layer.input)
    graph.outputs = [made.output]
    return model


def _convolution(
    graph: ir.Graph, tensor: ir.Tensor, layer: LayerShape, rng: np.random.Generator
) -> ir.Tensor:
    """Make the layer's input from an image of one channel."""
    weight = (layer.inputs, 1, *(1 for _ in layer.input[2:]))
    constant = graph.add_constant("before_w", _values(weight, layer.dtype, rng))
    made = ir.Variable(BEFORE, np.dtype(layer.dtype), layer.input)
    return graph.add_node("Conv", [tensor, constant], outputs=[made], name=BEFORE).output


def _own(kernels: Sequence[Kernel], layer: LayerShape) -> list[Kernel]:
    """The kernels between the surroundings, in the order they run."""
    if layer.dtype == INTEGER:
        return [kernel for kernel in kernels if kernel.op not in _BORDER]
    names = [kernel.name for kernel in kernels]
    first = next((i + 1 for i, name in enumerate(names) if BEFORE in name), 0)
    last = next((i for i, name in enumerate(names) if AFTER in name), len(names))
    return list(kernels[first:last])


def _reads_features(layer: LayerShape) -> bool:
    """Whether the layer reads what a convolution computed: neither a matrix nor an image."""
    is_float = layer.dtype != INTEGER
    return is_float and layer.op not in PRODUCTS and layer.inputs > max(IMAGE_CHANNELS)


def _fed_dims(layer: LayerShape) -> tuple[int, ...]:
    return (layer.input[0], 1, *layer.input[2:]) if _reads_features(layer) else layer.input


def _input(layer: LayerShape, rng: np.random.Generator) -> np.ndarray:
    if layer.dtype == INTEGER:
        return rng.integers(0, 256, layer.input).astype(np.uint8)
    return _values(_fed_dims(layer), layer.dtype, rng)


def _values(dims: Sequence[int], dtype: str, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(dims, dtype=np.float32).astype(dtype)


def _chunks(layers: Sequence[LayerShape]) -> Iterator[list[LayerShape]]:
    """Neighbouring layers that may be open together."""
    chunk: list[LayerShape] = []
    size = 0
    for layer in layers:
        own = 4 * (3 * math.prod(layer.input) + 2 * math.prod(layer.weight))
        if chunk and (len(chunk) == SESSIONS or size + own > BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(layer)
        size += own
    if chunk:
        yield chunk
