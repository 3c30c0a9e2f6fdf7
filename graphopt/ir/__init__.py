"""The intermediate representation: a live graphsurgeon graph over kept protos and mapped weights.

- ``analysis``: What is known of a model without running it: types, shapes, values, what is valid, what an
  edit left alone.
- ``blank``: Make a model from nothing, to be filled through its graph.
- ``declared``: What the file declares of a tensor: its element type and its shape.
- ``edges``: The two ends of every edge, kept in step: a node's tensors and a tensor's nodes.
- ``graph``: The live graph: graphsurgeon's Graph with constant-time edits and what it would lose on the way.
- ``graphsurgeon``: The border to a user's own graphsurgeon code: the live graph is opened for it and taken
  back.
- ``input_roles``: What a model does with its whole-number inputs: which values they may take.
- ``io``: Files to graphs and back: what nobody touched is written as it was read.
- ``model``: A model: the live graph, its weight store, and what the file says around them.
- ``names``: Unique names for what passes add, in constant time.
- ``nan_weights``: Find weights that hold NaN: nothing that depends on them can be judged.
- ``node``: Nodes of the live graph: graphsurgeon's Node with identity, kept protos and attributes parsed when
  read.
- ``packing``: Tensors of element types that numpy lacks, as the bytes that ONNX stores of them.
- ``signatures``: What ONNX defines of the types that operators take and make: float16 or not, their own or
  their inputs'.
- ``tensor``: Tensors of the live graph: graphsurgeon's Variable and Constant with identity and mapped values.
- ``transform``: Rewrites that several passes share.
- ``traversal``: Topological order that leaves a sorted graph as it is.
"""

from graphopt.ir.analysis.checker import CheckerError, lapses, structure_errors
from graphopt.ir.analysis.shape_inference import infer_shapes
from graphopt.ir.blank import blank
from graphopt.ir.declared import Shape, static_shape
from graphopt.ir.graph import Graph, Node
from graphopt.ir.input_roles import InputRole, input_roles
from graphopt.ir.io.accept import ModelLike, accept
from graphopt.ir.io.load import from_bytes, load
from graphopt.ir.io.weights import Array
from graphopt.ir.model import Model, Port, Signature, Snapshot
from graphopt.ir.nan_weights import nan_weights
from graphopt.ir.tensor import Constant, Tensor, Variable
from graphopt.ir.transform.opset import convert_opset

__all__ = [
    "Array",
    "CheckerError",
    "Constant",
    "Graph",
    "InputRole",
    "Model",
    "ModelLike",
    "Node",
    "Port",
    "Shape",
    "Signature",
    "Snapshot",
    "Tensor",
    "Variable",
    "accept",
    "blank",
    "convert_opset",
    "from_bytes",
    "infer_shapes",
    "input_roles",
    "lapses",
    "load",
    "nan_weights",
    "static_shape",
    "structure_errors",
]
