"""The two ends of every edge, kept in step: a node's tensors and a tensor's nodes.

These lists stand in for graphsurgeon's SynchronizedList, which compares by value and removes by search:
it may remove an equal item in place of the one that was meant, and is quadratic when many consumers leave
one shared tensor.  Here items are compared by identity, and consumers leave in constant time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

SEARCH_LIMIT = 32  # up to this length a search beats an index


class Links(list[Any]):
    """The tensors of a node, in order; editing them edits the other end of each."""

    __slots__ = ("field_name", "owner")

    def __init__(self, owner: Any, field_name: str) -> None:
        self.owner = owner
        self.field_name = field_name  # of the other end

    def fill(self, items: Iterable[Any]) -> None:
        """Append ``items``, and this list's owner to the other end of each."""
        for item in items:
            self._gain(item)
            self._join(item)

    def replace(self, items: Iterable[Any]) -> None:
        """Let this list hold ``items`` and nothing else."""
        if items is self:  # `tensor.outputs += [...]` ends with an assignment
            return
        items = list(items)
        self.clear()
        self.fill(items)

    def append(self, x: Any) -> None:
        self._gain(x)
        self._join(x)

    def extend(self, iterable: Iterable[Any]) -> None:
        self.fill(list(iterable))

    def __iadd__(self, iterable: Iterable[Any]) -> Links:  # type: ignore[misc,override]
        self.extend(iterable)
        return self

    def insert(self, i: Any, x: Any) -> None:
        super().insert(i, x)
        self._join(x)

    def __setitem__(self, index: Any, value: Any) -> None:
        if isinstance(index, slice):
            items = list(self)
            items[index] = value
            self.replace(items)
        elif self[index] is not value:
            self._leave(self[index])
            super().__setitem__(index, value)
            self._join(value)

    def __delitem__(self, index: Any) -> None:
        gone = self[index] if isinstance(index, slice) else [self[index]]
        super().__delitem__(index)
        for item in gone:
            self._leave(item)

    def remove(self, x: Any) -> None:
        del self[_position(self, x)]

    def pop(self, i: Any = -1) -> Any:
        item = self[i]
        del self[i]
        return item

    def clear(self) -> None:
        items = list(self)
        super().clear()
        for item in items:
            self._leave(item)

    def __add__(self, other: Iterable[Any]) -> list[Any]:  # type: ignore[override]
        return [*self, *other]

    def __copy__(self) -> list[Any]:
        return list(self)

    def __deepcopy__(self, _: Any) -> list[Any]:
        return list(self)

    def _join(self, item: Any) -> None:
        """Add the owner to the other end."""
        other = getattr(item, self.field_name)
        if isinstance(other, Links):
            other._gain(self.owner)
        else:  # an object that a user's graphsurgeon code made
            list.append(other, self.owner)

    def _leave(self, item: Any) -> None:
        """Take one entry of the owner from the other end."""
        other = getattr(item, self.field_name)
        if isinstance(other, Links):
            other._lose(self.owner)
        else:
            list.__delitem__(other, _position(other, self.owner))

    def _gain(self, item: Any) -> None:
        list.append(self, item)

    def _lose(self, item: Any) -> None:
        list.__delitem__(self, _position(self, item))


class Consumers(Links):
    """The nodes of a tensor.

    Their order carries no meaning: a removal from a long list moves its last entry into the gap.
    """

    __slots__ = ("_places",)

    def __init__(self, owner: Any, field_name: str) -> None:
        super().__init__(owner, field_name)
        self._places: dict[int, list[int]] | None = None  # of each item, by id; None when not known

    def insert(self, i: Any, x: Any) -> None:
        self._places = None
        super().insert(i, x)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._places = None
        super().__setitem__(index, value)

    def __delitem__(self, index: Any) -> None:
        self._places = None
        super().__delitem__(index)

    def clear(self) -> None:
        self._places = None
        super().clear()

    def sort(self, **options: Any) -> None:
        self._places = None
        super().sort(**options)

    def reverse(self) -> None:
        self._places = None
        super().reverse()

    def _gain(self, item: Any) -> None:
        if self._places is not None:
            self._places.setdefault(id(item), []).append(len(self))
        list.append(self, item)

    def _lose(self, item: Any) -> None:
        if len(self) <= SEARCH_LIMIT:
            self._places = None
            super()._lose(item)
            return
        places = self._index()
        if not places.get(id(item)):
            raise ValueError("the item is not in the list")
        gap, last = places[id(item)].pop(), list.pop(self)
        if not places[id(item)]:
            del places[id(item)]
        if gap != len(self):
            list.__setitem__(self, gap, last)
            moved = places[id(last)]
            moved[moved.index(len(self))] = gap

    def _index(self) -> dict[int, list[int]]:
        if self._places is None:
            self._places = {}
            for position, item in enumerate(self):
                self._places.setdefault(id(item), []).append(position)
        return self._places


def _position(items: list[Any], wanted: Any) -> int:
    for position, item in enumerate(items):
        if item is wanted:
            return position
    raise ValueError("the item is not in the list")
