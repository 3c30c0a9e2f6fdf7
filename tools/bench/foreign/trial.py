"""One foreign model through graphopt: what came of it, in one word and a sentence."""

from __future__ import annotations

import re
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from tools.bench.foreign.cases import Case, DataSet
from tools.bench.foreign.runner import Runner, difference, tolerance

SAME = "same"  # the result answers as it shall
VALID = "valid"  # it loads and runs with the same signature; numbers may move, or nothing can be run
REFUSED = "refused"
BLAMED = "blamed"  # graphopt's own check stopped one of its passes
TRACEBACK = "traceback"
WRONG = "wrong"
INVALID = "invalid"  # the result does not load, does not run or has another signature
CRASH = "crash"
TIMEOUT = "time-out"
LARGER = "larger unsaid"
WORDS = (SAME, VALID, REFUSED, BLAMED, TRACEBACK, WRONG, INVALID, CRASH, TIMEOUT, LARGER)
EXACT = "clean,fold-bn"


@dataclass(frozen=True)
class Verdict:
    """What came of one case under one spec; ``loads`` says whether onnxruntime loads the original."""

    case: str
    passes: str
    word: str
    sentence: str = ""
    exit_code: int = 0
    loads: bool = True
    seconds: float = 0.0
    warnings: tuple[str, ...] = field(default=())

    @property
    def sentence_class(self) -> str:
        """The sentence without names and numbers."""
        text = re.sub(r"\S*/\S+", "FILE", self.sentence)
        text = re.sub(r"'[^']*'|\"[^\"]*\"", "NAME", text)
        return re.sub(r"\d+(\.\d+)?(e-?\d+)?", "N", text)[:120]


def has_weights(content: bytes) -> bool:
    """Whether the model holds a float constant of two or more dimensions."""
    graph = onnx.ModelProto.FromString(content).graph
    inner = (
        a.t for node in graph.node if node.op_type == "Constant" for a in node.attribute if a.HasField("t")
    )
    floats = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    return any(len(t.dims) > 1 and t.data_type in floats for t in (*graph.initializer, *inner))


def try_case(case: Case, passes: str, flags: dict[str, Any] | None = None) -> Verdict:
    """Optimize one model in this process and judge the result with onnxruntime alone."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        source, target = _source(case, Path(scratch)), Path(scratch, "out.onnx")
        before, failure = _open(source)
        word, sentence, code, warnings = _optimize(source, target, passes, flags or {})
        if not word:
            word, sentence = _judge(case, before, source, target, warnings, is_exact=passes == EXACT)
    seconds = time.perf_counter() - start
    loads = before is not None
    return Verdict(case.name, passes, word, sentence or failure, code, loads, seconds, tuple(warnings))


def _source(case: Case, scratch: Path) -> Path:
    if isinstance(case.model, Path):
        return case.model
    path = scratch / "in.onnx"
    path.write_bytes(case.model)
    return path


def _open(path: Path) -> tuple[Runner | None, str]:
    try:
        return Runner(path), ""
    except Exception as error:
        return None, str(error)


def _optimize(
    source: Path, target: Path, passes: str, flags: dict[str, Any]
) -> tuple[str, str, int, Sequence[str]]:
    """Run graphopt; the word is empty when it wrote a result."""
    from graphopt import api
    from graphopt.errors import GraphoptError, PassError, VerificationError

    try:
        result = api.optimize(source, passes, output=target, **{"latency": False, "threads": 1, **flags})
    except VerificationError as error:
        return BLAMED, str(error), error.exit_code, ()
    except GraphoptError as error:
        is_own = isinstance(error, PassError) and error.__cause__ is not None
        if is_own and not isinstance(error.__cause__, GraphoptError):
            return TRACEBACK, f"{error} {_place(error.__cause__)}", error.exit_code, ()
        return REFUSED, str(error), error.exit_code, ()
    except Exception as error:
        return TRACEBACK, f"{type(error).__name__}: {error} {_place(error)}", 1, ()
    return "", "", 0, result.report.warnings


def _place(error: BaseException | None) -> str:
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    return f"({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def _judge(
    case: Case, before: Runner | None, source: Path, target: Path, warnings: Sequence[str], *, is_exact: bool
) -> tuple[str, str]:
    if before is None:
        return VALID, ""
    after, failure = _open(target)
    if after is None:
        return INVALID, failure
    if [p[:2] for p in after.signature[0]] != [p[:2] for p in before.signature[0]] or (
        after.signature[1] != before.signature[1]
    ):
        return INVALID, f"another signature: {after.signature} instead of {before.signature}"
    word, sentence = _compare(case, before, after, is_exact=is_exact)
    if word in (SAME, VALID) and _size(target) > _size(source) and not any("larger" in w for w in warnings):
        return LARGER, f"{_size(source)} -> {_size(target)} bytes"
    return word, sentence


def _compare(case: Case, before: Runner, after: Runner, *, is_exact: bool) -> tuple[str, str]:
    judged = 0
    for given, expected in case.data_sets() if case.data else _drawn(case.model, before):
        try:
            original = before.run(given)
        except Exception:  # data that the original does not take judges nothing
            continue
        try:
            answers = after.run(given)
        except Exception as error:
            return INVALID, f"the result does not run: {error}"
        if not is_exact or _is_random(case):
            continue
        judged += 1
        for place, (answer, own) in enumerate(zip(answers, original, strict=True)):
            limit = tolerance(own)
            wanted = expected[place] if place < len(expected) else own
            reference = wanted if difference(wanted, own) <= limit else own
            moved = difference(reference, answer)
            if moved > limit and difference(own, answer) > limit:
                return WRONG, f"output {place} moved by {moved:.3g}"
    return (SAME, "") if judged else (VALID, "")


def _drawn(model: bytes | Path, before: Runner) -> Iterator[DataSet]:
    """Values drawn for a model that came without any; its own answers are what is expected."""
    from graphopt import ir
    from graphopt.errors import GraphoptError
    from graphopt.pipeline.run.inputs import Inputs

    try:
        opened = ir.from_bytes(model) if isinstance(model, bytes) else ir.load(model)
        samples = list(Inputs(opened).check)
    except GraphoptError:  # no values fit: the result is loaded and no more
        return
    names = [name for name, *_ in before.signature[0]]
    for sample in samples:
        yield [sample.feeds[name] for name in names], []


def _is_random(case: Case) -> bool:
    content = case.content()
    return (
        b"Random" in content or b"Bernoulli" in content or b"Multinomial" in content or b"Dropout" in content
    )


def _size(path: Path) -> int:
    graph = onnx.load(path, load_external_data=False).graph
    outside = {
        entry.value
        for tensor in graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return sum(file.stat().st_size for file in (path, *(path.parent / name for name in outside)))
