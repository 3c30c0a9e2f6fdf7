"""Turn what onnxruntime raises into one sentence: what failed, in which model, what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence

from graphopt.errors import DataError, GraphoptError, ModelError, UsageError

_PREFIX = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_CPP_PLACE = re.compile(r"/\S+\.(?:cc|h|cpp|cu):\d+ [^()]*\([^()]*\)(?: const)? ")
_FAILED_NODE = re.compile(
    r"Non-zero status code returned while running (\S+) node\. Name:'(.*?)' Status Message: "
)
_UNREGISTERED = re.compile(r"(\S+):(\w+)\(-?\d+\) is not a registered function/op")
_NO_SCHEMA = re.compile(r"No Op registered for (\w+) with domain_version of (\d+)")
_NODE_DOMAIN = re.compile(r'In Node, \(".*?", \w+, "(.*?)", -?\d+\)')
_NO_KERNEL = re.compile(r"Could not find an implementation for (\w+)\((\d+)\) node with name '(.*?)'")
_BAD_FEED = (
    "Required inputs",
    "Got invalid dimensions for input",
    "Unexpected input data type",
    "Invalid rank for input",
    "Invalid input name",
    "Creation of OrtValues is currently only supported",
)


def runtime_errors() -> tuple[type[Exception], ...]:
    """The exception classes that an onnxruntime call may raise (they share no base of their own)."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state  # type: ignore[import-untyped]

    own = tuple(v for v in vars(state).values() if isinstance(v, type) and issubclass(v, Exception))
    return (*own, RuntimeError, ValueError, TypeError)


def load_error(error: Exception, label: str, custom_ops: Sequence[str] = ()) -> ModelError:
    """The sentence for a model that onnxruntime refuses to load."""
    text = _plain(error)
    operator = _missing_operator(text)
    if operator is None:
        return ModelError(f"onnxruntime cannot load {label}: {text}")
    domain, op, version = operator
    if domain:
        named = f" in {', '.join(custom_ops)}" if custom_ops else ""
        return ModelError(
            f"{label} uses the custom operator {domain}:{op}, which onnxruntime does not know{named}",
            hint="name the library that implements it: --custom-ops LIB",
        )
    return ModelError(
        f"{label} uses {op} of opset {version}, which this onnxruntime does not implement",
        hint="use a newer onnxruntime or export the model for an older opset",
    )


def library_error(error: Exception, library: str) -> UsageError:
    """The sentence for a custom operator library that does not load."""
    return UsageError(
        f"the custom operator library {library} cannot be loaded: {_plain(error)}",
        hint="--custom-ops takes a shared library built for this machine and this onnxruntime",
    )


def run_error(error: Exception, label: str) -> GraphoptError:
    """The sentence for a model that loads but does not run: DataError when the feeds do not fit it."""
    text = _plain(error)
    if text.startswith(_BAD_FEED):
        return DataError(f"the samples do not fit the inputs of {label}: {text}")
    return ModelError(f"onnxruntime cannot run {label}: {text}")


def _missing_operator(text: str) -> tuple[str, str, str] | None:
    """(domain, operator, version) of the operator that has no implementation, or None."""
    if match := _UNREGISTERED.search(text):
        return match[1], match[2], ""
    if match := _NO_SCHEMA.search(text):
        domain = _NODE_DOMAIN.search(text)
        return domain[1] if domain else "", match[1], match[2]
    if match := _NO_KERNEL.search(text):
        return "", match[1], match[2]
    return None


def _plain(error: Exception) -> str:
    """The message without error codes, C++ places and line breaks."""
    text = " ".join(str(error).split())
    text = _PREFIX.sub("", text)
    text = _FAILED_NODE.sub(lambda m: f"node '{m[2]}' ({m[1]}) fails: ", text)
    text = _CPP_PLACE.sub("", text)
    return text.rstrip(". ")
