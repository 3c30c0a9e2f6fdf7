"""The intermediate representation: a live graphsurgeon graph over kept protos and mapped weights."""

from graphopt.ir.blank import blank
from graphopt.ir.check import CheckerError, lapses, structure_errors
from graphopt.ir.declared import Shape
from graphopt.ir.graph import Graph, Node
from graphopt.ir.input_roles import InputRole, input_roles
from graphopt.ir.load import from_bytes, load
from graphopt.ir.model import Model, Port, Signature, Snapshot
from graphopt.ir.nan_weights import nan_weights
from graphopt.ir.opset import convert_opset
from graphopt.ir.shapes import infer_shapes
from graphopt.ir.tensor import Constant, Tensor, Variable
from graphopt.ir.weights import Array

__all__ = [
    "Array",
    "CheckerError",
    "Constant",
    "Graph",
    "InputRole",
    "Model",
    "Node",
    "Port",
    "Shape",
    "Signature",
    "Snapshot",
    "Tensor",
    "Variable",
    "blank",
    "convert_opset",
    "from_bytes",
    "infer_shapes",
    "input_roles",
    "lapses",
    "load",
    "nan_weights",
    "structure_errors",
]
