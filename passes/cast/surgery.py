"""Surgery: float16 everywhere but in the nodes that are kept, which stand between casts."""

from __future__ import annotations

from collections.abc import Set

import numpy as np

from graphopt.ir import Constant, Graph, Model, Node, Tensor, Variable
from graphopt.ir.facts import Facts, gather_facts

from .rules import FIXED_INPUTS

FLOAT, HALF = 1, 10  # fixed: as ONNX numbers its types
TYPED = ("ConstantOfShape", "EyeLike", "Multinomial", "RandomNormal", "RandomUniform", "RandomNormalLike")
SOURCES = (*TYPED, "RandomUniformLike", "Cast", "Constant")


def convert(model: Model, kept: Set[str], *, io: bool) -> int:
    """Convert a model; ``kept`` names nodes by their first output.  Returns how many weights became zero.

    Without ``io`` inputs and outputs stay float32.
    """
    return _Conversion(model, kept, io).run()


class _Conversion:
    def __init__(self, model: Model, kept: Set[str], io: bool) -> None:
        self.graph: Graph = model.graph
        self.facts: Facts = gather_facts(model)
        self.kept = kept
        self.io = io
        self.halves: dict[Tensor, Tensor] = {}
        self.wholes: dict[Tensor, Tensor] = {}
        self.constants: dict[Tensor, Constant] = {}
        self.lost = 0
        self.order = list(self.graph.nodes)

    def run(self) -> int:
        floats = {t for n in self.order for t in (*n.inputs, *n.outputs) if self._is_float(t)}
        half = {t for t in floats if t.constant is None}
        borders = set() if self.io else {*self.graph.inputs, *self.graph.outputs}
        for node in self.order:
            is_kept = self._is_kept(node)
            self._convert_inputs(node, is_kept, half)
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
        if not node.outputs or node.output.name in self.kept or node.op in SOURCES:
            return True
        return any(tensor.constant is not None for tensor in node.outputs)

    def _is_float(self, tensor: Tensor) -> bool:
        value = tensor.constant
        return (
            bool(tensor.name) and (self.facts.dtype(tensor) if value is None else value.dtype) == np.float32
        )

    def _convert_inputs(self, node: Node, is_kept: bool, half: Set[Tensor]) -> None:
        fixed = FIXED_INPUTS.get(node.op, ())
        inputs = list(node.inputs)
        for index, tensor in enumerate(inputs):
            if not tensor.name or not self._is_float(tensor):
                continue
            if tensor.constant is not None:
                if not is_kept and index not in fixed:
                    inputs[index] = self._half_constant(tensor)
            elif is_kept or index in fixed:
                inputs[index] = self._whole(tensor)
        if any(a is not b for a, b in zip(inputs, node.inputs, strict=True)):
            node.inputs = inputs

    def _convert_outputs(self, node: Node, is_kept: bool, half: Set[Tensor]) -> None:
        """A tensor keeps its name in float16; what a kept node makes is cast to it."""
        outputs = list(node.outputs)
        for index, tensor in enumerate(outputs):
            if tensor not in half:
                continue
            tensor.dtype = np.dtype(np.float16)
            if is_kept:
                made = self._variable(f"{tensor.name}_float32", np.float32, tensor)
                self.graph.add_node(
                    "Cast", [made], {"to": HALF}, outputs=[tensor], name=f"{tensor.name}_half"
                )
                self.wholes[tensor] = made
                outputs[index] = made
        if any(a is not b for a, b in zip(outputs, node.outputs, strict=True)):
            node.outputs = outputs

    def _whole(self, tensor: Tensor) -> Tensor:
        """A float16 tensor as float32."""
        if tensor not in self.wholes:
            made = self._variable(f"{tensor.name}_float32", np.float32, tensor)
            self.graph.add_node("Cast", [tensor], {"to": FLOAT}, outputs=[made], name=f"{tensor.name}_whole")
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

    def _restore_borders(self, borders: Set[Tensor]) -> None:
        """Give inputs and outputs their type back; the graph goes on with a cast of them."""
        for tensor in [t for t in self.graph.inputs if t in borders]:
            tensor.dtype = np.dtype(np.float32)
            readers = [n for n in dict.fromkeys(tensor.consumers) if not self._is_whole(n)]
            if readers:
                made = self._variable(f"{tensor.name}_half", np.float16, tensor)
                self.graph.add_node(
                    "Cast", [tensor], {"to": HALF}, outputs=[made], name=f"{tensor.name}_half"
                )
                for node in readers:
                    node.inputs = [made if t is tensor else t for t in node.inputs]
            self._drop_whole(tensor)
        for tensor in [t for t in self.graph.outputs if t in borders and t.producer is not None]:
            self._restore_output(tensor)

    def _restore_output(self, tensor: Tensor) -> None:
        node = tensor.producer
        assert node is not None  # the caller has looked
        made = self._variable(f"{tensor.name}_half", np.float16, tensor)
        node.outputs = [made if t is tensor else t for t in node.outputs]
        self.graph.replace_uses(tensor, made)
        tensor.dtype = np.dtype(np.float32)
        self.graph.add_node("Cast", [made], {"to": FLOAT}, outputs=[tensor], name=f"{tensor.name}_whole")

    def _is_whole(self, node: Node) -> bool:
        """Whether a node is the cast to float32 made here."""
        return node.op == "Cast" and any(node.output is made for made in self.wholes.values())

    def _drop_whole(self, tensor: Tensor) -> None:
        """An input that is float32 again needs no cast to it."""
        made = self.wholes.get(tensor)
        if made is not None and made.producer is not None:
            self.graph.bypass(made.producer)

    def _variable(self, name: str, dtype: type, like: Tensor) -> Variable:
        made = Variable(self.graph.names.unique(name), dtype)
        made.shape = like.shape
        return made
