"""Give a classifier two outputs that an application wants: the best label and its probability.

    graphopt optimize model.onnx --passes 'surgeon:function="examples/surgeon_classify.py:with_probabilities"'

This is ordinary onnx-graphsurgeon code, and runs without graphopt too:

    graph = with_probabilities(gs.import_onnx(onnx.load("model.onnx")))
"""

import numpy as np
import onnx_graphsurgeon as gs


def with_probabilities(graph: gs.Graph) -> gs.Graph:
    """Replace the scores [N, classes] by ``label`` [N] (int64) and ``probability`` [N] (float32)."""
    (scores,) = graph.outputs
    batch = scores.shape[0]
    probabilities = gs.Variable("probabilities", np.float32, scores.shape)
    label = gs.Variable("label", np.int64, [batch])
    probability = gs.Variable("probability", np.float32, [batch])

    # The axes of ReduceMax are an attribute up to operator set 17 and an input since 18.
    axes = {"axes": [1]} if graph.opset < 18 else {}
    wanted = [] if axes else [gs.Constant("probability_axes", np.array([1]))]
    graph.nodes += [
        gs.Node("Softmax", "softmax", {"axis": 1}, [scores], [probabilities]),
        gs.Node("ArgMax", "best", {"axis": 1, "keepdims": 0}, [scores], [label]),
        gs.Node("ReduceMax", "sure", {"keepdims": 0, **axes}, [probabilities, *wanted], [probability]),
    ]
    graph.outputs = [label, probability]
    return graph.cleanup().toposort()
