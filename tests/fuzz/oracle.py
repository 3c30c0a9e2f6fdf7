"""Judges a run of graphopt from outside: how it ended, what it wrote, what that computes."""

from __future__ import annotations

import contextlib
import re
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import graphopt
from graphopt.errors import GraphoptError
from tests.fuzz import yardstick
from tests.fuzz.graphs.feeds import SAMPLES, Feeds, batches, check, outputs, rows, session
from tests.fuzz.graphs.recipe import Graph
from tests.fuzz.specs import Spec

FAILURES = ("crash", "blamed", "invalid", "signature", "wrong", "replay", "hang")
HELD_OUT = 3
CPU_SECONDS = 20.0
FLOAT32, FLOAT16 = 1e-4, 2e-2
SLACK = 30.0  # times what the model's own rounding moves
STORING_SLACK = 2.0  # times what storing every inner tensor plainly in 8 bits loses
Optimize = Callable[..., Any]


@dataclass(frozen=True)
class Verdict:
    """What came of a run: ``ok``, ``refused`` or one of FAILURES; ``key`` is the same for the same cause."""

    kind: str
    key: str = ""
    text: str = ""

    @property
    def failed(self) -> bool:
        """Whether it is a fault of graphopt's."""
        return self.kind in FAILURES


class OutOfTimeError(BaseException):
    """A run took more processor time than any run may; no ``except Exception`` catches it."""


class UnfinishedError(Exception):
    """A run that ended with a verdict before there was anything to measure."""

    def __init__(self, kind: str, key: str, text: str = "") -> None:
        super().__init__(text)
        self.verdict = Verdict(kind, key, text)


@contextlib.contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise OutOfTimeError when the block takes more processor seconds, however busy the machine is."""

    def expire(number: int, frame: Any) -> None:
        raise OutOfTimeError

    previous = signal.signal(signal.SIGPROF, expire)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


def judge(
    graph: Graph,
    spec: Spec,
    folder: Path,
    *,
    replay: bool = False,
    optimize: Optimize = graphopt.optimize,
    seconds: float = CPU_SECONDS,
) -> Verdict:
    """Run a spec over a graph in ``folder`` and judge what came of it.

    With ``replay`` the plan is written, and a second run that replays it has to write the same bytes.
    """
    try:
        with limited(seconds):
            return _judge(graph, spec, folder, replay, optimize)
    except OutOfTimeError as error:
        where = "".join(traceback.format_tb(error.__traceback__)[-25:])
        return Verdict("hang", _outer_place(error), f"more than {seconds:g} s of processor time\n{where}")
    except UnfinishedError as end:
        return end.verdict


def _judge(graph: Graph, spec: Spec, folder: Path, replay: bool, optimize: Optimize) -> Verdict:
    before, after, data = folder / "before.onnx", folder / "after.onnx", folder / "samples.npz"
    before.write_bytes(graph.model.SerializeToString())
    joined = rows(graph.ports, graph.recipe.seed, SAMPLES + HELD_OUT)
    np.savez(data, **_columns(graph, joined))
    flags = {"calibration": str(data), **({"target": spec.target} if spec.target else {})}
    plan = folder / "plan.json"
    _run(optimize, before, spec.text, after, flags, plan_out=plan if replay else None)
    opened = _open(after)
    if spec.keeps_signature:
        _compare_signatures(graph.model, after)
    feeds = [*batches(graph.ports, joined, 0, 2), *batches(graph.ports, joined, SAMPLES, HELD_OUT)]
    if graph.recipe.dynamic:
        feeds.append(batches(graph.ports, joined, 1, 1, times=3)[0])
    try:
        changed = outputs(opened, feeds)
    except Exception as error:
        raise UnfinishedError("invalid", _sentence(f"does not run: {error}"), str(error)) from None
    samples = batches(graph.ports, joined, 0, SAMPLES)
    _compare_numbers(graph.model, spec, samples, feeds, changed)
    if replay:
        again = folder / "again.onnx"
        _run(optimize, before, spec.text, again, flags, plan=plan)
        if again.read_bytes() != after.read_bytes():
            graphs_differ = onnx.load(again).graph != onnx.load(after).graph
            key = "other graph" if graphs_differ else "other metadata"
            raise UnfinishedError("replay", key, "the plan, replayed, writes another file")
    return Verdict("ok")


def _columns(graph: Graph, joined: Feeds) -> Feeds:
    """Samples as a file of them holds them: the first axis counts samples, the second is the batch."""
    columns = {}
    for port in graph.ports:
        values = joined[port.name]
        if port.batched:
            values = values.reshape(SAMPLES + HELD_OUT, *port.shape)[:SAMPLES]
        columns[port.name] = values
    return columns


def _run(
    optimize: Optimize, before: Path, spec: str, after: Path, flags: dict[str, Any], **more: Any
) -> None:
    """Run graphopt; what it raises becomes a verdict."""
    given = {key: value for key, value in more.items() if value is not None}
    try:
        optimize(before, spec, output=after, force=True, latency=False, threads=1, **flags, **given)
    except GraphoptError as error:
        text = str(error)
        cause = error.__cause__
        if cause is not None and not isinstance(cause, (GraphoptError, OSError)) and error.exit_code == 4:
            raise UnfinishedError(
                "crash", _place(cause), "".join(traceback.format_exception(cause))
            ) from error
        kind = "blamed" if error.exit_code == 5 else "refused"
        if not text or "\n" in text.strip():
            raise UnfinishedError("crash", f"no sentence: {_sentence(text)}", text) from error
        raise UnfinishedError(kind, f"{error.exit_code}: {_sentence(text)}", text) from error
    except Exception as error:
        raise UnfinishedError("crash", _place(error), "".join(traceback.format_exception(error))) from error
    if not after.exists():
        raise UnfinishedError("invalid", "nothing written", "the run ended well and wrote no file")


def _open(path: Path) -> Any:
    """Check and load the written file."""
    try:
        check(onnx.load(path))
    except Exception as error:
        raise UnfinishedError("invalid", _sentence(f"checker: {error}"), str(error)) from None
    try:
        return session(path.read_bytes())
    except Exception as error:
        raise UnfinishedError("invalid", _sentence(f"does not load: {error}"), str(error)) from None


def _compare_signatures(model: onnx.ModelProto, path: Path) -> None:
    """Names, types and shapes of inputs and outputs stay."""
    written = onnx.load(path)
    for kind in ("input", "output"):
        wanted, found = (_signature(getattr(m.graph, kind), m) for m in (model, written))
        if wanted != found:
            raise UnfinishedError("signature", f"{kind}s", f"{kind}s were {wanted} and are {found}")


def _signature(values: Sequence[onnx.ValueInfoProto], model: onnx.ModelProto) -> list[tuple[Any, ...]]:
    constants = {tensor.name for tensor in model.graph.initializer}
    found: list[tuple[Any, ...]] = []
    for value in values:
        kind = value.type.tensor_type
        dims = [d.dim_param or d.dim_value for d in kind.shape.dim] if kind.HasField("shape") else None
        if value.name not in constants:
            found.append((value.name, kind.elem_type, dims))
    return found


def _compare_numbers(
    model: onnx.ModelProto,
    spec: Spec,
    samples: Sequence[Feeds],
    feeds: Sequence[Feeds],
    changed: yardstick.Outputs,
) -> None:
    """Exact passes within rounding; approximate ones finite and of the size that the spec's bound allows."""
    reference = outputs(session(model), feeds)
    random = yardstick.behind(model, yardstick.RANDOM)
    names, infinite = [value.name for value in model.graph.output], []
    for row, row_changed in zip(reference, changed, strict=True):
        for name, a, b, is_random in zip(names, row, row_changed, random, strict=True):
            if a.shape != b.shape or (a.dtype != b.dtype and spec.keeps_signature):
                raise UnfinishedError(
                    "wrong", "shape", f"{name} was {a.dtype}{a.shape} and is {b.dtype}{b.shape}"
                )
            if not is_random and a.dtype.kind == "f" and not np.isfinite(b[np.isfinite(a)]).all():
                infinite.append(name)
    if infinite and (spec.exact or not yardstick.is_fragile(model, feeds, spec.noise)):
        raise UnfinishedError("wrong", "not finite", f"{infinite[0]} is not finite any more")
    if infinite:
        return
    if spec.exact:
        _compare_exactly(model, feeds, reference, changed, random)
    elif spec.bound is not None:
        _compare_energies(model, spec, samples, feeds, reference, changed, random)


def _compare_exactly(
    model: onnx.ModelProto,
    feeds: Sequence[Feeds],
    reference: yardstick.Outputs,
    changed: yardstick.Outputs,
    random: Sequence[bool],
) -> None:
    apart = yardstick.distances(reference, changed)
    tolerance = FLOAT16 if _computes_in_halves(model) else FLOAT32
    suspects = [i for i, d in enumerate(apart) if not random[i] and d > _allowed(reference[0][i], tolerance)]
    if not suspects:
        return
    own = yardstick.rounding(model, feeds, reference, draws=20)
    for index in suspects:
        if apart[index] > SLACK * own[index]:
            name = model.graph.output[index].name
            text = f"{name} is {apart[index]:.3g} away, relative to its largest; by rounding {own[index]:.2g}"
            raise UnfinishedError("wrong", "exact", text)


def _allowed(value: np.ndarray, tolerance: float) -> float:
    return tolerance if value.dtype.kind == "f" else 0.0


def _computes_in_halves(model: onnx.ModelProto) -> bool:
    kinds = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    casts = [
        a.i for node in model.graph.node if node.op_type == "Cast" for a in node.attribute if a.name == "to"
    ]
    return any(kind in kinds for kind in (*casts, *(t.data_type for t in model.graph.initializer)))


def _compare_energies(
    model: onnx.ModelProto,
    spec: Spec,
    samples: Sequence[Feeds],
    feeds: Sequence[Feeds],
    reference: yardstick.Outputs,
    changed: yardstick.Outputs,
    random: Sequence[bool],
) -> None:
    jumps = yardstick.behind(model, yardstick.JUMPS)
    lost = yardstick.shares(reference, changed)
    assert spec.bound is not None
    suspects = [i for i, s in enumerate(lost) if s > spec.bound and not random[i] and not jumps[i]]
    if not suspects:
        return
    own = yardstick.shares_of_noise(model, feeds, reference, spec.noise)
    suspects = [index for index in suspects if lost[index] > SLACK * own[index]]
    if not suspects:
        return
    stored = [0.0] * len(lost)
    if spec.ranges:
        stored = yardstick.shares_of_storing(model, samples, feeds, reference)
    for index in suspects:
        if lost[index] > SLACK * own[index] + STORING_SLACK * stored[index]:
            name = model.graph.output[index].name
            text = (
                f"{name} lost {lost[index]:.3g} of its energy; by noise of {spec.noise:g} {own[index]:.2g}, "
                f"by storing in 8 bits {stored[index]:.2g}"
            )
            raise UnfinishedError("wrong", "energy", text)


def _place(error: BaseException) -> str:
    """Where an internal error came from: the innermost line that is graphopt's."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/graphopt/" in f.filename or "/passes/" in f.filename] or frames
    inner = [f for f in own if "site-packages" not in f.filename] or own
    if not inner:
        return type(error).__name__
    path = re.sub(r".*?((graphopt|passes)/.*)", r"\1", inner[-1].filename)
    return f"{type(error).__name__} {path}:{inner[-1].lineno}"


def _outer_place(error: BaseException) -> str:
    """The outermost line inside a pass where time ran out: the innermost one differs from run to run."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/passes/" in f.filename]
    return f"{frames[0].filename.rpartition('/passes/')[2]} {frames[0].name}" if frames else "engine"


def _sentence(text: str) -> str:
    """An error's text without the names and numbers in it."""
    text = re.sub(r"'[^']*'|\"[^\"]*\"|\([^)]*\)|/\S+", "_", text.strip().split("\n")[0])
    return re.sub(r"[-+]?\d[\w.]*|\w*_\d\w*(\.\w+)*", "#", text)[:140]
