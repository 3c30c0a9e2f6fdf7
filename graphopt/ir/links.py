"""The two ends of every edge, kept in step: a node's tensors and a tensor's nodes.

graphsurgeon's SynchronizedList compares by value and removes by search, which is quadratic when many
consumers leave one shared tensor.  These lists compare by identity and remove in constant time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from onnx_graphsurgeon.util.misc import SynchronizedList

SEARCH_LIMIT = 32  # up to this length a search beats an index


class Links(SynchronizedList):  # type: ignore[misc]
    """Tensors of a node, or nodes of a tensor; editing one end edits the other.

    The order of a node's tensors is kept.  The order of a tensor's consumers carries no meaning, and a
    removal from a long list moves its last entry into the gap.
    """

    __slots__ = ("_indexed", "_places")

    def __init__(self, parent: Any, field_name: str) -> None:
        self.parent_obj = parent
        self.field_name = field_name
        self._places: dict[int, list[int]] = {}
        self._indexed = -1  # length of this list when `_places` was last right

    def fill(self, items: Iterable[Any]) -> None:
        """Append ``items``, and this list's owner to the other end of each."""
        owner, field_name = self.parent_obj, self.field_name
        for item in items:
            list.append(self, item)
            other = getattr(item, field_name)
            list.append(other, owner)

    def extend(self, iterable: Iterable[Any]) -> None:
        self.fill(list(iterable))

    def insert(self, i: int, x: Any) -> None:
        self._indexed = -1
        super().insert(i, x)

    def __setitem__(self, index: Any, elem: Any) -> None:
        self._indexed = -1
        super().__setitem__(index, elem)

    def __delitem__(self, index: Any) -> None:
        self._indexed = -1
        super().__delitem__(index)

    def remove(self, x: Any) -> None:
        del self[_position(self, x)]

    def pop(self, i: int = -1) -> Any:  # type: ignore[override]
        item = self[i]
        del self[i]
        return item

    def clear(self) -> None:
        items = list(self)
        list.clear(self)
        for item in items:
            self._remove_from_elem(item)

    def _remove_from_elem(self, elem: Any) -> None:
        other = getattr(elem, self.field_name)
        if isinstance(other, Links):
            other._forget(self.parent_obj)
        else:  # an object that a user's graphsurgeon code made
            list.__delitem__(other, _position(other, self.parent_obj))

    def _forget(self, item: Any) -> None:
        """Remove one entry of ``item`` from this end only."""
        if len(self) <= SEARCH_LIMIT:
            self._indexed = -1
            list.__delitem__(self, _position(self, item))
            return
        places = self._index()
        spot = places[id(item)].pop()
        if not places[id(item)]:
            del places[id(item)]
        last = list.pop(self)
        if spot != len(self):
            list.__setitem__(self, spot, last)
            moved = places[id(last)]
            moved[moved.index(len(self))] = spot
        self._indexed = len(self)

    def _index(self) -> dict[int, list[int]]:
        """Where each item stands; rebuilt when the list was appended to since."""
        if self._indexed != len(self):
            self._places = {}
            for position, item in enumerate(self):
                self._places.setdefault(id(item), []).append(position)
        return self._places


def _position(items: list[Any], wanted: Any) -> int:
    for position, item in enumerate(items):
        if item is wanted:
            return position
    raise ValueError("the item is not in the list")
