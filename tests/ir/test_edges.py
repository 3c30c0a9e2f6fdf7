"""Both ends of every edge agree after any edit, and an edit costs the same however many edges there are."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphopt.ir.edges import SEARCH_LIMIT, Consumers, Links
from graphopt.ir.graph import Node
from graphopt.ir.tensor import Variable

TENSORS, NODES = 4, 4
MANY = 3 * SEARCH_LIMIT

place = st.integers(0, 10**6)
edit = st.one_of(
    st.tuples(st.sampled_from(["append", "remove", "pop", "set", "delete", "insert"]), place, place, place),
    st.tuples(st.just("assign"), place, st.lists(place, max_size=MANY), place),
    st.tuples(st.sampled_from(["clear", "cut", "reverse"]), place, place, place),
    st.tuples(st.sampled_from(["leave", "join", "empty"]), place, place, place),
)


def assert_consistent(nodes: list[Node], tensors: list[Variable], naive: list[list[int]]) -> None:
    """The order of a node's inputs is the naive one; tensors count their readers."""
    for node, expected in zip(nodes, naive, strict=True):
        assert [tensors.index(tensor) for tensor in node.inputs] == expected
    for index, tensor in enumerate(tensors):
        readers = sorted(nodes.index(reader) for reader in tensor.outputs)
        assert readers == sorted(n for n, inputs in enumerate(naive) for i in inputs if i == index)


class Naive:
    """Applies an edit to live links and to plain lists of indices."""

    def __init__(self) -> None:
        self.tensors = [Variable(f"t{i}") for i in range(TENSORS)]
        self.nodes = [Node("Op", f"n{i}") for i in range(NODES)]
        self.inputs: list[list[int]] = [[] for _ in range(NODES)]

    def apply(self, kind: str, a: int, b: Any, c: int) -> None:
        node, naive = self.nodes[a % NODES], self.inputs[a % NODES]
        if kind == "assign":
            naive[:] = [i % TENSORS for i in b]
            node.inputs = [self.tensors[i] for i in naive]
            return
        wanted, tensor = b % TENSORS, self.tensors[b % TENSORS]
        position = c % len(naive) if naive else None
        if kind == "append":
            naive.append(wanted)
            node.inputs.append(tensor)
        elif kind == "insert":
            naive.insert(c % 5, wanted)
            node.inputs.insert(c % 5, tensor)
        elif kind == "clear":
            naive.clear()
            node.inputs.clear()
        elif kind == "cut":
            del naive[c % 7 :]
            del node.inputs[c % 7 :]
        elif kind == "reverse":
            tensor.outputs.reverse()
        elif kind == "join":
            naive.append(wanted)
            tensor.outputs.append(node)
        elif kind == "empty":
            tensor.outputs.clear()
            for inputs in self.inputs:
                inputs[:] = [i for i in inputs if i != wanted]
        elif kind == "leave" and wanted in naive:
            naive.remove(wanted)
            tensor.outputs.remove(node)
        elif kind == "remove" and wanted in naive:
            naive.remove(wanted)
            node.inputs.remove(tensor)
        elif position is not None:
            self.at(kind, node, naive, position, wanted)

    def at(self, kind: str, node: Node, naive: list[int], position: int, wanted: int) -> None:
        if kind == "pop":
            assert self.tensors[naive.pop(position)] is node.inputs.pop(position)
        elif kind == "set":
            naive[position] = wanted
            node.inputs[position] = self.tensors[wanted]
        elif kind == "delete":
            del naive[position]
            del node.inputs[position]


@settings(max_examples=200, deadline=None)
@given(st.lists(edit, max_size=40), st.booleans())
def test_links_agree_with_a_naive_model(edits: list[Any], crowded: bool) -> None:
    state = Naive()
    if crowded:  # so many edges that lists keep an index
        for index in range(MANY):
            state.apply("append", index, index * 7, 0)
    for kind, a, b, c in edits:
        state.apply(kind, a, b, c)
        assert_consistent(state.nodes, state.tensors, state.inputs)


def test_a_naive_model_that_errs_is_noticed() -> None:
    state = Naive()
    state.apply("append", 0, 1, 0)
    state.inputs[0][0] = 2
    with pytest.raises(AssertionError):
        assert_consistent(state.nodes, state.tensors, state.inputs)


def test_inputs_keep_their_order_when_a_tensor_drops_its_reader() -> None:
    """A Concat of many inputs loses one from the tensor's side."""
    tensors = [Variable(str(i)) for i in range(MANY)]
    concat = Node("Concat", inputs=tensors)
    tensors[3].outputs.clear()
    assert [tensor.name for tensor in concat.inputs] == [str(i) for i in range(MANY) if i != 3]


def test_equal_looking_items_are_told_apart() -> None:
    twins = [Variable("same"), Variable("same")]
    node = Node("Op", inputs=twins)
    node.inputs.remove(twins[1])
    assert node.inputs[0] is twins[0] and not twins[1].outputs


def test_what_is_not_there_cannot_be_removed() -> None:
    tensor, stranger = Variable("t"), Node("Op")
    for count in (1, MANY):
        node = Node("Op", inputs=[tensor] * count)
        with pytest.raises(ValueError, match="not in the list"):
            tensor.outputs.remove(stranger)
        with pytest.raises(ValueError, match="not in the list"):
            tensor.outputs._lose(stranger)
        assert len(tensor.outputs) == len(node.inputs) == count
        node.inputs.clear()


def test_lists_behave_like_lists() -> None:
    a, b, c = (Variable(name) for name in "abc")
    node = Node("Op", inputs=[a, b])
    assert node.inputs.__add__([c]) == [a, b, c] and type(node.inputs.__add__([c])) is list
    node.inputs += [c]
    assert list(node.inputs) == [a, b, c] and c.outputs == [node]
    node.inputs[1:] = [a]
    assert list(node.inputs) == [a, a] and a.outputs == [node, node] and not b.outputs and not c.outputs
    node.inputs = node.inputs
    assert list(node.inputs) == [a, a]
    a.outputs = []
    assert not node.inputs


class Counting(Consumers):
    """Counts the elements that are looked at one by one."""

    looked_at = 0

    def __iter__(self) -> Any:
        for item in super().__iter__():
            Counting.looked_at += 1
            yield item


def shared(consumers: int) -> tuple[Variable, list[Node]]:
    tensor = Variable("shared")
    tensor._outputs = Counting(tensor, "inputs")
    nodes = [Node("Op", inputs=[Variable("own"), tensor]) for _ in range(consumers)]
    Counting.looked_at = 0
    return tensor, nodes


def steps_to_detach(consumers: int) -> int:
    tensor, nodes = shared(consumers)
    random.Random(0).shuffle(nodes)
    for node in nodes:
        node.inputs.clear()
    assert not tensor.outputs
    return Counting.looked_at


def steps_to_rewire(consumers: int) -> int:
    """Every consumer leaves and comes back, as when another input of it is replaced."""
    tensor, nodes = shared(consumers)
    for node in nodes:
        node.inputs = [Variable("new"), *list(node.inputs)[1:]]
    assert len(tensor.outputs) == consumers
    return Counting.looked_at


@pytest.mark.parametrize("steps", [steps_to_detach, steps_to_rewire])
def test_consumers_leave_in_constant_time(steps: Any) -> None:
    few, many = steps(10_000), steps(20_000)
    assert many < 3 * few
    assert many < 100 * 20_000


def test_a_search_through_all_consumers_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Consumers, "_lose", Links._lose)
    assert steps_to_detach(2_000) > 100 * 2_000
