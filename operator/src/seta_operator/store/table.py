"""What was last seen of one kind of object.

Filled by the handlers (what the watch says) and by the writer (what the API server answered to a write);
both race, and the higher resourceVersion wins. Services only read.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
Key = tuple[str, str]  # namespace ("" where there is none), name


@dataclass(slots=True)
class Item(Generic[T]):
    version: int  # resourceVersion
    value: T


class Table(Generic[T]):
    """(namespace, name) -> the last value."""

    def __init__(self) -> None:
        self._items: dict[Key, Item[T]] = {}  # (namespace, name) -> version and value

    def put(self, key: Key, version: int, value: T) -> bool:
        """Remember a value unless a newer one is known; whether what services read has changed."""
        held = self._items.get(key)
        if held is not None and held.version >= version:
            return False
        self._items[key] = Item(version, value)
        return held is None or held.value != value

    def remove(self, key: Key, version: int | None = None) -> bool:
        """Forget it, unless what is held is newer than the version it was deleted at."""
        held = self._items.get(key)
        if held is None or (version is not None and held.version > version):
            return False
        del self._items[key]
        return True

    def version(self, key: Key) -> int | None:
        """The resourceVersion last seen."""
        held = self._items.get(key)
        return None if held is None else held.version

    def get(self, key: Key) -> T | None:
        """The value last seen."""
        held = self._items.get(key)
        return None if held is None else held.value

    def items(self) -> Iterator[tuple[Key, T]]:
        """All of them; a snapshot, so that the caller may await in between."""
        return iter([(key, item.value) for key, item in self._items.items()])

    def known(self) -> set[Key]:
        """The keys of all of them."""
        return set(self._items)

    def __contains__(self, key: Key) -> bool:
        return key in self._items

    def __len__(self) -> int:
        return len(self._items)
