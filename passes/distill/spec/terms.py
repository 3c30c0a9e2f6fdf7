"""Which tensors of the student are drawn to which of the teacher, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from graphopt import runtime
from graphopt.errors import ModelError, PassError, UsageError

from .settings import Term, read_term

if TYPE_CHECKING:
    from graphopt.ir import Model, Node, Tensor

AUTO = "auto"
MOST_HINTS = (
    4  # time: feature maps, of the smallest sizes, that a student is also taught where nobody names any
)
CLASSES_AXIS = 1  # fixed: where ONNX has the channels
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Pair:
    """A term with the axis of classes, and the student's output that it stands for (None for a hint)."""

    term: Term
    axis: int
    output: str | None


def check_outputs(teacher: Model, student: Model) -> None:
    """Raise ModelError when inputs or outputs do not correspond, naming them."""
    for what in ("inputs", "outputs"):
        theirs = {port.name: port for port in getattr(teacher.signature, what)}
        ours = {port.name: port for port in getattr(student.signature, what)}
        if set(theirs) != set(ours):
            raise ModelError(
                f"teacher and student have different {what}: {_list(theirs)} and {_list(ours)}",
                hint="a student is made from its teacher, or exported with the same names",
            )
        for name, port in ours.items():
            if not _fits(port.shape, theirs[name].shape):
                raise ModelError(
                    f"{what[:-1]} {name} has the shape {_dims(theirs[name].shape)} in the teacher and "
                    f"{_dims(port.shape)} in the student"
                )


def _fits(ours: Sequence[object] | None, theirs: Sequence[object] | None) -> bool:
    if ours is None or theirs is None:
        return True
    if len(ours) != len(theirs):
        return False
    pairs = list(zip(ours, theirs, strict=True))[1:]
    return all(a == b or not isinstance(a, int) or not isinstance(b, int) for a, b in pairs)


def _list(ports: Mapping[str, object]) -> str:
    return ", ".join(ports) or "none"


def _dims(shape: Sequence[object] | None) -> str:
    return "unknown" if shape is None else "x".join("?" if d is None else str(d) for d in shape)


def output_pairs(
    teacher: Model, student: Model, outputs: Mapping[str, np.ndarray], losses: Sequence[str]
) -> list[Pair]:
    """The terms for outputs: those that ``losses`` names, else one for each output of floats.

    Class scores are compared by KL before the softmax; everything else by squared error.  ``outputs`` are the
    student's answers for a batch.
    """
    floats = {name: v for name, v in outputs.items() if isinstance(v, np.ndarray) and v.dtype.kind == "f"}
    wanted = dict.fromkeys(floats, ("", 1.0))
    if tuple(losses) != (AUTO,):
        wanted = dict(_read(text, floats) for text in losses)
    if not wanted:
        raise PassError("the student has no output of floats that could be trained towards the teacher's")
    only = runtime.classifier_output(outputs)
    return [_pair(teacher, student, name, kind, weight, only) for name, (kind, weight) in wanted.items()]


def _read(text: str, floats: Mapping[str, object]) -> tuple[str, tuple[str, float]]:
    name, _, kind, weight = read_term(text)
    if name not in floats:
        raise UsageError(f"distill: losses={text} names no output of floats; known: {_list(floats)}")
    return name, (kind, weight)


def _pair(teacher: Model, student: Model, name: str, kind: str, weight: float, only: str | None) -> Pair:
    ours, theirs = _before_softmax(student, name), _before_softmax(teacher, name)
    is_scores = name == only or (ours is not None and theirs is not None)
    if kind in ("", "kl") and (is_scores or kind == "kl"):
        axis = CLASSES_AXIS if ours is None else ours[1]
        source = name if ours is None else ours[0]
        target = name if theirs is None else theirs[0]
        return Pair(Term(source, target, "kl", weight), axis, name)
    return Pair(Term(name, name, kind or "mse", weight), CLASSES_AXIS, name)


def _before_softmax(model: Model, output: str) -> tuple[str, int] | None:
    """The tensor that a softmax makes this output of, and its axis; None when there is none."""
    tensor: Tensor = next(t for t in model.graph.outputs if t.name == output)
    node: Node | None = tensor.producer
    while node is not None and node.op == "Identity":
        node = node.inputs[0].producer
    if node is None or node.op != "Softmax" or not node.is_standard:
        return None
    default = -1 if model.opset >= 13 else 1
    return node.inputs[0].name, int(node.attr("axis", default))


def hint_pairs(ours: Shapes, theirs: Shapes, hints: Sequence[str], weight: float) -> list[Pair]:
    """The terms for inner tensors: named ones, or with ``auto`` the last feature map of each size.

    Tensors pair by name, which pruning keeps; where it has changed the number of channels, ``attention``
    compares where the maps are large.
    """
    pairs = []
    for text in hints:
        if text == AUTO:
            pairs += [_hint(name, name, "", weight, ours, theirs) for name in _last_maps(ours, theirs)]
            continue
        student, teacher, kind, own = read_term(text)
        for name, shapes, whose in ((student, ours, "student"), (teacher, theirs, "teacher")):
            if name not in shapes:
                raise UsageError(f"distill: hints={text} names {name}, which is not a tensor of the {whose}")
        pairs.append(_hint(student, teacher, kind, weight * own, ours, theirs))
    return pairs


def _hint(student: str, teacher: str, kind: str, weight: float, ours: Shapes, theirs: Shapes) -> Pair:
    mine, target = ours[student], theirs[teacher]
    kind = kind or ("mse" if mine[1:] == target[1:] else "attention")
    fits = mine[1:] == target[1:] if kind != "attention" else mine[2:] == target[2:]
    if not fits or (kind == "attention" and len(mine) < 3):
        raise UsageError(
            f"distill: the hint {student} is {_dims(mine[1:])} and {teacher} is {_dims(target[1:])}, "
            f"which {kind} cannot compare"
        )
    return Pair(Term(student, teacher, kind, weight), CLASSES_AXIS, None)


def _last_maps(ours: Shapes, theirs: Shapes) -> list[str]:
    """By name in both, the last feature map of each size, the largest sizes first to go."""
    last: dict[tuple[int, ...], str] = {}
    for name, shape in ours.items():
        other = theirs.get(name)
        if other is not None and _is_map(shape) and _is_map(other) and shape[2:] == other[2:]:
            last[shape[2:]] = name
    return sorted(last.values(), key=list(ours).index)[-MOST_HINTS:]


def _is_map(shape: tuple[int, ...]) -> bool:
    return len(shape) == 4 and min(shape[2:]) > 1
