"""Puts a measured model into the form of its target, and runs that in the target's backends on request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from graphopt.pipeline.deploy import Deployment, deployment, verify_in_backends
from graphopt.pipeline.deploy.float_form import has_pairs
from graphopt.pipeline.deploy.verification import SAMPLES
from graphopt.pipeline.run.output import write_draft

if TYPE_CHECKING:
    from graphopt.ir import Model
    from graphopt.pipeline.run.inputs import Inputs
    from graphopt.pipeline.spec.request import Request
    from graphopt.targets import Target

CALIBRATION = (
    "litert-calibration",
)  # for a converter that quantizes by itself: the file is float all the same


@dataclass(frozen=True)
class HandedOver:
    """A model in the form of its target: its drafted files, and what goes beside them."""

    deployed: Deployment
    draft: Sequence[Path]

    @property
    def model(self) -> Model:
        """The model that is written."""
        return self.deployed.model


def hand_over(
    ask: Request,
    target: Target,
    model: Model,
    inputs: Inputs,
    draft: Sequence[Path],
    original: Path | bytes,
    announce: Callable[[str], None],
) -> HandedOver:
    """Draft what is handed over; ``draft`` are the measured files of ``model``, ``original`` is the input.

    Raises VerificationError when a backend answers wrongly, OutputError for a full disk.
    """
    folder = draft[0].parent
    samples = None if inputs.is_synthetic else inputs.calibration
    deployed = deployment(model, target, samples, folder, ask.output or draft[0])
    files = draft
    if deployed.model is not model:
        (folder / "form").mkdir()
        files = write_draft(deployed.model, folder / "form" / draft[0].name)
    if ask.verify_backend:
        feeds = [dict(sample.feeds) for sample in islice(iter(inputs.check), SAMPLES)]
        before = original if is_lossy(model) else None
        beside = {kind: path for kind, path in deployed.companions.items() if kind not in CALIBRATION}
        with ask.busy(f"running the result in {', '.join(target.backends)}"):
            checks = verify_in_backends(files[0], beside, draft[0], before, target, feeds, ask.session)
        for check in checks:
            announce(str(check))
    return HandedOver(deployed, files)


def is_lossy(model: Model) -> bool:
    """Whether a model is in integers or float16, where runtimes round differently."""
    half = np.dtype(np.float16)
    return has_pairs(model) or any(
        tensor.dtype == half for graph in model.graphs() for node in graph.nodes for tensor in node.outputs
    )
