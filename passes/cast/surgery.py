"""Surgery: float16 everywhere but in the nodes that are kept, which stand between casts."""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from graphopt.ir import Constant, Graph, Model, Node, Tensor, Variable
from graphopt.ir.signatures import Signature, signature

from .rules import node_key
from .types import ElementTypes, captured

FLOAT, HALF = 1, 10  # fixed: as ONNX numbers its types
TYPE_NAMES = {FLOAT: "FLOAT", HALF: "FLOAT16"}  # fixed: as Cast writes them before opset 6


def convert(model: Model, kept: Set[str], types: ElementTypes, *, io: bool) -> int:
    """Convert a model; ``kept`` names nodes as ``node_key`` does.  Returns how many weights became zero.

    Without ``io`` inputs and outputs stay float32; inputs with a default always do.
    """
    return _Conversion(model, kept, types, io).run()


class _Conversion:
    def __init__(self, model: Model, kept: Set[str], types: ElementTypes, io: bool) -> None:
        self.graph: Graph = model.graph
        self.opset = model.opset
        self.types = types
        self.kept = kept
        self.io = io
        self.halves: dict[Tensor, Tensor] = {}
        self.wholes: dict[Tensor, Tensor] = {}
        self.constants: dict[Tensor, Constant] = {}
        self.lost = 0
        self.order = list(self.graph.nodes)

    def run(self) -> int:
        read = (t for n in self.order for t in (*n.inputs, *n.outputs, *captured(n)))
        half = {t for t in read if t.constant is None and self.types.is_float(t)}
        borders = {t for t in self.graph.inputs if t.proto is not None}
        if not self.io:
            borders |= {*self.graph.inputs, *self.graph.outputs}
        for node in self.order:
            is_kept = self._is_kept(node)
            self._convert_inputs(node, is_kept, half)
            self._convert_captures(node, half)
            self._convert_outputs(node, is_kept, half)
        for tensor in self.graph.inputs:
            if tensor in half:
                tensor.dtype = np.dtype(np.float16)
        self._restore_borders(borders & half)
        self.graph.remove_unused_initializers()
        self.graph.sort()
        return self.lost

    def _is_kept(self, node: Node) -> bool:
        """Whether a node goes on with float32: as planned, or since its type is its own or a constant's."""
        if not node.outputs or node_key(node) in self.kept:
            return True
        if any(tensor.constant is not None for tensor in node.outputs):
            return True
        return node.is_standard and self._signature(node).has_own_type(node, self.types.is_float)

    def _signature(self, node: Node) -> Signature:
        return signature(node.op, self.opset)

    def _convert_inputs(self, node: Node, is_kept: bool, half: Set[Tensor]) -> None:
        inputs = list(node.inputs)
        for index, tensor in enumerate(inputs):
            stays = is_kept or self._signature(node).is_fixed_input(index)
            if tensor in half and stays:
                inputs[index] = self._whole(tensor)
            elif tensor.constant is not None and not stays and self.types.is_float(tensor):
                inputs[index] = self._half_constant(tensor)
        if any(a is not b for a, b in zip(inputs, node.inputs, strict=True)):
            node.inputs = inputs

    def _convert_captures(self, node: Node, half: Set[Tensor]) -> None:
        """Bodies stay float32, and so does what they read from outside."""
        wanted = {tensor for tensor in captured(node) if tensor in half}
        if not wanted:
            return
        for body in node.subgraphs(recursive=True):
            for inner in body.nodes:
                if any(tensor in wanted for tensor in inner.inputs):
                    inner.inputs = [self._whole(t) if t in wanted else t for t in inner.inputs]
            if any(tensor in wanted for tensor in body.outputs):
                body.outputs = [self._whole(t) if t in wanted else t for t in body.outputs]

    def _convert_outputs(self, node: Node, is_kept: bool, half: Set[Tensor]) -> None:
        """A tensor keeps its name in float16; what a kept node makes is cast to it."""
        outputs = list(node.outputs)
        for index, tensor in enumerate(outputs):
            if tensor not in half:
                continue
            tensor.dtype = np.dtype(np.float16)
            if is_kept:
                made = self._variable(f"{tensor.name}_float32", np.float32, tensor)
                self._cast(made, tensor, HALF)
                self.wholes[tensor] = made
                outputs[index] = made
        if any(a is not b for a, b in zip(outputs, node.outputs, strict=True)):
            node.outputs = outputs

    def _whole(self, tensor: Tensor) -> Tensor:
        """A float16 tensor as float32."""
        if tensor not in self.wholes:
            made = self._variable(f"{tensor.name}_float32", np.float32, tensor)
            self._cast(tensor, made, FLOAT)
            self.wholes[tensor] = made
        return self.wholes[tensor]

    def _half_constant(self, tensor: Tensor) -> Constant:
        if tensor not in self.constants:
            value = tensor.constant
            assert value is not None  # the caller has looked
            half = value.astype(np.float16)
            self.lost += int(np.count_nonzero((half == 0) & (value != 0)))
            self.constants[tensor] = self.graph.add_constant(f"{tensor.name}_half", half)
        return self.constants[tensor]

    def _cast(self, source: Tensor, result: Tensor, kind: int) -> None:
        to = kind if self.opset >= 6 else TYPE_NAMES[kind]
        inner = result if kind == HALF else source  # the tensor that the cast belongs to
        name = f"{inner.name}_{'half' if kind == HALF else 'whole'}"
        self.graph.add_node("Cast", [source], {"to": to}, outputs=[result], name=name)

    def _restore_borders(self, borders: Set[Tensor]) -> None:
        """Give inputs and outputs their type back; the graph goes on with a cast of them."""
        casts = {node for made in self.wholes.values() if (node := made.producer) and node.op == "Cast"}
        for tensor in [t for t in self.graph.inputs if t in borders]:
            tensor.dtype = np.dtype(np.float32)
            readers = [node for node in dict.fromkeys(tensor.consumers) if node not in casts]
            if readers:
                made = self._variable(f"{tensor.name}_half", np.float16, tensor)
                self._cast(tensor, made, HALF)
                for node in readers:
                    node.inputs = [made if t is tensor else t for t in node.inputs]
            self._drop_whole(tensor)
        for tensor in dict.fromkeys(self.graph.outputs):
            if tensor in borders and tensor.producer is not None:
                self._restore_output(tensor)

    def _restore_output(self, tensor: Tensor) -> None:
        node = tensor.producer
        assert node is not None  # the caller has looked
        made = self._variable(f"{tensor.name}_half", np.float16, tensor)
        node.outputs = [made if t is tensor else t for t in node.outputs]
        self.graph.replace_uses(tensor, made)
        tensor.dtype = np.dtype(np.float32)
        self._cast(made, tensor, FLOAT)

    def _drop_whole(self, tensor: Tensor) -> None:
        """An input that is float32 again needs no cast to it."""
        made = self.wholes.get(tensor)
        if made is not None and made.producer is not None:
            self.graph.bypass(made.producer)

    def _variable(self, name: str, dtype: type, like: Tensor) -> Variable:
        made = Variable(self.graph.names.unique(name), dtype)
        made.shape = like.shape
        return made
