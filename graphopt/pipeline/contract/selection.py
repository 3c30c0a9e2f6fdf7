"""Which nodes a user's options pick: names with ``*`` and ``?`` as in a shell, operator types, and places."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from graphopt.errors import UsageError
from graphopt.ir import Node
from graphopt.util.text import did_you_mean


def matches(node: Node, pattern: str, *others: str) -> bool:
    """Whether a pattern means a node: by its name, its first output's, its operator type written out.

    ``others`` are further names that stand for it here, such as that of a weight.
    """
    names = (node.name, *(tensor.name for tensor in node.outputs[:1]), *others)
    return node.op == pattern or any(fnmatchcase(name, pattern) for name in names if name)


def first_match(node: Node, patterns: Iterable[str], *others: str) -> str | None:
    """The first of the patterns that means a node; see ``matches``."""
    return next((pattern for pattern in patterns if matches(node, pattern, *others)), None)


def refuse_unmatched(
    owner: str, options: Mapping[str, Iterable[str]], nodes: Iterable[Node], *others: str
) -> None:
    """Raise UsageError for a pattern that means none of the nodes and no other name: it is a typing error.

    ``options`` are the patterns of ``owner``, a pass, by the option they were given with.
    """
    nodes = list(nodes)
    for option, patterns in options.items():
        for pattern in patterns:
            is_used = any(fnmatchcase(name, pattern) for name in others if name)
            if not is_used and not any(matches(node, pattern) for node in nodes):
                names = [name for node in nodes for name in (node.name, *(t.name for t in node.outputs[:1]))]
                hint = f"{did_you_mean(pattern, names)} graphopt inspect MODEL --layers lists the names"
                raise UsageError(
                    f"{owner}: {option}={pattern} matches no node of the model that {owner} looks at",
                    hint=hint.strip(),
                )


@dataclass(frozen=True)
class Selection:
    """The nodes that a pass may touch, as a user's options say.

    A node is left alone that ``exclude`` means; a layer also when there is an ``include`` that does not mean
    it, or when it is one of the ``first`` or ``last`` layers.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    first: int = 0
    last: int = 0

    def refusal(
        self, node: Node, *, is_layer: bool = True, place: tuple[int, int] | None = None
    ) -> str | None:
        """The option that leaves a node alone, in a sentence; None when it may be touched.

        ``place`` is the number of a layer, from 0, and how many there are.
        """
        option = self._option(node, is_layer, place)
        name = node.name or (node.outputs[0].name if node.outputs else node.op)
        return None if option is None else f"the option {option} leaves '{name}' alone"

    def _option(self, node: Node, is_layer: bool, place: tuple[int, int] | None) -> str | None:
        if pattern := first_match(node, self.exclude):
            return f"exclude={pattern}"
        if is_layer and self.include and first_match(node, self.include) is None:
            return "include"
        if place is not None and place[0] < self.first:
            return "skip_first"
        if place is not None and place[0] >= place[1] - self.last:
            return "skip_last"
        return None

    def check(self, owner: str, nodes: Iterable[Node]) -> None:
        """Raise UsageError for a pattern that means none of the nodes that ``owner``, a pass, looks at."""
        refuse_unmatched(owner, {"include": self.include, "exclude": self.exclude}, nodes)
