"""A model: the live graph, its weight store, and what the file says around them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, OperatorSetIdProto

from graphopt.ir.analysis.checker import check_model, is_defined
from graphopt.ir.declared import Shape
from graphopt.ir.graph import STANDARD_DOMAINS, Graph
from graphopt.ir.io.exporter import GraphExporter
from graphopt.ir.io.importer import OVERRIDABLE_SINCE, GraphImporter, collector_paused
from graphopt.ir.io.weights import Weights
from graphopt.ir.names import Names
from graphopt.ir.tensor import Constant, Tensor, Variable


@dataclass(frozen=True)
class Port:
    """An input or output of a model.

    ``dtype`` is None when it is no tensor.  A dimension is a size, a symbol, or None when unknown; the
    whole shape is None when the file does not tell.
    """

    name: str
    dtype: np.dtype[Any] | None
    shape: Shape | None


@dataclass(frozen=True)
class Signature:
    """What callers of a model rely on; ``defaults`` are the inputs that an initializer fills."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    defaults: tuple[Port, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """A model at one moment: its serialised weightless proto (payloads are shared, never copied)."""

    message: bytes


class Model:
    """An ONNX model whose graph can be edited and whose weights stay in the file.

    Made by ``ir.load`` and ``ir.from_bytes``.
    """

    def __init__(self, proto: ModelProto, weights: Weights, path: Path | None = None) -> None:
        self.path = path
        self.weights = weights
        self._import(proto)

    def _import(self, proto: ModelProto) -> None:
        self.names = Names()
        with collector_paused():
            self.graph = GraphImporter(self.weights, proto.ir_version, self.names).graph(proto.graph)
        proto.ClearField("graph")
        self.header = proto
        self._tell_opset()

    def _tell_opset(self) -> None:
        """Let every graph know the opset and which of its operators that does not define."""
        graphs = list(self.graphs())
        ops = {node.op for graph in graphs for node in graph.nodes if node.domain in STANDARD_DOMAINS}
        undefined = frozenset(op for op in ops if not is_defined(op, self.opset))
        for graph in graphs:
            graph.opset, graph.undefined = self.opset, undefined

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return self.opsets.get("", 1)

    @property
    def opsets(self) -> dict[str, int]:
        """Version of every operator set, by domain (the standard one is ``""``)."""
        return {
            "" if entry.domain in STANDARD_DOMAINS else entry.domain: entry.version
            for entry in self.header.opset_import
        }

    def set_opset(self, version: int, domain: str = "") -> None:
        """Declare another version of an operator set; nodes are not converted."""
        for entry in self.header.opset_import:
            if entry.domain == domain or (not domain and entry.domain in STANDARD_DOMAINS):
                entry.version = version
                break
        else:
            self.header.opset_import.append(OperatorSetIdProto(domain=domain, version=version))
        if domain in STANDARD_DOMAINS:
            self._tell_opset()

    @property
    def ir_version(self) -> int:
        return int(self.header.ir_version)

    @property
    def metadata(self) -> MutableMapping[str, str]:
        """The model's metadata_props; editing them edits the model."""
        return _Metadata(self.header)

    @property
    def signature(self) -> Signature:
        """Names, types and shapes of inputs and outputs as declared."""
        filled = set(self.graph.initializers)
        return Signature(
            tuple(_port(t) for t in self.graph.inputs if t not in filled),
            tuple(_port(t) for t in self.graph.outputs),
            tuple(_port(t) for t in self.graph.inputs if t in filled and not isinstance(t, Constant)),
        )

    def graphs(self) -> Iterator[Graph]:
        """Yield the main graph, then every subgraph inside it."""
        pending = [self.graph]
        while pending:
            graph = pending.pop(0)
            yield graph
            owners = [node for node in graph.nodes if node in graph.owners] if graph.owners else []
            pending += [inner for node in owners for inner in node.subgraphs()]

    @property
    def weight_bytes(self) -> int:
        """Size of all constants in bytes, those in Constant nodes included."""
        total = 0
        for graph in self.graphs():
            total += sum(t.nbytes for t in graph.initializers if isinstance(t, Constant))
            for node in graph.find("Constant"):
                value = node.attrs.get("value")
                total += value.nbytes if isinstance(value, Constant) else 0
        return total

    def sort(self) -> None:
        """Put the nodes of every graph in topological order; sorted graphs stay as they are."""
        for graph in list(self.graphs()):
            graph.sort()

    def forget_shapes(self) -> None:
        """Drop the declared shapes of inner tensors, because sizes have changed."""
        for graph in self.graphs():
            interface = {*graph.inputs, *graph.outputs} if graph is self.graph else set()
            for tensor in graph.described:
                if isinstance(tensor, Variable) and tensor not in interface:
                    tensor.forget_shape()
                elif isinstance(tensor, Constant):
                    tensor.info = None
            for node in graph.nodes:
                for tensor in node.outputs:
                    if tensor not in interface:
                        tensor.forget_shape()

    def proto(self) -> ModelProto:
        """Return the weightless ModelProto: large payloads are markers into ``weights``."""
        self.sort()
        proto = ModelProto()
        proto.CopyFrom(self.header)
        exporter = GraphExporter(self.weights, lists_initializers=self.ir_version < OVERRIDABLE_SINCE)
        exporter.write(self.graph, proto.graph)
        return proto

    def snapshot(self) -> Snapshot:
        """Return the model's present state; cheap, since weights are shared."""
        return Snapshot(self.proto().SerializeToString())

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot.  Nodes and tensors held from before are no longer part of the model."""
        self._import(ModelProto.FromString(snapshot.message))

    def copy(self) -> Model:
        """Return a model of its own that shares the weights."""
        return Model(self.proto(), self.weights, self.path)

    def part(
        self,
        known: Mapping[str, np.ndarray],
        wanted: Sequence[str],
        tensors: Mapping[str, Tensor] | None = None,
    ) -> Model:
        """Return the part that computes the tensors ``wanted`` from values of other tensors.

        ``known`` holds such values by name; what the part reads of them becomes its inputs, with their type
        and number of axes.  It declares no outputs: a session asks for them by name.  ``tensors`` are those
        of the graph by name, for who asks for many parts: without, all nodes are gone through.
        """
        from graphopt.ir.analysis.subgraph import part

        return Model(part(self, known, wanted, tensors), self.weights, self.path)

    def replace(self, proto: ModelProto) -> None:
        """Become another weightless proto that refers to the same weight store."""
        self._import(proto)

    def check(self) -> None:
        """Run the ONNX checker and our own structure check; raises ModelError."""
        check_model(self)

    def to_bytes(self, outputs: Sequence[str] | None = None) -> bytes:
        """Return the complete serialised model, weights inside.

        ``outputs`` names tensors to hand out in addition.  Raises ModelError above 2 GB.
        """
        from graphopt.ir.io.save import complete_bytes

        return complete_bytes(self, outputs or ())

    @property
    def file_bytes(self) -> int:
        """Size in bytes of the model's files, external weights included; found without writing them."""
        from graphopt.ir.io.save import file_bytes

        return file_bytes(self)

    def write(self, path: Path, *, outputs: Sequence[str] | None = None) -> list[Path]:
        """Write the model to ``path`` in one stream and return the files written.

        Weights go into a data file beside it when the input had one or 2 GB would be exceeded.
        """
        from graphopt.ir.io.save import write_model

        return write_model(self, Path(path), outputs or ())

    def save(self, path: Path, *, force: bool = False) -> list[Path]:
        """Write the model so that ``path`` appears only when complete; raises OutputError."""
        from graphopt.ir.io.save import save_model

        return save_model(self, Path(path), force)


def _port(tensor: Tensor) -> Port:
    shape = tensor.shape
    return Port(tensor.name, tensor.dtype, None if shape is None else tuple(shape))


class _Metadata(MutableMapping[str, str]):
    """A mapping view of metadata_props."""

    def __init__(self, header: ModelProto) -> None:
        self._props = header.metadata_props

    def __getitem__(self, key: str) -> str:
        for prop in self._props:
            if prop.key == key:
                return str(prop.value)
        raise KeyError(key)

    def __setitem__(self, key: str, value: str) -> None:
        for prop in self._props:
            if prop.key == key:
                prop.value = value
                return
        self._props.add(key=key, value=value)

    def __delitem__(self, key: str) -> None:
        for index, prop in enumerate(self._props):
            if prop.key == key:
                del self._props[index]
                return
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter([prop.key for prop in self._props])

    def __len__(self) -> int:
        return len(self._props)
