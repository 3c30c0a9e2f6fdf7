"""A terse builder of ONNX graphs: the awkward little models are written with it, a line per node."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Operand = str | np.ndarray | None
Dims = Sequence[int | str | None]


def ints(*values: int) -> np.ndarray:
    """Give a vector of int64: axes, sizes, pads."""
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    """Give a vector of float32."""
    return np.array(values, np.float32)


class Net:
    """A graph in the making; operands are tensor names, arrays (become initializers) or None (absent)."""

    def __init__(self, seed: int = 0, dtype: Any = np.float32) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.types: dict[str, onnx.ValueInfoProto] = {}
        self.counter = [0]

    def input(self, name: str = "x", shape: Dims | None = (1, 3, 8, 8), dtype: Any = None) -> str:
        """Declare a graph input; dimensions are sizes, symbols or None."""
        self.inputs.append(self._declare(name, shape, dtype))
        return name

    def tell(self, name: str, shape: Dims | None, dtype: Any = None) -> str:
        """Declare the type of an output that shape inference cannot find."""
        self._declare(name, shape, dtype)
        return name

    def _declare(self, name: str, shape: Dims | None, dtype: Any) -> onnx.ValueInfoProto:
        element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype if dtype is not None else self.dtype))
        self.types[name] = helper.make_tensor_value_info(name, element, shape)
        return self.types[name]

    def const(self, values: Any, name: str = "") -> str:
        """Add an initializer."""
        array = np.asarray(values)
        name = name or self._new_name("const")
        self.initializers[name] = numpy_helper.from_array(array, name)
        self._declare(name, array.shape, array.dtype)
        return name

    def random(self, *shape: int, low: float = -1.0, high: float = 1.0, name: str = "") -> str:
        """Add an initializer of uniform values of the net's type."""
        return self.const(self.rng.uniform(low, high, shape).astype(self.dtype), name)

    def array(self, *values: float) -> np.ndarray:
        """Give values as an array of the net's type; a single value as a scalar of rank 0."""
        return np.array(values if len(values) != 1 else values[0], self.dtype)

    def many(
        self, count: int, op: str, *inputs: Operand, name: str = "", domain: str = "", **attrs: Any
    ) -> list[str]:
        """Append a node with `count` outputs and return their names."""
        name = name or self._new_name(op)
        names = [self._operand(operand) for operand in inputs]
        outputs = [f"{name}.out"] if count == 1 else [f"{name}.out{i}" for i in range(count)]
        self.node(op, names, outputs, name=name, domain=domain or None, **attrs)
        return outputs

    def op(self, op: str, *inputs: Operand, name: str = "", domain: str = "", **attrs: Any) -> str:
        """Append a node with one output and return its name."""
        return self.many(1, op, *inputs, name=name, domain=domain, **attrs)[0]

    def node(self, op: str, inputs: Sequence[str], outputs: Sequence[str], **fields: Any) -> onnx.NodeProto:
        """Append a node with exactly these input and output names; array attributes become tensors."""
        fields = {
            k: numpy_helper.from_array(v) if isinstance(v, np.ndarray) else v for k, v in fields.items()
        }
        self.nodes.append(helper.make_node(op, inputs, outputs, **fields))
        return self.nodes[-1]

    def _operand(self, operand: Operand) -> str:
        if operand is None:
            return ""
        return operand if isinstance(operand, str) else self.const(operand)

    def _new_name(self, hint: str) -> str:
        self.counter[0] += 1
        return f"{hint}_{self.counter[0]}"

    def conv(
        self,
        x: str,
        shape: Sequence[int],
        *,
        bias: bool = False,
        op: str = "Conv",
        weight: str = "",
        name: str = "",
        **attrs: Any,
    ) -> str:
        """Append a Conv with weights of `shape`: (out, in / group, *kernel).

        For a ConvTranspose it is (in, out / group, *kernel).
        """
        name = name or self._new_name(op)
        weight = weight or self.random(*shape, name=f"{name}.weight")
        channels = shape[0] if op == "Conv" else shape[1] * attrs.get("group", 1)
        biases = [self.random(channels, name=f"{name}.bias")] if bias else []
        return self.op(op, x, weight, *biases, name=name, **attrs)

    def gemm(
        self, x: str, shape: Sequence[int], *, bias: Sequence[int] | None = None, name: str = "", **attrs: Any
    ) -> str:
        """Append a Gemm with weights stored in `shape` and a bias of shape `bias`."""
        name = name or self._new_name("Gemm")
        weight = self.random(*shape, name=f"{name}.weight")
        biases = [self.random(*bias, name=f"{name}.bias")] if bias is not None else []
        return self.op("Gemm", x, weight, *biases, name=name, **attrs)

    def bn_parameters(self, channels: int, name: str, *, shift: bool = True) -> list[str]:
        """Add scale (of both signs), bias, mean and variance; without `shift`, zero maps to zero exactly."""
        zeros = np.zeros(channels, self.dtype)
        return [
            self.random(channels, low=-1.5, high=1.5, name=f"{name}.scale"),
            self.random(channels, name=f"{name}.bias") if shift else self.const(zeros, f"{name}.bias"),
            self.random(channels, name=f"{name}.mean") if shift else self.const(zeros, f"{name}.mean"),
            self.random(channels, low=0.5, high=2.0, name=f"{name}.var"),
        ]

    def bn(self, x: str, channels: int, *, name: str = "", shift: bool = True, **attrs: Any) -> str:
        """Append an inference-mode BatchNormalization."""
        name = name or self._new_name("BatchNormalization")
        return self.op(
            "BatchNormalization", x, *self.bn_parameters(channels, name, shift=shift), name=name, **attrs
        )

    def body(self) -> Net:
        """Start the body of an If, Loop or Scan: it sees our tensors and draws from our names."""
        inner = Net(dtype=self.dtype)
        inner.rng, inner.counter = self.rng, self.counter
        return inner

    def graph(self, *outputs: str, name: str = "body") -> onnx.GraphProto:
        """Finish as a graph; outputs never told of are tensors of the net's type and unknown shape."""
        for output in outputs:
            if output not in self.types:
                self.tell(output, None)
        return self._graph(outputs, name, ())

    def model(
        self,
        *outputs: str,
        opset: int = 17,
        ir: int | None = None,
        listed: Iterable[str] = (),
        domains: Iterable[str] = (),
    ) -> onnx.ModelProto:
        """Finish as a model; initializers named in `listed` are graph inputs too."""
        opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
        ir = ir or max(8, helper.find_min_ir_version_for(opsets[:1]))
        graph = self._graph(outputs, "corpus", listed)
        model = helper.make_model(graph, opset_imports=opsets, ir_version=ir, producer_name="corpus")
        untyped = [value for value in graph.output if value.name not in self.types]
        if untyped:
            _infer_outputs(model)
        return model

    def _graph(self, outputs: Sequence[str], name: str, listed: Iterable[str]) -> onnx.GraphProto:
        inputs = [*self.inputs, *(self.types[initializer] for initializer in listed)]
        values = [self.types.get(output, helper.make_empty_tensor_value_info(output)) for output in outputs]
        return helper.make_graph(self.nodes, name, inputs, values, list(self.initializers.values()))


def _infer_outputs(model: onnx.ModelProto) -> None:
    """Fill in the types of the graph outputs, dimensions made up by the inference left unknown."""
    inferred = {v.name: v for v in onnx.shape_inference.infer_shapes(model, data_prop=True).graph.output}
    for value in model.graph.output:
        value.CopyFrom(inferred[value.name])
        if not value.type.tensor_type.elem_type:
            raise ValueError(f"the type of output {value.name} cannot be inferred: tell it to the net")
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param.startswith("unk__"):
                dim.Clear()
