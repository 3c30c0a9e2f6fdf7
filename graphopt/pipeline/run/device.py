"""Where the time of a run counts: a device behind a command, the target's runtime, or onnxruntime here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphopt.targets.host import runs_here

if TYPE_CHECKING:
    from graphopt.cost import Device
    from graphopt.pipeline.spec.request import Request
    from graphopt.targets import Target

# time: backends that load a model in well under a second, so that every layer can be timed by itself
QUICK = ("openvino", "ncnn", "mnn", "opencv", "ort-web")


def device_of(ask: Request, target: Target) -> Device | None:
    """The device of a run, None for onnxruntime on this machine; UsageError for a command without {model}."""
    from graphopt import backends
    from graphopt.cost import BackendDevice, CommandDevice

    if ask.measure_command is not None:
        return CommandDevice(ask.measure_command)
    if runs_here(target) or not target.backends or target.backends[0] not in QUICK:
        return None
    where = backends.installed(target.backends[0])
    return None if where is None else BackendDevice(where, ask.threads)
