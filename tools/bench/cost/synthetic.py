"""Generated models: a long residual graph for speed, and gigabytes of external weights for memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 8
NODES_A_BLOCK = 10
COMPUTE_NODES_LEFT_A_BLOCK = 6  # Conv, Relu, Conv, Add, Mul, Relu: both norms, Identity and Constant can go

MATRICES = 36
WIDTH = 4096  # 36 float32 matrices of 4096 x 4096: 2.25 GiB
FILLED_ROWS = 16


def residual_graph(path: Path, nodes: int, seed: int = 0) -> Path:
    """Write a chain of residual Conv-BatchNormalization-Relu blocks, ten nodes a block, with random weights.

    A block is Conv, norm, Relu, Identity, Conv, norm, Add with the block's input, Constant, Mul, Relu, over
    8 channels of 16 x 16.  Every block has weights of its own; the Constant is one half in all of them.
    """
    if nodes % NODES_A_BLOCK:
        raise ValueError(f"{nodes} nodes: blocks have {NODES_A_BLOCK}, so give a multiple of that")
    rng = np.random.default_rng(seed)
    all_nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    tensor = "input"
    for index in range(nodes // NODES_A_BLOCK):
        tensor = _add_block(f"block{index}", tensor, all_nodes, weights, rng)
    all_nodes[-1].output[0] = "output"
    shape: list[str | int | None] = ["N", CHANNELS, 16, 16]
    graph = helper.make_graph(
        all_nodes,
        "residual",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, shape)],
        weights,
    )
    onnx.save(_model(graph), path)
    return path


def _add_block(
    name: str,
    source: str,
    nodes: list[onnx.NodeProto],
    weights: list[onnx.TensorProto],
    rng: np.random.Generator,
) -> str:
    """Append one residual block that reads ``source``; the name of its output."""
    half = numpy_helper.from_array(np.float32(0.5))
    nodes += [
        *_conv_norm(f"{name}.a", source, weights, rng),
        helper.make_node("Relu", [f"{name}.a.norm"], [f"{name}.relu"], f"{name}.relu"),
        helper.make_node("Identity", [f"{name}.relu"], [f"{name}.same"], f"{name}.same"),
        *_conv_norm(f"{name}.b", f"{name}.same", weights, rng),
        helper.make_node("Add", [f"{name}.b.norm", source], [f"{name}.sum"], f"{name}.sum"),
        helper.make_node("Constant", [], [f"{name}.half"], f"{name}.half", value=half),
        helper.make_node("Mul", [f"{name}.sum", f"{name}.half"], [f"{name}.mul"], f"{name}.mul"),
        helper.make_node("Relu", [f"{name}.mul"], [f"{name}.out"], f"{name}.out"),
    ]
    return f"{name}.out"


def _conv_norm(
    name: str, source: str, weights: list[onnx.TensorProto], rng: np.random.Generator
) -> list[onnx.NodeProto]:
    """A 3x3 Conv without bias and its BatchNormalization, whose output is ``<name>.norm``."""
    kernel = rng.normal(0, 0.1, (CHANNELS, CHANNELS, 3, 3))
    statistics = {
        "scale": rng.uniform(0.8, 1.2, CHANNELS),
        "shift": rng.normal(0, 0.1, CHANNELS),
        "mean": rng.normal(0, 0.1, CHANNELS),
        "var": rng.uniform(0.5, 1.5, CHANNELS),
    }
    for part, values in {"kernel": kernel, **statistics}.items():
        weights.append(numpy_helper.from_array(values.astype(np.float32), f"{name}.{part}"))
    norm_inputs = [f"{name}.conv", *(f"{name}.{part}" for part in statistics)]
    return [
        helper.make_node(
            "Conv", [source, f"{name}.kernel"], [f"{name}.conv"], f"{name}.conv", pads=[1, 1, 1, 1]
        ),
        helper.make_node("BatchNormalization", norm_inputs, [f"{name}.norm"], f"{name}.norm"),
    ]


def external_weights(path: Path, matrices: int = MATRICES, width: int = WIDTH, seed: int = 0) -> Path:
    """Write a chain of MatMul, Identity and Relu whose matrices lie in one external file beside the model.

    The file is sparse: each matrix has a band of random rows, different for every matrix, and holes else.
    It is written in a moment and reads back at full size.
    """
    data = path.with_name(path.name + ".data")
    matrix_bytes = width * width * np.dtype(np.float32).itemsize
    _write_bands(data, matrices, width, seed)
    nodes = []
    tensor = "input"
    for index in range(matrices):
        product, same, output = (f"layer{index}.{part}" for part in ("product", "same", "relu"))
        nodes += [
            helper.make_node("MatMul", [tensor, f"layer{index}.weight"], [product], product),
            helper.make_node("Identity", [product], [same], same),
            helper.make_node("Relu", [same], [output], output),
        ]
        tensor = output
    nodes[-1].output[0] = "output"
    graph = helper.make_graph(
        nodes,
        "external",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["N", width])],
        [_external_matrix(f"layer{i}.weight", width, data.name, i * matrix_bytes) for i in range(matrices)],
    )
    path.write_bytes(_model(graph).SerializeToString())
    return path


def _write_bands(data: Path, matrices: int, width: int, seed: int) -> None:
    """Write ``matrices`` times width x width float32 to the file, zero but for one band of rows each."""
    rng = np.random.default_rng(seed)
    row_bytes = width * np.dtype(np.float32).itemsize
    rows = min(FILLED_ROWS, width)
    with data.open("wb") as file:
        for index in range(matrices):
            file.seek(index * width * row_bytes)
            file.write(rng.normal(0, rows**-0.5, (rows, width)).astype(np.float32).tobytes())
        file.truncate(matrices * width * row_bytes)


def _external_matrix(name: str, width: int, location: str, offset: int) -> onnx.TensorProto:
    tensor = TensorProto(
        name=name, data_type=TensorProto.FLOAT, dims=[width, width], data_location=TensorProto.EXTERNAL
    )
    length = width * width * np.dtype(np.float32).itemsize
    for key, value in {"location": location, "offset": str(offset), "length": str(length)}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def _model(graph: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
