"""Is this still a valid model: our own structure check, then ONNX's checker."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import onnx

from graphopt.errors import ModelError
from graphopt.ir.graph import Graph
from graphopt.ir.io.protos import all_tensors, tensors_in
from graphopt.ir.tensor import Constant

if TYPE_CHECKING:
    from graphopt.ir.model import Model

MAX_REPORTED = 3
RUNTIME_DOMAINS = (
    "com.microsoft",
    "com.microsoft.nchwc",
    "ai.onnx.ml",
)  # onnxruntime needs no import of them


class CheckerError(ModelError):
    """ONNX's checker refuses a model whose graph holds together: a runtime may take it all the same."""


def is_defined(op: str, opset: int) -> bool:
    """Whether ONNX defines a standard operator at this opset."""
    try:
        onnx.defs.get_schema(op, opset, "")
    except (onnx.defs.SchemaError, TypeError):  # TypeError: a name that is not text
        return False
    return True


def lapses(model: Model) -> list[str]:
    """One sentence for each rule of ONNX that the model breaks though every runtime can do without it."""
    open_ports = [p.name for p in (*model.graph.inputs, *model.graph.outputs) if _is_shapeless(p.info)]
    sentences = [f"'{name}' declares no shape, which ONNX asks of inputs and outputs" for name in open_ports]
    unknown = [domain for domain in _domains(model) if domain not in model.opsets]
    sentences += [f"operators of {domain} are used without its import" for domain in unknown]
    return sentences


def check_model(model: Model) -> None:
    """Check names, order and definitions, then run the ONNX checker; raises ModelError.

    The checker sees the model without its large payloads, so its cost does not grow with the weights.
    """
    model.sort()
    if errors := structure_errors(model):
        more = f" (and {len(errors) - MAX_REPORTED} more)" if len(errors) > MAX_REPORTED else ""
        raise ModelError("; ".join(errors[:MAX_REPORTED]) + more)
    proto = model.proto()
    for tensor in all_tensors(proto) if model.weights.is_external else tensors_in(proto.graph):
        if model.weights.is_held(tensor):
            _stand_in(tensor)
    _complete(proto)
    try:
        onnx.checker.check_model(proto.SerializeToString())
    except onnx.checker.ValidationError as error:
        raise CheckerError(f"the ONNX checker refuses the model: {_first_line(error)}") from error
    except UnicodeDecodeError as error:  # of the checker's own message
        raise CheckerError(
            "the ONNX checker refuses the model, which holds a name that is not text"
        ) from error


def _complete(proto: onnx.ModelProto) -> None:
    """Fill in what ``lapses`` says is missing, so that the checker sees the rest of the model."""
    for info in (*proto.graph.input, *proto.graph.output):
        if _is_shapeless(info):
            info.type.tensor_type.shape.SetInParent()
    imported = {entry.domain for entry in proto.opset_import}
    for domain in {node.domain for node in proto.graph.node} - imported:
        if domain in RUNTIME_DOMAINS:
            proto.opset_import.add(domain=domain, version=1)


def _is_shapeless(info: onnx.ValueInfoProto | None) -> bool:
    """Whether a tensor is declared with a type and without a shape."""
    if info is None or not info.type.HasField("tensor_type"):
        return False
    return bool(info.type.tensor_type.elem_type) and not info.type.tensor_type.HasField("shape")


def _domains(model: Model) -> list[str]:
    nodes = (node for graph in model.graphs() for node in graph.nodes)
    return [d for d in dict.fromkeys(node.domain for node in nodes) if d in RUNTIME_DOMAINS]


def structure_errors(model: Model) -> list[str]:
    """Return one sentence for each tensor that is made twice or read without being made."""
    errors: list[str] = []
    _visit(model.graph, (), errors)
    return errors


def _visit(graph: Graph, outer: tuple[set[str], ...], errors: list[str]) -> None:
    """Check a graph; ``outer`` holds the names known around it, outermost graph first."""
    local = _declared(graph, errors)
    scopes = (*outer, local)
    for node in graph.nodes:
        title = f"node '{node.name}' ({node.op})"
        for tensor in node.inputs:
            if tensor.name and not _is_known(tensor.name, scopes) and not _is_new(tensor):
                errors.append(f"{title} reads '{tensor.name}', which nothing before it makes")
        for inner in node.subgraphs():
            _visit(inner, scopes, errors)
        for tensor in node.outputs:
            if tensor.name and tensor.name in local:
                errors.append(f"{title} makes '{tensor.name}' a second time")
            local.add(tensor.name)
    errors += [
        f"nothing makes the output '{tensor.name}'"
        for tensor in graph.outputs
        if not _is_known(tensor.name, scopes) and not _is_new(tensor)
    ]


def _declared(graph: Graph, errors: list[str]) -> set[str]:
    """The names that a graph knows before its first node runs."""
    inputs = [tensor.name for tensor in graph.inputs]
    listed = set(graph.inputs)
    constants = [tensor.name for tensor in graph.initializers if tensor not in listed]
    constants += [sparse.values.name for sparse in graph.header.sparse_initializer]
    counts = Counter([*inputs, *constants])
    errors += [f"'{name}' is declared {count} times" for name, count in counts.items() if count > 1]
    return set(counts)


def _is_known(name: str, scopes: tuple[set[str], ...]) -> bool:
    return any(name in scope for scope in scopes)


def _is_new(tensor: object) -> bool:
    """A constant that a pass made and the exporter is still to declare."""
    return isinstance(tensor, Constant) and tensor.graph is None


def _stand_in(tensor: onnx.TensorProto) -> None:
    """Describe an empty tensor in place of one whose payload is held elsewhere."""
    del tensor.external_data[:]
    tensor.ClearField("data_location")
    tensor.raw_data = b""
    tensor.dims[:] = [0]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
