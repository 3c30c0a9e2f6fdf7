"""Make ONNX files smaller and faster as the last step before deployment.

    optimize     run passes over a model, measure what they did: the Result has .model, .report and .save()
    explore      the front of speed, size and quality: runs of which none beats another
    inspect      what is in a model: operators, shapes, parameters, MACs, the time of each layer
    compare      two models: differences in numbers, size and speed
    evaluate     how well a model does on samples, beside a reference
    check        hold a model to limits against a baseline: a gate for CI
    sensitivity  what each layer or group costs to compress
    distill      train a model towards its original, without labels

    result = graphopt.optimize("model.onnx", "quant", calibration=loader, evaluation=test_loader)
    print(result)
    result.save("small.onnx")

Models are paths, bytes, onnx.ModelProto, graphsurgeon graphs or graphopt's own; samples are DATA text,
arrays, dicts of arrays, data loaders of torch and paddle, or onnxruntime's CalibrationDataReader; passes are
SPEC text, Pass objects or functions of the graph. What goes wrong on purpose is a GraphoptError: one sentence
and a hint.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphopt.util.pages import VIEWS

if TYPE_CHECKING:
    from graphopt.analysis.check import Check, check
    from graphopt.analysis.exploration import explore
    from graphopt.api import (
        Comparison,
        Evaluation,
        Inspection,
        Result,
        Sensitivity,
        compare,
        evaluate,
        inspect,
        optimize,
        sensitivity,
    )
    from graphopt.data import Samples
    from graphopt.errors import GraphoptError
    from graphopt.pipeline import Pass
    from graphopt.record.front import Front

    distill: Callable[..., Result]
    __version__: str

# Everything is imported when first used: the command line and ``import graphopt`` answer at once.
_HOMES = {
    "optimize": "graphopt.api",
    "explore": "graphopt.analysis.exploration",
    "inspect": "graphopt.analysis.inspection",
    "compare": "graphopt.analysis.comparison",
    "evaluate": "graphopt.analysis.evaluation",
    "check": "graphopt.analysis.check",
    "sensitivity": "graphopt.analysis.sensitivity.study",
    "distill": "graphopt.passes.distill",
    "Check": "graphopt.analysis.check",
    "Comparison": "graphopt.analysis.comparison",
    "Evaluation": "graphopt.analysis.evaluation",
    "Front": "graphopt.record.front",
    "GraphoptError": "graphopt.errors",
    "Inspection": "graphopt.analysis.inspection",
    "Pass": "graphopt.pipeline",
    "Result": "graphopt.api",
    "Samples": "graphopt.data",
    "Sensitivity": "graphopt.record.sensitivity",
}

VIEWS.update(
    report="graphopt.report.html:render_report",
    front="graphopt.report.html:render_front",
    inspection="graphopt.report.html:render_inspection",
)

__all__ = [
    "Check",
    "Comparison",
    "Evaluation",
    "Front",
    "GraphoptError",
    "Inspection",
    "Pass",
    "Result",
    "Samples",
    "Sensitivity",
    "__version__",
    "check",
    "compare",
    "distill",
    "evaluate",
    "explore",
    "inspect",
    "optimize",
    "sensitivity",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("graphopt")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'graphopt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
