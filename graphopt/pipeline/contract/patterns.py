"""Patterns by which options name nodes: ``*`` and ``?`` stand for any characters, as in a shell."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from graphopt.errors import UsageError
from graphopt.ir import Model, Node


def matches_name(node: Node, pattern: str) -> bool:
    """Whether a pattern means a node, by its name or its first output's."""
    outputs = [tensor.name for tensor in node.outputs[:1]]
    return any(fnmatchcase(name, pattern) for name in (node.name, *outputs) if name)


def matches_layer(node: Node, pattern: str) -> bool:
    """Whether a pattern means a layer, by its name (its output's where it has none) or its operator type."""
    return node.op == pattern or fnmatchcase(_layer_name(node), pattern)


def selects_layer(node: Node, include: Iterable[str], exclude: Iterable[str]) -> bool:
    """Whether ``include`` means a layer, as it does all where it is empty, and ``exclude`` does not."""
    patterns = tuple(include)
    if any(matches_layer(node, pattern) for pattern in exclude):
        return False
    return not patterns or any(matches_layer(node, pattern) for pattern in patterns)


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


def refuse_unmatched_layers(owner: str, options: Mapping[str, Iterable[str]], layers: Sequence[Node]) -> None:
    """Raise UsageError for a pattern that stands for none of a pass's layers: it is a typing error.

    ``options`` are the patterns of ``owner``, a pass, by the option they were given with.
    """
    for option, patterns in options.items():
        for pattern in patterns:
            if not any(matches_layer(node, pattern) for node in layers):
                near = difflib.get_close_matches(pattern, [_layer_name(node) for node in layers], n=1)
                hint = f"did you mean '{near[0]}'? " if near else ""
                raise UsageError(
                    f"{owner}: {option} names '{pattern}', but no layer is called like that",
                    hint=f"{hint}`graphopt inspect --layers` lists the layers",
                )


def _layer_name(node: Node) -> str:
    return str(node.name or node.output.name)
