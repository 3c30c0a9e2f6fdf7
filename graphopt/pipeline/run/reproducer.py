"""A folder that shows a failure again: the model before the pass, and the command that runs the rest."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from graphopt.data.remote_path import is_remote, without_secrets
from graphopt.errors import GraphoptError
from graphopt.pipeline.spec.arrange import PipelineEntry, as_step
from graphopt.pipeline.spec.spec import Spec

if TYPE_CHECKING:
    from graphopt.ir import Model, Snapshot
    from graphopt.pipeline.spec.request import Request


@dataclass(frozen=True)
class Reproducer:
    """Where to put the folder (beside ``output``) and which flags the failing run had."""

    output: Path
    flags: tuple[str, ...] = ()

    def write(
        self, model: Model, before: Snapshot, remaining: Sequence[PipelineEntry], error: GraphoptError
    ) -> str:
        """Write the folder and return a sentence that says where it is, or why it could not be written.

        ``model`` is brought back to ``before``.
        """
        folder = self.output.with_name(f"{self.output.name}.failed-{remaining[0].step.name}")
        spec = Spec(tuple(as_step(stage.step) for stage in remaining))
        command = ["graphopt", "optimize", "model.onnx", "--as-written", "--passes", str(spec), *self.flags]
        try:
            model.restore(before)
            folder.mkdir(exist_ok=True)
            model.write(folder / "model.onnx")
            text = (
                f"{error}\n\nThe model before the failing pass is model.onnx; this runs the rest again:\n\n"
            )
            (folder / "README.txt").write_text(f"{text}{shlex.join(command)}\n", encoding="utf-8")
        except (OSError, GraphoptError) as problem:
            return f"the folder that shows the failure again could not be written: {problem}"
        return f"{folder} holds the model before the pass and the command that shows the failure again"


def failure_flags(request: Request) -> tuple[str, ...]:
    """The flags that a failing run needs again besides its passes."""
    is_path = request.target.endswith(".toml")
    target = str(Path(request.target).absolute()) if is_path else request.target
    flags = ["--seed", str(request.seed), "--target", target]
    for name in ("calibration", "evaluation"):
        value = getattr(request, name)
        if isinstance(value, str):
            here = without_secrets(value) if is_remote(value) else str(Path(value).absolute())
            flags += [f"--{name}", here]
    if request.preprocess is not None:
        is_file = request.preprocess.endswith(".toml")
        flags += ["--preprocess", str(Path(request.preprocess).absolute()) if is_file else request.preprocess]
    for library in request.custom_ops:
        flags += ["--custom-ops", str(Path(library).absolute())]
    for name, sizes in request.shape.items():
        flags += ["--shape", f"{name}={'x'.join(map(str, sizes))}"]
    return tuple(flags)
