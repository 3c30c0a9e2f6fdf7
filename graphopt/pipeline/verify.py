"""Checks that the model still is what its passes promised: structure, signature and numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from graphopt.errors import ModelError, VerificationError
from graphopt.pipeline.base import Contract, Pass
from graphopt.pipeline.walls import Walls, find_walls
from graphopt.report.measure import decibels
from graphopt.runtime import Comparison, Difference, Verdict

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.pipeline.context import Context
    from graphopt.runtime import Session

Mode = Literal["auto", "full", "structure", "off"]
MODES: tuple[str, ...] = get_args(Mode)
LEVELS = ("disabled", "basic", "extended", "all")
LARGE = 5000  # nodes; above, exact passes are compared together and not one by one
HALF_TOLERANCE = 2e-2  # relative, for float32 outputs of a model that computes in float16 inside


@dataclass(frozen=True)
class Check:
    """What comparing numbers showed; both None when nothing was compared."""

    max_abs_diff: float | None = None
    snr_db: float | None = None


@dataclass(frozen=True)
class _Reference:
    """The model as it was: a session that also returns the tensors entering its walls."""

    session: Session
    walls: Walls
    outputs: tuple[str, ...]  # the model outputs that can be compared


class Verifier:
    """Follows one run and compares the model before and after its passes.

    Exact passes are compared with the model as the run began, or as the last approximate pass left it. Both
    models run on the same few samples one after the other, so no outputs are kept.
    """

    def __init__(
        self, model: Model, ctx: Context, mode: Mode = "auto", tolerance: float | None = None
    ) -> None:
        self._ctx = ctx
        self._mode = mode
        self._signature = model.signature
        self._tolerance = default_tolerance(model) if tolerance is None else tolerance
        self._numbers = mode in ("auto", "full")
        self._together = mode == "auto" and len(model.graph.nodes) > LARGE
        self._pending: list[str] = []
        self._reference: _Reference | None = None

    @property
    def pending(self) -> bool:
        """Whether passes have run that are not compared yet."""
        return bool(self._pending)

    def before(self, step: Pass, model: Model) -> None:
        """Remember what the model computes, when ``step`` will be compared."""
        if self._pending and step.contract is Contract.APPROXIMATE:
            self.finish(model)
        needed = not self._together or step.contract is Contract.EXACT
        if self._numbers and needed and self._reference is None:
            self._reference = self._refer(model)

    def after(self, step: Pass, model: Model) -> Check:
        """Check the model that ``step`` left; VerificationError says what moved."""
        if self._mode != "off":
            self._check_structure(step.name, model)
        if self._reference is None:
            return Check()
        if step.contract is Contract.EXACT:
            if not self._together:
                return Check(max_abs_diff=self._check_equal(step.name, model))
            self._pending.append(step.name)
            return Check()
        differences = self._compare(step.name, model, "disabled", self._reference.outputs)
        self._reference = None
        return Check(snr_db=min(decibels(differences).values(), default=None))

    def finish(self, model: Model) -> None:
        """Compare what was put off."""
        if self._pending and self._reference is not None:
            names = " and ".join(dict.fromkeys(self._pending))
            self._check_equal(names, model)
        self._pending.clear()
        self._reference = None

    # -- structure ----------------------------------------------------------------------------------------

    def _check_structure(self, name: str, model: Model) -> None:
        from graphopt import ir

        model.sort()
        errors = ir.structure_errors(model)
        if errors:
            raise VerificationError(f"after {name} the graph is broken: {errors[0]}")
        if model.signature != self._signature:
            raise VerificationError(f"{name} changed the model's signature: {self._moved_port(model)}")

    def _moved_port(self, model: Model) -> str:
        was, now = self._signature, model.signature
        for kind in ("inputs", "outputs"):
            old, new = getattr(was, kind), getattr(now, kind)
            if [p.name for p in old] != [p.name for p in new]:
                return f"{kind} were {_names(old)} and are {_names(new)}"
            for a, b in zip(old, new, strict=True):
                if a != b:
                    return f"{a.name} was {a.dtype}{_dims(a.shape)} and is {b.dtype}{_dims(b.shape)}"
        return "its declaration differs"

    # -- numbers ------------------------------------------------------------------------------------------

    def _refer(self, model: Model) -> _Reference | None:
        """Open the model as it is; None, with a warning, when it does not run and so cannot be compared."""
        walls = find_walls(model)
        outputs = tuple(p.name for p in self._signature.outputs if p.name not in walls.random)
        for name in sorted(walls.random):
            self._ctx.warn(f"output {name} depends on random operators and is not compared")
        names = [*outputs, *(name for name in walls.tensors if name not in outputs)]
        try:
            session = self._ctx.session(model, outputs=names, optimization="disabled")
            for sample in self._ctx.inputs.check:
                session.run(sample.feeds)
        except ModelError as error:
            self._numbers = False
            hint = f" ({error.hint})" if error.hint else ""
            self._ctx.warn(f"the numbers were NOT checked, only structure and signature: {error}{hint}")
            return None
        return _Reference(session, walls, outputs)

    def _check_equal(self, name: str, model: Model) -> float | None:
        """Compare with the reference; returns the largest difference or raises VerificationError."""
        assert self._reference is not None
        present = _tensor_names(model)
        tensors = [t for t in self._reference.walls.tensors if t in present]
        names = tuple(dict.fromkeys([*self._reference.outputs, *tensors]))
        largest: float | None = None
        for level in LEVELS if self._mode == "full" else LEVELS[:1]:
            differences = self._compare(name, model, level, names)
            place = name if level == "disabled" else f"{name}, at onnxruntime's optimisation level {level!r},"
            self._judge(place, differences)
            own = [found.max_abs for key, found in differences.items() if key not in tensors]
            largest = max([*own, *([] if largest is None else [largest])], default=None)
        return largest

    def _compare(self, name: str, model: Model, level: str, names: tuple[str, ...]) -> dict[str, Difference]:
        assert self._reference is not None
        comparison = Comparison()
        try:
            session = self._ctx.session(model, outputs=list(names), optimization=level)
            for sample in self._ctx.progress(f"comparing after {name}", self._ctx.inputs.check):
                was = self._reference.session.run(sample.feeds)
                comparison.update({key: was[key] for key in names}, session.run(sample.feeds))
        except ModelError as error:
            raise VerificationError(
                f"after {name} the model no longer runs: {error}", hint=error.hint
            ) from error
        return comparison.result()

    def _judge(self, place: str, differences: dict[str, Difference]) -> None:
        """Raise VerificationError for the first output that moved."""
        assert self._reference is not None
        entering = {t for names in self._reference.walls.entering.values() for t in names}
        for output, found in differences.items():
            verdict = found.verdict(self._tolerance)
            if output in entering and output not in self._reference.outputs:
                continue
            if verdict is Verdict.CANNOT_JUDGE:
                self._ctx.warn(f"output {output} held NaN or infinity before: its numbers cannot be judged")
            elif verdict is Verdict.DIFFERENT and not self._is_excused(place, output, differences):
                raise VerificationError(
                    f"after {place} output {output} {self._moved(found)}",
                    hint="--tolerance X allows more; --verify structure compares no numbers",
                )

    def _is_excused(self, place: str, output: str, differences: dict[str, Difference]) -> bool:
        """Whether ``output`` moved only because a choice flipped: what enters the choices did not move."""
        assert self._reference is not None
        tensors = self._reference.walls.entering.get(output.partition("[")[0], ())
        found = [differences[t] for t in tensors if t in differences]
        if not tensors or any(d.verdict(self._tolerance) is Verdict.DIFFERENT for d in found):
            return False
        if len(found) < len(tensors):
            self._ctx.warn(
                f"after {place} output {output} differs behind operators that choose (TopK, Round, ...), and "
                "what enters them cannot be found any more: its numbers cannot be judged"
            )
        return True

    def _moved(self, found: Difference) -> str:
        if found.mismatch:
            return f"has {found.mismatch}"
        if found.unequal:
            return f"differs in {found.unequal} of {found.elements} elements"
        limit = found.tolerance if self._tolerance is None else self._tolerance
        return f"moved by {found.relative:.2g} of its largest value, more than the {limit:g} allowed"


def default_tolerance(model: Model) -> float | None:
    """2e-2 for a model that computes in float16 anywhere; None, which is what the output types say, else."""
    for node in model.graph.nodes:
        for tensor in (*node.inputs, *node.outputs):
            if tensor.dtype is not None and str(tensor.dtype) in ("float16", "bfloat16"):
                return HALF_TOLERANCE
    return None


def _tensor_names(model: Model) -> set[str]:
    return {tensor.name for node in model.graph.nodes for tensor in node.outputs}


def _names(ports: object) -> str:
    return ", ".join(p.name for p in ports)  # type: ignore[attr-defined]


def _dims(shape: object) -> str:
    return "" if shape is None else f"{list(shape)}"  # type: ignore[call-overload]
