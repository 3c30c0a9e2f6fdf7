"""Checks that the model still is what its passes promised: structure, signature and numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from graphopt.errors import DataError, ModelError, VerificationError
from graphopt.metrics.outputs import decibels
from graphopt.pipeline.contract.base import Contract, Pass
from graphopt.pipeline.verify.reference import Reference
from graphopt.runtime import Difference, Verdict
from graphopt.runtime.difference import HALF_TOLERANCE

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.pipeline.contract.context import Context
    from graphopt.runtime.session import Optimization

Mode = Literal["auto", "full", "structure", "off"]
MODES: tuple[str, ...] = get_args(Mode)
LEVELS: tuple[Optimization, ...] = ("disabled", "basic", "extended", "all")
LARGE = 5000  # time: nodes; above, exact passes are compared together and not one by one
# noise: times what the runtime's own optimisations do to the untouched model, seen on a few samples
NOISE_FACTOR = 4.0


@dataclass(frozen=True)
class Check:
    """What comparing numbers showed; both None when nothing was compared."""

    max_abs_diff: float | None = None
    snr_db: float | None = None


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
        self._reference: Reference | None = None

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
        if not step.keeps_signature:
            self._accept_signature(step.name, model)
        if self._mode != "off":
            self._check_structure(step.name, model)
        if self._reference is None:
            return Check()
        if step.contract is Contract.EXACT:
            if not self._together:
                return Check(max_abs_diff=self._check_equal(step.name, model, self._reference))
            self._pending.append(step.name)
            return Check()
        differences = self._compare(step.name, model, self._reference, self._reference.outputs)
        self._reference = None
        self._check_finite(step.name, differences)
        return Check(snr_db=min(decibels(differences).values(), default=None))

    def _check_finite(self, name: str, differences: Mapping[str, Difference]) -> None:
        """Raise VerificationError where an output is no number any more: no approximation may do that."""
        for output, found in differences.items():
            if math.isinf(found.max_abs):
                raise VerificationError(
                    f"after {name} output {output} holds NaN or infinity, which it did not before",
                    hint="compress less, or exclude the layers before it",
                )

    def finish(self, model: Model) -> None:
        """Compare what was put off."""
        if self._pending and self._reference is not None:
            names = " and ".join(dict.fromkeys(self._pending))
            self._check_equal(names, model, self._reference)
        self._pending.clear()
        self._reference = None

    def _accept_signature(self, name: str, model: Model) -> None:
        """Hold later passes to the signature that this one was asked to make."""
        _declare_outputs(model)
        was, self._signature = self._signature, model.signature
        if (was.inputs, was.outputs) != (self._signature.inputs, self._signature.outputs):
            if self._reference is not None:
                self._ctx.warn(f"{name} changed inputs or outputs: its numbers were not compared")
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

    def _refer(self, model: Model) -> Reference | None:
        """Keep the model as it is; None, with a warning, when it does not run and so cannot be compared."""
        try:
            reference = Reference(model, self._ctx)
        except (ModelError, DataError) as error:
            if isinstance(error, DataError) and self._ctx.inputs.given is not None:
                raise  # the user's own samples do not fit
            self._numbers = False
            hint = f" ({error.hint})" if error.hint else ""
            self._ctx.warn(f"the numbers were NOT checked, only structure and signature: {error}{hint}")
            return None
        for name in sorted(reference.walls.random):
            self._ctx.warn(f"output {name} depends on random operators and is not compared")
        return reference

    def _check_equal(self, name: str, model: Model, reference: Reference) -> float | None:
        """Compare with the reference; returns the largest difference or raises VerificationError."""
        present = _tensor_names(model)
        names = [n for n in reference.names if n in reference.outputs or n in present]
        largest: list[float] = []
        for level in LEVELS if self._mode == "full" else LEVELS[:1]:
            differences = self._compare(name, model, reference, names, level)
            place = name if level == "disabled" else f"{name}, at onnxruntime's optimisation level {level!r},"
            self._judge(place, model, reference, differences)
            largest += [
                difference.max_abs for key, difference in differences.items() if not _enters(key, reference)
            ]
        return max(largest, default=None)

    def _compare(
        self,
        name: str,
        model: Model,
        reference: Reference,
        names: Sequence[str],
        level: Optimization = "disabled",
    ) -> dict[str, Difference]:
        try:
            return reference.compare(model, names, level)
        except (ModelError, DataError) as error:
            raise VerificationError(
                f"after {name} the model no longer runs: {error}", hint=error.hint
            ) from error

    def _judge(
        self, place: str, model: Model, reference: Reference, differences: Mapping[str, Difference]
    ) -> None:
        """Raise VerificationError for the first output that moved."""
        moved = {n: d for n, d in differences.items() if d.verdict(self._tolerance) is Verdict.DIFFERENT}
        if moved:
            noise = reference.noise(model)
            moved = {n: d for n, d in moved.items() if n not in noise or not _is_noise(d, noise[n])}
        for output, difference in differences.items():
            if _enters(output, reference):
                continue
            if difference.verdict(self._tolerance) is Verdict.CANNOT_JUDGE:
                self._ctx.warn(f"output {output} held NaN or infinity before: its numbers cannot be judged")
            elif output in moved and not self._is_excused(place, output, reference, differences, moved):
                raise VerificationError(
                    f"after {place} output {output} {self._moved(difference)}",
                    hint="--tolerance X allows more; --verify structure compares no numbers",
                )

    def _is_excused(
        self,
        place: str,
        output: str,
        reference: Reference,
        differences: Mapping[str, Difference],
        moved: Mapping[str, Difference],
    ) -> bool:
        """Whether ``output`` moved only because a choice flipped: what enters the choices did not move."""
        tensors = reference.walls.entering.get(output.partition("[")[0], ())
        if not tensors or any(tensor in moved for tensor in tensors):
            return False
        if any(tensor not in differences for tensor in tensors):
            self._ctx.warn(
                f"after {place} output {output} differs behind operators that choose (TopK, Round, ...), and "
                "what enters them cannot be found any more: its numbers cannot be judged"
            )
        return True

    def _moved(self, difference: Difference) -> str:
        if difference.mismatch:
            return f"has {difference.mismatch}"
        if difference.unequal:
            return f"differs in {difference.unequal} of {difference.elements} elements"
        limit = difference.tolerance if self._tolerance is None else self._tolerance
        return f"moved by {difference.relative:.2g} of its largest value, more than the {limit:g} allowed"


def default_tolerance(model: Model) -> float | None:
    """2e-2 for a model that computes in float16 anywhere; None, which is what the output types say, else."""
    for node in model.graph.nodes:
        for tensor in (*node.inputs, *node.outputs):
            if tensor.dtype is not None and str(tensor.dtype) in ("float16", "bfloat16"):
                return HALF_TOLERANCE
    return None


def _declare_outputs(model: Model) -> None:
    """Declare type and shape of outputs that were inner tensors before, as a valid model must."""
    new = [tensor for tensor in model.graph.outputs if tensor.dtype is None or tensor.shape is None]
    if not new:
        return
    from graphopt.ir.analysis.facts import gather_facts

    model.sort()
    facts = gather_facts(model)
    for tensor in new:
        tensor.dtype, tensor.shape = facts.dtype(tensor), facts.shape(tensor)


def _is_noise(difference: Difference, noise: Difference) -> bool:
    """Whether a difference is as small as what onnxruntime's optimisations do to the untouched model."""
    return (
        not difference.mismatch
        and not difference.unequal
        and difference.max_abs <= NOISE_FACTOR * noise.max_abs
    )


def _enters(name: str, reference: Reference) -> bool:
    """Whether a compared tensor is no output, but one of those that enter a wall."""
    return name in reference.walls.tensors and name not in reference.outputs


def _tensor_names(model: Model) -> set[str]:
    return {tensor.name for node in model.graph.nodes for tensor in node.outputs}


def _names(ports: object) -> str:
    return ", ".join(p.name for p in ports)  # type: ignore[attr-defined]


def _dims(shape: object) -> str:
    return "" if shape is None else f"{list(shape)}"  # type: ignore[call-overload]
