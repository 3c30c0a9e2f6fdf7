"""Tell one state of a model from another, so that what was found out about it is found out once."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from graphopt import ir

if TYPE_CHECKING:
    from graphopt.pipeline import Context


def fingerprint(model: ir.Model, ctx: Context) -> str:
    """What tells a model and the samples it is looked at with from others of the same process."""
    digest = hashlib.sha256(model.snapshot().message)
    digest.update(f"{id(model.weights)} {ctx.inputs.source}".encode())
    return digest.hexdigest()
