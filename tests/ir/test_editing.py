"""Edits keep names, readers and outputs right, in every graph and in constant time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper

from graphopt import ir
from graphopt.errors import ModelError
from graphopt.ir.analysis.facts import gather_facts
from tests.corpus import case


def load(name: str) -> ir.Model:
    return ir.from_bytes(case(name).build().SerializeToString())


def written(model: ir.Model) -> ModelProto:
    """The model after the check that each command does."""
    model.check()
    return ModelProto.FromString(model.to_bytes())


def build(
    nodes: list[onnx.NodeProto],
    outputs: list[str],
    constants: dict[str, Any] | None = None,
    inputs: tuple[str, ...] = ("x",),
    **options: Any,
) -> ir.Model:
    """A model of float vectors of 4."""
    ports = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, [4]) for n in (*inputs, *outputs)}
    weights = [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in (constants or {}).items()]
    graph = helper.make_graph(nodes, "g", [ports[n] for n in inputs], [ports[n] for n in outputs], weights)
    options = {"ir_version": 8, "opset_imports": [helper.make_opsetid("", 17)]} | options
    model = helper.make_model(graph, **options)
    return ir.from_bytes(model.SerializeToString())


def node(op: str, inputs: str, output: str, **attrs: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs.split(), output.split(), name=f"{op}:{output}", **attrs)


def run(model: ir.Model, **feeds: Any) -> list[np.ndarray]:
    session = ort.InferenceSession(model.to_bytes(), providers=["CPUExecutionProvider"])
    feeds = feeds or {"x": np.arange(4, dtype=np.float32) - 1}
    return session.run(None, feeds)  # type: ignore[no-any-return]


def named(model: ir.Model, name: str) -> ir.Node:
    return next(n for g in model.graphs() for n in g.nodes if n.name == name)


def branching() -> ir.Model:
    """z = c ? w2 + (-x) : identity(-x): the Neg and the weight are read by branches alone."""
    branches = {}
    for key, nodes in {
        "then_branch": [node("Add", "n w", "t")],
        "else_branch": [node("Identity", "n", "e")],
    }.items():
        result = helper.make_tensor_value_info(nodes[0].output[0], TensorProto.FLOAT, [4])
        branches[key] = helper.make_graph(nodes, key, [], [result])
    nodes = [
        node("Neg", "x", "n"),
        node("ReduceMax", "x", "m", keepdims=0),
        node("Cast", "m", "c", to=TensorProto.BOOL),
        node("If", "c", "z", **branches),
    ]
    return build(nodes, ["z"], {"w": np.ones(4)})


def test_bypass_keeps_the_names_of_outputs() -> None:
    model = build([node("Relu", "x", "r"), node("Identity", "r", "y")], ["y"])
    assert model.graph.bypass(named(model, "Identity:y"))
    got = written(model)
    assert [(n.op_type, *n.input, *n.output) for n in got.graph.node] == [("Relu", "x", "y")]


def test_bypass_between_outputs_is_refused() -> None:
    nodes = [node("Relu", "x", "y"), node("Identity", "y", "z"), node("Identity", "x", "w")]
    model = build(nodes, ["y", "z", "w"])
    before = written(model)
    assert not model.graph.bypass(named(model, "Identity:z"))
    assert not model.graph.bypass(named(model, "Identity:w"))
    assert written(model) == before


def test_bypass_of_a_chain_keeps_the_last_name() -> None:
    nodes = [node("Relu", "x", "r")] + [node("Identity", a, b) for a, b in ("ra", "ab", "by")]
    model = build([*nodes, node("Neg", "a", "side")], ["y", "side"])
    for identity in list(model.graph.find("Identity")):
        assert model.graph.bypass(identity)
    expected = [("Relu", "x", "y"), ("Neg", "y", "side")]
    assert [(n.op_type, *n.input, *n.output) for n in written(model).graph.node] == expected


def test_bypass_reaches_readers_in_branches() -> None:
    model = branching()
    expected = run(model)
    assert model.graph.bypass(named(model, "Neg:n"))
    inner = named(model, "Add:t")
    assert inner.inputs[0].name == "x" and model.graph.inputs[0].consumers.count(inner) == 1
    written(model)
    assert not np.array_equal(run(model)[0], expected[0])


def test_bypass_inside_a_branch_keeps_its_output() -> None:
    model = branching()
    inner = named(model, "Identity:e")
    assert inner.graph is not None and not inner.graph.bypass(inner)


def test_bypass_of_a_node_whose_mask_is_used_is_refused() -> None:
    nodes = [node("Dropout", "x", "d mask"), node("Relu", "d", "y"), node("Cast", "mask", "z", to=1)]
    model = build(nodes, ["y", "z"])
    assert not model.graph.bypass(model.graph.nodes[0])
    written(model)


def test_replace_uses_changes_each_place_and_no_output() -> None:
    model = build([node("Relu", "x", "r"), node("Sum", "r x r", "y")], ["r", "y"])
    relu, total = model.graph.nodes
    model.graph.replace_uses(relu.output, model.graph.inputs[0])
    assert [t.name for t in total.inputs] == ["x", "x", "x"] and not relu.output.consumers
    assert [t.name for t in model.graph.outputs] == ["r", "y"]


def test_remove_dead_spares_what_branches_read() -> None:
    model = branching()
    dead = model.graph.add_node("Exp", [model.graph.inputs[0]])
    model.graph.add_node("Exp", [dead.output])
    expected = run(model)
    assert model.graph.remove_dead() == 2
    assert model.graph.remove_unused_initializers() == 0
    assert {n.op for n in model.graph.nodes} == {"Neg", "ReduceMax", "Cast", "If"}
    assert np.array_equal(run(model)[0], expected[0])


def test_a_removed_branch_no_longer_reads() -> None:
    model = branching()
    condition = named(model, "If:z")
    outer = named(model, "Neg:n").output
    assert len(outer.consumers) == 2
    result = condition.output
    model.graph.remove(condition)
    model.graph.add_node("Relu", [model.graph.inputs[0]], outputs=[result])
    assert not outer.consumers
    assert model.graph.remove_dead() == 3 and model.graph.remove_unused_initializers() == 1
    written(model)


def test_attributes_can_be_read_after_the_node_has_left() -> None:
    model = load("constant_nodes")
    constant = next(n for n in model.graph.find("Constant") if n.name == "Constant_1")
    model.graph.remove(constant)
    assert isinstance(constant.attrs["value"], ir.Constant)


def test_unread_initializers_of_ir_3_leave_the_inputs_too() -> None:
    model = load("listed_initializers_ir3")
    conv = next(iter(model.graph.find("Conv")))
    model.graph.replace_uses(conv.output, model.graph.inputs[0])
    source = next(t for t in model.graph.inputs if t.name == "x")
    relu = next(iter(model.graph.find("Relu")))
    relu.inputs = [source]
    model.graph.remove(conv)
    assert model.graph.remove_unused_initializers() == 2
    assert [t.name for t in model.graph.inputs] == ["x"]


def test_new_constants_of_ir_3_are_listed_in_the_main_graph_alone() -> None:
    model = load("listed_initializers_ir3")
    conv = next(iter(model.graph.find("Conv")))
    model.graph.set_constant(conv, 1, conv.inputs[1].constant * 2)
    got = written(model)
    assert {i.name for i in got.graph.input} == {"x", *(t.name for t in got.graph.initializer)}
    old = ir.from_bytes(
        ModelProto.FromString(branching().to_bytes()).SerializeToString().replace(b"\x08\x08", b"\x08\x03", 1)
    )
    assert old.ir_version == 3
    inner = named(old, "Add:t")
    inner.inputs[1] = inner.graph.add_constant("v", np.zeros(4, np.float32))
    got = ModelProto.FromString(old.to_bytes())
    bodies = [a.g for n in got.graph.node for a in n.attribute if a.HasField("g")]
    assert not any(body.input for body in bodies)


def test_parameters_of_annotations_stay() -> None:
    model = load("quantization_annotation")
    assert model.graph.remove_unused_initializers() == 0


def test_set_constant_copies_what_others_read() -> None:
    model = build([node("Add", "x w", "a"), node("Add", "a w", "y")], ["y"], {"w": np.ones(4)})
    first, second = model.graph.nodes
    model.graph.set_constant(first, 1, np.full(4, 5, np.float32))
    assert second.inputs[1].constant.tolist() == [1] * 4
    assert first.inputs[1].constant.tolist() == [5] * 4 and first.inputs[1] is not second.inputs[1]
    private = first.inputs[1]
    model.graph.set_constant(first, 1, np.full(4, 6, np.float32))
    assert first.inputs[1] is private
    assert np.array_equal(run(model)[0], np.arange(4) + 6)


def test_set_constant_of_an_outer_weight_leaves_the_other_branch() -> None:
    model = branching()
    inner = named(model, "Add:t")
    reader = model.graph.add_node("Add", [model.graph.inputs[0], inner.inputs[1]])
    inner.graph.set_constant(inner, 1, np.zeros(4, np.float32))
    assert reader.inputs[1].constant.tolist() == [1] * 4
    assert inner.inputs[1].graph is inner.graph
    written(model)


def test_set_constant_adds_missing_inputs() -> None:
    model = load("model_header")
    conv = next(iter(model.graph.find("Conv")))
    del conv.inputs[2:]
    model.graph.set_constant(conv, 2, np.zeros(4, np.float32))
    written(model)
    assert conv.inputs[2].name == "conv.bias_1"
    clip = model.graph.add_node("Clip", [model.graph.inputs[0]])
    model.graph.set_constant(clip, 2, np.float32(6))
    assert clip.input(1) is None and clip.inputs[2].constant == 6


def test_values_handed_out_cannot_be_written() -> None:
    model = build([node("Add", "x w", "y")], ["y"], {"w": np.ones(4)})
    weight = model.graph.nodes[0].inputs[1]
    for _ in range(2):
        with pytest.raises(ValueError, match="read-only"):
            weight.constant[0] = 2
        model.restore(model.snapshot())
        weight = model.graph.nodes[0].inputs[1]
        weight.values = np.zeros(4, np.float32)


def test_names_are_unique_across_graphs() -> None:
    model = branching()
    inner = named(model, "Add:t").graph
    made = {model.graph.add_constant("t", np.zeros(1)).name, inner.add_constant("x", np.zeros(1)).name}
    made.add(model.graph.add_node("Relu", [model.graph.inputs[0]], name="Add:t").name)
    made.add(inner.add_node("Relu", [model.graph.inputs[0]], outputs=2).outputs[1].name)
    taken = {"x", "n", "m", "c", "z", "t", "e", "w", "Add:t", "Neg:n"}
    assert not made & taken and len(made) == 4
    nowhere = load("typed_tensors_of_nowhere")
    assert nowhere.graph.add_constant("zebra", np.zeros(1)).name != "zebra"


def test_a_tensor_changes_its_kind_in_place() -> None:
    model = build([node("Relu", "x", "r"), node("Add", "r w", "y")], ["y"], {"w": np.ones(4)})
    relu, add = model.graph.nodes
    result, weight = relu.output, add.inputs[1]
    model.graph.remove(relu)
    result.to_constant(np.full(4, 2, np.float32))
    assert isinstance(result, ir.Constant) and result.constant.tolist() == [2] * 4
    weight.to_variable()
    assert isinstance(weight, ir.Variable) and weight.shape == (4,) and weight.dtype == np.float32
    weight.become(result)
    assert weight.constant.tolist() == [2] * 4
    assert np.array_equal(run(model)[0], np.full(4, 4, np.float32))
    got = written(model)
    assert {t.name for t in got.graph.initializer} == {"r", "w"}


def test_an_undeclared_constant_of_a_branch_is_declared_once() -> None:
    model = branching()
    inner = named(model, "Add:t")
    shared = ir.Constant("fresh", np.zeros(4, np.float32))
    inner.inputs = [shared, shared]
    named(model, "Identity:e").inputs = [shared]
    gather_facts(model)  # must not declare anything
    assert shared.graph is None
    got = written(model)
    bodies = [a.g for n in got.graph.node for a in n.attribute if a.HasField("g")]
    assert sum(t.name == "fresh" for body in bodies for t in body.initializer) == 2


def test_shapes_are_forgotten_inside_and_kept_at_the_borders() -> None:
    model = load("model_header")
    inner = next(iter(model.graph.find("Conv"))).output
    assert inner.shape == ("N", 4, 6, 6)
    before = model.signature
    model.forget_shapes()
    assert inner.shape is None and inner.dtype == np.float32
    assert model.signature == before
    assert not written(model).graph.value_info


def test_new_nodes_inherit_from_what_they_replace() -> None:
    model = load("metadata_everywhere")
    old = next(iter(model.graph.find("Relu")))
    new = model.graph.add_node("Relu", list(old.inputs), {"alpha": 1}, like=old, domain="corpus.custom")
    model.set_opset(1, "corpus.custom")
    made = next(n for n in written(model).graph.node if n.name == new.name)
    assert {p.key: p.value for p in made.metadata_props}["kind"] == "node"
    assert new.name.startswith("relu")


def test_metadata_can_be_edited() -> None:
    model = load("model_header")
    model.metadata["added"] = "1"
    model.metadata["empty"] = "full"
    del model.metadata["labels"]
    assert dict(model.metadata) == {"empty": "full", "größe": "12 µm", "added": "1"}
    with pytest.raises(KeyError):
        del model.metadata["labels"]
    assert {p.key for p in written(model).metadata_props} == {"empty", "größe", "added"}


def test_attributes_keep_their_types() -> None:
    model = load("attribute_plain")
    opaque = named(model, "opaque")
    opaque.attrs["ints"].append(5)
    opaque.attrs["floats"] = [1, 2]
    opaque.attrs["f"] = np.float32(2)
    opaque.attrs["strings"] = []
    opaque.attrs["new"] = np.array([1.5, 2.5])
    opaque.attrs["body"] = branching().graph
    opaque.attrs["t"] = ir.Constant("", np.zeros((2, 0), np.int8))
    del opaque.attrs["s"]
    got = next(n for n in ModelProto.FromString(model.to_bytes()).graph.node if n.name == "opaque")
    kinds = {a.name: onnx.AttributeProto.AttributeType.Name(a.type) for a in got.attribute}
    expected = {"f": "FLOAT", "i": "INT", "floats": "FLOATS", "ints": "INTS", "strings": "STRINGS"}
    assert kinds == expected | {"new": "FLOATS", "body": "GRAPH", "t": "TENSOR"}
    values = {a.name: helper.get_attribute_value(a) for a in got.attribute if a.name != "strings"}
    assert list(values["ints"]) == [1, -1, 5] and list(values["floats"]) == [1, 2] and values["f"] == 2


@pytest.mark.parametrize(
    ("was", "now"), [([0.0], [-0.0]), ([1], [True]), ([float("nan")], [float("nan")])], ids=str
)
def test_lists_that_look_equal_are_told_apart(was: list[Any], now: list[Any]) -> None:
    model = build([node("Op", "x", "y", domain="d", values=was)], ["y"])
    model.set_opset(1, "d")
    before = model.snapshot()
    model.graph.nodes[0].attrs["values"][0] = now[0]
    kept = model.snapshot() == before
    assert kept == (repr(was) == repr(now) or was == [1])


def test_bodies_in_lists_count_as_readers() -> None:
    model = load("attribute_graphs")
    graphs = list(named(model, "opaque").subgraphs())
    assert [g.name for g in graphs] == ["g0", "g1"] and len(list(model.graphs())) == 3
    outer = next(iter(model.graph.find("Relu"))).output
    graphs[1].nodes[0].inputs[0] = outer
    assert graphs[1].nodes[0] in outer.consumers
    got = next(n for n in ModelProto.FromString(model.to_bytes()).graph.node if n.name == "opaque")
    assert got.attribute[0].graphs[1].node[0].input[0] == outer.name


def test_graphsurgeon_spellings() -> None:
    model = build([node("Relu", "x", "y")], ["y"])
    graph = model.graph
    assert isinstance(graph, gs.Graph) and graph == model.graph and {graph}
    (made,) = graph.layer(op="Add", inputs=[graph.inputs[0], np.ones(4, np.float32)], outputs=["y"])
    assert made.name != "y" and made.producer.op == "Add"
    (second,) = graph.layer([made], ["z"], "Elu", name="elu", attrs={"alpha": 2.0})
    assert second.producer.name == "elu" and second.producer.i().op == "Add"
    graph.outputs.append(second)
    second.dtype, second.shape = np.float32, (4,)
    assert graph.toposort() is graph and graph.cleanup() is graph
    written(model)


def test_asking_for_what_is_not_there_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    model = branching()
    assert not hasattr(model.graph, "values")
    assert capfd.readouterr().out == ""


def test_functions_registered_with_graphsurgeon_are_found() -> None:
    @gs.Graph.register()
    def shift_by_one(self: ir.Graph, tensor: ir.Tensor) -> Any:
        return self.layer(op="Add", inputs=[tensor, np.ones(4, np.float32)], outputs=["shifted"])[0]

    model = build([node("Relu", "x", "y")], ["y"])
    try:
        assert model.graph.shift_by_one(model.graph.inputs[0]).producer.op == "Add"
    finally:
        del gs.Graph.GLOBAL_FUNC_MAP["shift_by_one"]


STRUCTURE: dict[str, tuple[Callable[[ir.Model], object], str]] = {
    "twice": (lambda m: m.graph.nodes[0].outputs.append(ir.Variable("z")), "a second time"),
    "undefined": (lambda m: m.graph.nodes[0].inputs.append(ir.Variable("ghost")), "nothing before it makes"),
    "output": (lambda m: m.graph.outputs.append(ir.Variable("ghost")), "nothing makes the output"),
    "declared": (lambda m: m.graph.initializers.append(ir.Constant("x", np.zeros(1))), "declared 2 times"),
    "inside": (lambda m: named(m, "Add:t").inputs.append(ir.Variable("e")), "nothing before it makes"),
}


@pytest.mark.parametrize("fault", STRUCTURE)
def test_broken_structure_is_told(fault: str) -> None:
    model = branching()
    assert ir.structure_errors(model) == []
    break_it, reason = STRUCTURE[fault]
    break_it(model)
    assert any(reason in error for error in ir.structure_errors(model))
    with pytest.raises(ModelError, match=reason):
        model.check()


def test_a_cycle_is_told() -> None:
    model = build([node("Add", "x b", "a"), node("Neg", "a", "b"), node("Relu", "b", "y")], ["y"])
    with pytest.raises(ModelError, match="cycle"):
        model.sort()


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 25), st.randoms(use_true_random=False))
def test_sorting_is_valid_and_stable(count: int, rng: Any) -> None:
    """Against networkx; what stands in order already is not moved."""
    reads = {i: sorted(rng.sample(range(i), min(i, rng.randint(0, 3)))) for i in range(count)}
    nodes = {i: node("Sum", " ".join(["x", *(f"t{j}" for j in reads[i])]), f"t{i}") for i in range(count)}
    order = list(nodes)
    rng.shuffle(order)
    model = build([nodes[i] for i in order], [f"t{count - 1}"])
    model.sort()
    got = [int(n.output.name[1:]) for n in model.graph.nodes]
    place = {number: position for position, number in enumerate(got)}
    edges = nx.DiGraph([(j, i) for i, js in reads.items() for j in js])
    edges.add_nodes_from(nodes)
    assert all(place[a] < place[b] for a, b in edges.edges) and sorted(got) == list(nodes)
    again = list(model.graph.nodes)
    model.sort()
    assert model.graph.nodes == again
    kept = build([nodes[i] for i in nx.lexicographical_topological_sort(edges)], [f"t{count - 1}"])
    before = [n.name for n in kept.graph.nodes]
    kept.sort()
    assert [n.name for n in kept.graph.nodes] == before


def test_a_reversed_chain_of_any_depth_is_sorted() -> None:
    model = load("long_chain_reversed")
    model.sort()
    assert model.graph.nodes[0].inputs[0] is model.graph.inputs[0]
    written(model)


def chain_of(count: int) -> ir.Model:
    """Relus in a row, each with an Add of one shared weight."""
    nodes, name = [], "x"
    for index in range(count // 2):
        nodes += [node("Relu", name, f"r{index}"), node("Add", f"r{index} w", f"a{index}")]
        name = f"a{index}"
    return build([*nodes, node("Neg", name, "y")], ["y"], {"w": np.ones(4)})


def edit_everywhere(model: ir.Model) -> None:
    """Insert, replace, bypass and remove at every node."""
    graph = model.graph
    for relu in graph.find("Relu"):
        tensor = relu.output
        made = graph.add_node("Identity", [tensor], like=relu)
        for reader in [r for r in tensor.consumers if r is not made]:
            reader.inputs = [made.output if t is tensor else t for t in reader.inputs]
    for add in graph.find("Add"):
        graph.set_constant(add, 1, np.zeros(4, np.float32))
        graph.is_output(add.output)
    for identity in graph.find("Identity"):
        assert graph.bypass(identity)
    graph.add_node("Exp", [graph.inputs[0]])
    assert graph.remove_dead() == 1
    model.restore(model.snapshot())
    assert not ir.structure_errors(model)


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds."""
    start = time.process_time()
    work()
    return time.process_time() - start


def test_time_grows_with_the_nodes_and_not_with_their_square() -> None:
    small, large = (chain_of(size).to_bytes() for size in (250, 4_000))
    # In turn, so that a busy machine slows both; the quickest of each counts.
    pairs = [
        [cpu(lambda data=data: edit_everywhere(ir.from_bytes(data))) for data in (small, large)]
        for _ in range(3)
    ]
    fast, slow = np.min(pairs, axis=0)
    assert slow / fast < 16 * 2.5  # a quadratic step alone would make it 256
