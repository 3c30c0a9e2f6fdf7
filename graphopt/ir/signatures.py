"""What ONNX defines of the types that operators take and make: float16 or not, their own or their inputs'."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias

import onnx

from graphopt.ir.graph import Node
from graphopt.ir.tensor import Tensor

IsFloat: TypeAlias = Callable[[Tensor], bool]  # whether a tensor is of float32
HALF_TENSOR = "tensor(float16)"
VARIADIC = onnx.defs.OpSchema.FormalParameterOption.Variadic


@dataclass(frozen=True)
class Parameter:
    """One input or output of an operator: its type's name, and whether that may be float16."""

    kind: str
    takes_half: bool
    is_variadic: bool

    @property
    def is_fixed(self) -> bool:
        """Whether it is of one type, whatever the others are."""
        return self.kind.startswith("tensor(") and not self.takes_half


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of an operator; both empty where ONNX does not define it."""

    inputs: tuple[Parameter, ...] = ()
    outputs: tuple[Parameter, ...] = ()

    def takes_half(self, node: Node, is_float: IsFloat) -> bool:
        """Whether every float32 tensor of a node, but those of a fixed type, may be float16."""
        used = [*_used(node.inputs, self.inputs, is_float), *_used(node.outputs, self.outputs, is_float)]
        results = list(_used(node.outputs, self.outputs, is_float))
        return all(p.takes_half or p.is_fixed for p in used) and all(p.takes_half for p in results)

    def is_fixed_input(self, index: int) -> bool:
        """Whether an input stays float32 when the others become float16, such as the scales of Resize."""
        parameter = _at(self.inputs, index)
        return parameter is not None and parameter.is_fixed

    def has_own_type(self, node: Node, is_float: IsFloat) -> bool:
        """Whether a float32 result has its type from an attribute or is always float32."""
        given = {parameter.kind for parameter in self.inputs}
        return any(p.kind not in given for p in _used(node.outputs, self.outputs, is_float))


@cache
def signature(op: str, opset: int) -> Signature:
    """The signature of a standard operator at an opset."""
    try:
        schema = onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return Signature()
    return Signature(_parameters(schema.inputs), _parameters(schema.outputs))


@cache
def takes_float(op: str, index: int) -> bool:
    """Whether a standard operator may read float32 at an input; True for one that is not known.

    Files need not declare the types of inner tensors, but shapes and indices can be nothing but integers.
    """
    try:
        schema = onnx.defs.get_schema(op)
    except onnx.defs.SchemaError:
        return True
    if not schema.inputs:
        return True
    return "tensor(float)" in schema.inputs[min(index, len(schema.inputs) - 1)].types


def _parameters(formals: Iterable[Any]) -> tuple[Parameter, ...]:
    return tuple(Parameter(f.type_str, HALF_TENSOR in f.types, f.option == VARIADIC) for f in formals)


def _at(parameters: Sequence[Parameter], index: int) -> Parameter | None:
    if index < len(parameters):
        return parameters[index]
    return parameters[-1] if parameters and parameters[-1].is_variadic else None


def _used(
    tensors: Iterable[Tensor], parameters: Sequence[Parameter], is_float: IsFloat
) -> Iterable[Parameter]:
    """The parameters that float32 tensors stand for."""
    for index, tensor in enumerate(tensors):
        parameter = _at(parameters, index)
        if parameter is not None and is_float(tensor):
            yield parameter
