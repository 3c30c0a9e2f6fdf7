"""Surgery as users write it, after the examples of graphsurgeon's own documentation.

Every function runs on graphsurgeon's own import of a model and on ours, and must do the same to both.
The file is read as a user's: nothing in it knows graphopt.
"""

import copy

import numpy as np
import onnx
import onnx_graphsurgeon as gs


def insert_node(graph):
    for node in list(graph.nodes):
        if node.op == "Relu":
            old = node.outputs[0]
            new = gs.Variable(old.name + "_abs", dtype=np.float32)
            graph.nodes.append(gs.Node("Abs", name="abs", inputs=[old], outputs=[new]))
            for reader in [n for n in old.outputs if n.op != "Abs"]:
                reader.inputs[0] = new
    graph.cleanup().toposort()


def remove_node(graph):
    node = next(n for n in graph.nodes if n.op == "Identity")
    producer = node.i()
    producer.outputs = node.outputs
    node.outputs.clear()
    graph.cleanup()


def remove_from_the_list(graph):
    node = next(n for n in graph.nodes if n.op == "Identity")
    for reader in list(node.outputs[0].outputs):
        reader.inputs[0] = node.inputs[0]
    graph.nodes.remove(node)


def isolate(graph):
    tensors = graph.tensors()
    graph.inputs = [tensors["r"].to_variable(dtype=np.float32, shape=("B", 3, 4, 4))]
    graph.outputs = [tensors["f"].to_variable(dtype=np.float32, shape=("B", 3))]
    graph.cleanup()


@gs.Graph.register()
def clipped_twice(self, source, result):
    inner = self.layer(
        op="Clip", inputs=[source, np.array(-1, np.float32), np.array(1, np.float32)], outputs=["clipped"]
    )
    return self.layer(op="Mul", inputs=[*inner, [2.0]], outputs=[result], name="double")


def replace_subgraph(graph):
    tensors = graph.tensors()
    source, result = tensors["c"], tensors["i"]
    source.outputs.clear()
    result.inputs.clear()
    graph.clipped_twice(source, result)
    graph.cleanup().toposort()


def free_batch(graph):
    for tensor in graph.inputs + graph.outputs:
        tensor.shape[0] = "N"


def declare_shape(graph):
    graph.inputs[0].shape = ["N", 2, "H", "W"]
    graph.outputs[0].shape = ["N", 7]


def fold(graph):
    weight = graph.tensors()["fc"]
    readers = list(weight.outputs)
    weight.outputs.clear()
    doubled = graph.layer(op="Mul", inputs=[weight, np.array([2], np.float32)], outputs=["doubled"])
    shifted = graph.layer(op="Add", inputs=[*doubled, [0.5]], outputs=["shifted"])
    readers[0].inputs[1] = shifted[0]
    graph.toposort().fold_constants().cleanup()
    assert not any(node.op == "Mul" for node in graph.nodes)


def scale_in_place(graph):
    for tensor in graph.tensors().values():
        if isinstance(tensor, gs.Constant):
            tensor.values *= 2
            tensor.values[0] = 0.25


def cut_classes(graph):
    for name in ("fc", "fc_bias"):
        constant = graph.tensors()[name]
        constant.values = constant.values[..., :4]
    graph.outputs[0].shape = [1, 4]


def replace_constant(graph):
    node = next(n for n in graph.nodes if n.op == "Gemm")
    node.inputs[2] = gs.Constant("fc_bias", np.arange(7, dtype=np.float32))


def edit_attributes(graph):
    node = next(n for n in graph.nodes if n.op == "Gemm")
    node.attrs["alpha"] = 0.5
    node.attrs.update({"beta": np.float32(2)})
    node.name = "classify"


def replace_node(graph):
    old = next(n for n in graph.nodes if n.op == "Gemm")
    attrs = old.attrs.copy()
    attrs["alpha"] = copy.deepcopy(old.attrs).get("alpha", 1.0) * 3
    graph.nodes.append(gs.Node("Gemm", "gemm", attrs, inputs=list(old.inputs), outputs=list(old.outputs)))
    old.inputs.clear()
    old.outputs.clear()
    graph.cleanup().toposort()


def append_postprocessing(graph):
    scores = graph.outputs[0]
    best = gs.Variable("best", dtype=np.int64, shape=[1])
    graph.nodes.append(gs.Node("ArgMax", attrs={"axis": 1, "keepdims": 0}, inputs=[scores], outputs=[best]))
    as_float = gs.Variable("best_float", dtype=np.float32, shape=[1])
    graph.nodes.append(gs.Node("Cast", attrs={"to": np.float32}, inputs=[best], outputs=[as_float]))
    graph.outputs = [as_float, best]


def edited_copy(graph):
    twin = graph.copy()
    twin.nodes[-1].attrs["alpha"] = 2.0
    twin.tensors()["fc_bias"].values = np.ones(7, np.float32)
    return twin


def graph_from_nothing(graph):
    source = gs.Variable("x", dtype=np.float32, shape=(1, 2, 4, 4))
    result = gs.Variable("y", dtype=np.float32, shape=(1, 2, 4, 4))
    node = gs.Node("Mul", inputs=[source, gs.Constant("two", np.float32([2]))], outputs=[result])
    return gs.Graph(nodes=[node], inputs=[source], outputs=[result], opset=17, ir_version=9)


def through_a_proto(graph):
    return gs.import_onnx(onnx.shape_inference.infer_shapes(gs.export_onnx(graph)))


def rename(graph):
    tensors = graph.tensors()
    tensors["x"].name, tensors["y"].name, tensors["c"].name = "image", "scores", "features"


def hand_out_by_name(graph):
    graph.outputs.append(gs.Variable("r", dtype=np.float32, shape=[1, 3, 4, 4]))


def branch(graph):
    scores = graph.outputs[0]
    bodies = []
    for name, op in (("then", "Softmax"), ("else", "Sigmoid")):
        inner = gs.Variable(f"{name}_inner", dtype=np.float32)
        result = gs.Variable(f"{name}_result", dtype=np.float32)
        weight = gs.Constant(f"{name}_weight", np.float32([3]))
        nodes = [
            gs.Node("Mul", inputs=[scores, weight], outputs=[inner]),
            gs.Node(op, inputs=[inner], outputs=[result]),
        ]
        bodies.append(gs.Graph(nodes=nodes, outputs=[result], name=name))
    flag = gs.Constant("flag", np.array(True))
    result = gs.Variable("chosen", dtype=np.float32, shape=[1, 7])
    attrs = {"then_branch": bodies[0], "else_branch": bodies[1]}
    graph.nodes.append(gs.Node("If", "choose", attrs, inputs=[flag], outputs=[result]))
    graph.outputs = [result]


def by_export_type(graph):
    for node in graph.nodes:
        node.attrs.pop("unknown", None)
    pool = next(n for n in graph.nodes if n.op == "GlobalAveragePool")
    zero = gs.Constant("offset", np.zeros((1, 1, 1, 1), np.float32), export_dtype=np.float32)
    moved = gs.Variable("moved")
    graph.nodes.insert(0, gs.Node("Add", inputs=[pool.inputs[0], zero], outputs=[moved]))
    pool.inputs = [moved]
    graph.toposort()
