"""Tell one state of a model from another, so that what was found out about it is found out once."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from graphopt import ir

if TYPE_CHECKING:
    from graphopt.pipeline import Context


def fingerprint(model: ir.Model, ctx: Context) -> str:
    """What tells a model and the samples it is looked at with from others of the same process."""
    digest = hashlib.sha256(f"{model_fingerprint(model)} {ctx.inputs.source}".encode())
    given = ctx.inputs.calibration_given
    if given is not None:  # trials look at a part of the samples
        digest.update(given.rows.tobytes())
    return digest.hexdigest()


def model_fingerprint(model: ir.Model) -> str:
    """What tells a model from others of the same process, whatever samples it is looked at with."""
    return f"{hashlib.sha256(model.snapshot().message).hexdigest()} {id(model.weights)}"
