"""The losses: as graph and as arithmetic they agree, and they vanish for a student that is its teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from graphopt.errors import ModelError, UsageError
from graphopt.ir import Model
from graphopt.passes.distill.graph.losses import LABELS, Target, add_losses
from graphopt.passes.distill.graph.prepare import prepare
from graphopt.passes.distill.graph.select import Choice
from graphopt.passes.distill.job.judge import judge
from graphopt.passes.distill.spec.settings import Settings, Term, read_term
from graphopt.passes.distill.spec.terms import check_outputs, hint_pairs, output_pairs
from graphopt.runtime import Session
from tests.passes.distill.nets import CHANNELS, SIDE, around, classifier, one

FEEDS = {"x": np.random.default_rng(1).standard_normal((4, CHANNELS, SIDE, SIDE)).astype(np.float32)}
LABELLED = np.asarray([0, 2, 1, 1])


def graph_loss(
    student: Model, targets: Sequence[Target], teacher: Mapping[str, np.ndarray], settings: Settings
) -> float:
    """The loss as the training graph computes it."""
    prepared = prepare(student, FEEDS, Choice())
    tensors = {t.name: t for node in prepared.model.graph.nodes for t in node.outputs}
    tensors["y"].shape = (4, 3)
    add_losses(prepared.model, targets, settings, "y")
    feeds = {**FEEDS, **{f"teacher::{name}": value for name, value in teacher.items()}}
    if settings.alpha:
        feeds[LABELS] = np.eye(3, dtype=np.float32)[LABELLED]
    return float(Session(prepared.model).run(feeds)["loss"])


@pytest.mark.parametrize("kind", ["kl", "mse", "l1"])
@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_graph_and_arithmetic_agree(kind: str, alpha: float) -> None:
    if alpha and kind != "kl":
        pytest.skip("labels go with class scores")
    student = classifier()
    theirs = np.random.default_rng(2).standard_normal((4, 3)).astype(np.float32)
    target = Target(Term("y", "y", kind, 0.5), (4, 3), 1, 1.7)
    settings = Settings(temperature=3.0, alpha=alpha)
    made = graph_loss(student, [target], {"y": theirs}, settings)
    ours = Session(student).run(FEEDS)["y"]
    verdict = judge(iter([({"y": ours}, {"y": theirs}, LABELLED)]), [target], temperature=3.0, alpha=alpha)
    assert made == pytest.approx(verdict.loss, rel=1e-5)


def test_accumulated_steps_share_the_loss() -> None:
    target = Target(Term("y", "y", "kl"), (4, 3))
    theirs = {"y": np.zeros((4, 3), np.float32)}
    whole = graph_loss(classifier(), [target], theirs, Settings())
    assert graph_loss(classifier(), [target], theirs, Settings(accumulate=4)) == pytest.approx(whole / 4)


@pytest.mark.parametrize("kind", ["kl", "mse", "l1", "attention"])
def test_nothing_is_lost_between_equals(kind: str) -> None:
    student = classifier()
    name = "c2" if kind == "attention" else "y"
    own = Session(student, outputs=[name]).run(FEEDS)[name]
    target = Target(Term(name, name, kind), own.shape)
    assert abs(graph_loss(student, [target], {name: own}, Settings())) < 1e-6


def test_attention_compares_maps_of_different_widths() -> None:
    wide = Session(classifier(16), outputs=["c2"]).run(FEEDS)["c2"]
    target = Target(Term("c2", "c2", "attention"), wide.shape)
    found = graph_loss(classifier(8), [target], {"c2": wide}, Settings())
    ours = Session(classifier(8), outputs=["c2"]).run(FEEDS)["c2"]
    maps = [np.square(a.astype(np.float64)).sum(axis=1).reshape(4, -1) for a in (ours, wide)]
    unit = [a / np.linalg.norm(a, axis=1, keepdims=True) for a in maps]
    assert found == pytest.approx(np.square(unit[0] - unit[1]).sum(axis=1).mean(), rel=1e-4)


def test_class_scores_are_compared_before_the_softmax() -> None:
    student, teacher = around(one("Relu")), around(one("Relu"), seed=1)
    for model in (student, teacher):
        y = model.graph.outputs[0]
        (gemm,) = model.graph.find("Gemm")
        inner = model.graph.add_node("Identity", [y]).output  # a fresh tensor for the scores
        inner.producer.inputs.clear()
        model.graph.remove(inner.producer)
        gemm.outputs = [inner]
        model.graph.add_node("Softmax", [inner], {"axis": -1}, outputs=[y])
    (pair,) = output_pairs(teacher, student, {"y": np.zeros((4, 3), np.float32)}, ("auto",))
    assert pair.term.kind == "kl"
    assert pair.term.student != "y"
    assert pair.axis == -1


def test_other_outputs_are_compared_by_value() -> None:
    model = classifier()
    (pair,) = output_pairs(model, model, {"y": np.zeros((4, 3, 8), np.float32)}, ("auto",))
    assert pair.term.kind == "mse"
    (pair,) = output_pairs(model, model, {"y": np.zeros((4, 3), np.float32)}, ("y@l1*0.5",))
    assert pair.term == Term("y", "y", "l1", 0.5)
    with pytest.raises(UsageError, match="names no output"):
        output_pairs(model, model, {"y": np.zeros((4, 3), np.float32)}, ("z",))


def test_hints_pair_by_name_and_shape() -> None:
    ours = {"a": (4, 8, 6, 6), "b": (4, 4, 6, 6), "c": (4, 4, 3, 3), "d": (4, 8), "only": (4, 2, 6, 6)}
    theirs = {**ours, "b": (4, 8, 6, 6), "other": (4, 2, 6, 6)}
    del theirs["only"]
    found = {pair.term.student: pair.term.kind for pair in hint_pairs(ours, theirs, ("auto",), 1.0)}
    assert found == {"b": "attention", "c": "mse"}
    (named,) = hint_pairs(ours, theirs, ("only=other@mse*2",), 0.5)
    assert named.term == Term("only", "other", "mse", 1.0)
    with pytest.raises(UsageError, match="not a tensor of the teacher"):
        hint_pairs(ours, theirs, ("only",), 1.0)
    with pytest.raises(UsageError, match="cannot compare"):
        hint_pairs(ours, theirs, ("a=c",), 1.0)


@pytest.mark.parametrize("text", ["y*-1", "y*much", "y@fancy"])
def test_wrong_terms_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="distill"):
        read_term(text)


def test_different_outputs_are_named() -> None:
    teacher, student = classifier(), classifier()
    check_outputs(teacher, student)
    student.graph.outputs[0].name = "z"
    with pytest.raises(ModelError, match="different outputs: y and z"):
        check_outputs(teacher, student)
    student = classifier()
    student.graph.outputs[0].shape = ("N", 4)
    with pytest.raises(ModelError, match="output y has the shape"):
        check_outputs(teacher, student)
