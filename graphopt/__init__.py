"""graphopt: make ONNX files smaller and faster as the last step before deployment.

``graphopt.optimize("in.onnx", passes="clean,fold-bn")`` runs passes and measures the result; ``inspect``,
``compare``, ``evaluate`` and ``sensitivity`` look at models. Everything is imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

    __version__: str

_API = (
    "Comparison",
    "Evaluation",
    "Inspection",
    "Result",
    "Sensitivity",
    "compare",
    "evaluate",
    "inspect",
    "optimize",
    "sensitivity",
)

__all__ = [
    "Comparison",
    "Evaluation",
    "Inspection",
    "Result",
    "Sensitivity",
    "__version__",
    "compare",
    "evaluate",
    "inspect",
    "optimize",
    "sensitivity",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("graphopt")
    if name in _API:
        from graphopt import api

        return getattr(api, name)
    raise AttributeError(f"module 'graphopt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
