"""Unique names for what passes add, in constant time."""

from __future__ import annotations


class Names:
    """Every tensor and node name of a model, its subgraphs included."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def take(self, name: str) -> None:
        """Note that ``name`` is in use."""
        self._taken.add(name)

    @property
    def are_text(self) -> bool:
        """Whether every name is text: protobuf hands out bytes for what is not UTF-8."""
        return all(isinstance(name, str) for name in self._taken)

    def unique(self, hint: str) -> str:
        """Return ``hint``, or ``hint_N`` when it is taken, and take it."""
        name = hint
        while not name or name in self._taken:
            number = self._next.get(hint, 1)
            self._next[hint] = number + 1
            name = f"{hint}_{number}"
        self._taken.add(name)
        return name
