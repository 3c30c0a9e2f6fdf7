"""Changes to a finished model that alter no number: where constants are kept, names, what is declared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Change = Callable[[onnx.ModelProto], None]
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)


@dataclass(frozen=True)
class Quirk:
    """A change, and how often it is drawn."""

    change: Change
    odds: float


def apply_quirks(model: onnx.ModelProto, names: Sequence[str], ir: int) -> onnx.ModelProto:
    """Change a model by these quirks in their order; below IR 4 every initializer is an input."""
    for name in names:
        QUIRKS[name].change(model)
    if ir < 4:
        initializers_as_inputs(model)
    return model


def initializers_as_inputs(model: onnx.ModelProto) -> None:
    """List every initializer among the inputs too."""
    listed = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        if tensor.name not in listed:
            value = helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            model.graph.input.append(value)


def some_initializers_as_inputs(model: onnx.ModelProto) -> None:
    """List every second initializer among the inputs too."""
    for tensor in list(model.graph.initializer)[::2]:
        value = helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        model.graph.input.append(value)


def constant_nodes(model: onnx.ModelProto) -> None:
    """Turn initializers into Constant nodes."""
    tensors = list(model.graph.initializer)
    del model.graph.initializer[:]
    nodes = [helper.make_node("Constant", [], [t.name], f"{t.name}_node", value=t) for t in tensors]
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])


def no_node_names(model: onnx.ModelProto) -> None:
    """Take the names of nodes away."""
    for node in model.graph.node:
        node.name = ""


def awkward_tensor_names(model: onnx.ModelProto) -> None:
    """Name inner tensors as paths with blanks and signs."""
    outer = {value.name for value in (*model.graph.input, *model.graph.output)}
    produced = {name for node in model.graph.node for name in node.output if name}
    renamed = {name: f'/m:0 {name}|ä,="{{}}' for name in produced - outer}
    if any(attribute.g.node for node in model.graph.node for attribute in node.attribute):
        return
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = renamed.get(name, name)


def infer_shapes(model: onnx.ModelProto) -> None:
    """Store what shape inference finds; as of IR 4, since the initializers are not among the inputs yet."""
    modern = onnx.ModelProto()
    modern.CopyFrom(model)
    modern.ir_version = max(model.ir_version, 4)
    inferred = onnx.shape_inference.infer_shapes(modern)
    model.graph.value_info.extend(inferred.graph.value_info)


def no_output_shapes(model: onnx.ModelProto) -> None:
    """Declare the outputs' types without their shapes."""
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")


def unused_parts(model: onnx.ModelProto) -> None:
    """Add an initializer that nothing reads, a dead node and an empty initializer."""
    model.graph.initializer.append(numpy_helper.from_array(np.ones(3, np.float32), "never_read"))
    model.graph.initializer.append(numpy_helper.from_array(np.ones((0, 2), np.float32), "empty"))
    model.graph.node.append(helper.make_node("Relu", [model.graph.input[0].name], ["dead_end"], "dead"))


def bfloat16_weights(model: onnx.ModelProto) -> None:
    """Store float weights in bfloat16, with a Cast before each reader."""
    nodes = []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.data_type != TensorProto.FLOAT or values.size < 4 or values.ndim < 2:
            continue
        bits = (values.view(np.uint32) >> 16).astype(np.uint16)
        name, tensor.name = tensor.name, f"{tensor.name}_bf16"
        tensor.ClearField("float_data")
        tensor.data_type, tensor.raw_data = TensorProto.BFLOAT16, bits.tobytes()
        nodes.append(helper.make_node("Cast", [tensor.name], [name], f"{name}_cast", to=TensorProto.FLOAT))
    rest = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *rest])


def tied_weights(model: onnx.ModelProto) -> None:
    """Let weights of one shape be one initializer."""
    first: dict[tuple[int, ...], str] = {}
    renamed: dict[str, str] = {}
    outer = {value.name for value in model.graph.output}
    for tensor in model.graph.initializer:
        if tensor.data_type in FLOATS and len(tensor.dims) > 1 and tensor.name not in outer:
            kept = first.setdefault((tensor.data_type, *tensor.dims), tensor.name)
            renamed[tensor.name] = kept
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)


def copied_output(model: onnx.ModelProto) -> None:
    """Give the last output a copy under another name."""
    last = model.graph.output[-1]
    model.graph.node.append(helper.make_node("Identity", [last.name], [f"{last.name}_copy"], "copy"))
    model.graph.output.append(last)
    model.graph.output[-1].name = f"{last.name}_copy"


def input_as_output(model: onnx.ModelProto) -> None:
    """Pass an input through by Identity, first among the outputs."""
    value = model.graph.input[0]
    model.graph.node.append(helper.make_node("Identity", [value.name], ["passed"], "pass"))
    outputs = list(model.graph.output)
    del model.graph.output[:]
    model.graph.output.append(value)
    model.graph.output[0].name = "passed"
    model.graph.output.extend(outputs)


def float_data(model: onnx.ModelProto) -> None:
    """Store float32 tensors field by field instead of raw."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.HasField("raw_data"):
            values = numpy_helper.to_array(tensor)
            tensor.ClearField("raw_data")
            tensor.float_data.extend(float(value) for value in values.ravel())


def local_function(model: onnx.ModelProto) -> None:
    """Let every Relu be a call of a function that the model brings along."""
    if model.ir_version < 8:
        return
    opset = [entry for entry in model.opset_import if entry.domain == ""]
    body = helper.make_node("Relu", ["value"], ["result"])
    model.functions.append(helper.make_function("own", "Rectify", ["value"], ["result"], [body], opset))
    model.opset_import.append(helper.make_opsetid("own", 1))
    for node in model.graph.node:
        if node.op_type == "Relu" and not node.domain:
            node.op_type, node.domain = "Rectify", "own"


def metadata(model: onnx.ModelProto) -> None:
    """Add metadata, documentation and a producer."""
    helper.set_model_props(model, {"classes": "a,b", "note": "x" * 50})
    model.doc_string = model.graph.doc_string = "a text"


QUIRKS: dict[str, Quirk] = {
    "tied_weights": Quirk(tied_weights, 0.05),
    "bfloat16_weights": Quirk(bfloat16_weights, 0.06),
    "float_data": Quirk(float_data, 0.05),
    "copied_output": Quirk(copied_output, 0.06),
    "input_as_output": Quirk(input_as_output, 0.05),
    "some_initializers_as_inputs": Quirk(some_initializers_as_inputs, 0.04),
    "constant_nodes": Quirk(constant_nodes, 0.07),
    "local_function": Quirk(local_function, 0.03),
    "infer_shapes": Quirk(infer_shapes, 0.2),
    "awkward_tensor_names": Quirk(awkward_tensor_names, 0.04),
    "no_node_names": Quirk(no_node_names, 0.08),
    "no_output_shapes": Quirk(no_output_shapes, 0.05),
    "unused_parts": Quirk(unused_parts, 0.06),
    "metadata": Quirk(metadata, 0.03),
}
