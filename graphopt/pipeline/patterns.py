"""Patterns by which options name nodes: ``*`` and ``?`` stand for any characters, as in a shell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from graphopt.errors import UsageError
from graphopt.ir import Model, Node


def matches_name(node: Node, pattern: str) -> bool:
    """Whether a pattern means a node, by its name or its first output's."""
    outputs = [tensor.name for tensor in node.outputs[:1]]
    return any(fnmatchcase(name, pattern) for name in (node.name, *outputs) if name)


def matches_layer(node: Node, pattern: str) -> bool:
    """Whether a pattern means a layer, by its name (its output's where it has none) or its operator type."""
    return node.op == pattern or fnmatchcase(str(node.name or node.output.name), pattern)


def refuse_unmatched(model: Model, owner: str, options: Mapping[str, Iterable[str]]) -> None:
    """Raise UsageError for a pattern that names no node: it is a typing error.

    ``options`` are the patterns of ``owner``, a pass, by the option they were given with.
    """
    for option, patterns in options.items():
        for pattern in patterns:
            if not any(matches_name(node, pattern) for node in model.graph.nodes):
                raise UsageError(
                    f"{owner}: {option}={pattern} matches no node of the model",
                    hint="graphopt inspect MODEL --layers lists the names",
                )
