"""Which endpoint is in which CiliumEndpointSlice. Pure; used by slices.py.

An endpoint stays in its slice for its life, so that one pod's change is one slice's change; a new one goes into the
fullest slice of its namespace that has room, so that slices stay few.
"""

import itertools

from seta_crds.endpointslice import MAX_ENDPOINTS
from seta_operator.store.table import Key


class Slicing:
    """Placement of endpoints (namespace, name) in slices (name)."""

    def __init__(self) -> None:
        self._slice_of: dict[Key, str] = {}  # endpoint -> slice
        self._members: dict[str, set[Key]] = {}  # slice -> endpoints
        self._namespace: dict[str, str] = {}  # slice -> namespace
        self._known: set[str] = set()  # every slice name that ever was: none is used twice

    def claim(self, name: str, namespace: str, endpoints: set[Key]) -> set[Key]:
        """Take over a slice from before a restart; returns the endpoints that were free to be in it."""
        self._known.add(name)
        mine = {key for key in endpoints if key[0] == namespace and key not in self._slice_of}
        for key in mine:
            self._put(key, name, namespace)
        return mine

    def place(self, key: Key) -> str:
        """The endpoint's slice, found for it if it has none."""
        if key not in self._slice_of:
            self._put(key, self._with_room(key[0]), key[0])
        return self._slice_of[key]

    def remove(self, key: Key) -> str | None:
        """Take the endpoint out; the slice it was in."""
        name = self._slice_of.pop(key, None)
        if name is not None:
            self._members[name].discard(key)
            if not self._members[name]:
                del self._members[name], self._namespace[name]
        return name

    def members(self, name: str) -> tuple[str, set[Key]] | None:
        """Namespace and endpoints of a slice, or None where it is empty."""
        if name not in self._members:
            return None
        return self._namespace[name], self._members[name]

    def _put(self, key: Key, name: str, namespace: str) -> None:
        self._slice_of[key] = name
        self._members.setdefault(name, set()).add(key)
        self._namespace[name] = namespace

    def _with_room(self, namespace: str) -> str:
        room = [
            (len(members), name)
            for name, members in self._members.items()
            if self._namespace[name] == namespace and len(members) < MAX_ENDPOINTS
        ]
        return max(room)[1] if room else self._new_name(namespace)

    def _new_name(self, namespace: str) -> str:
        # Readable and free of chance: tests and people can tell slices apart.
        name = next(name for n in itertools.count(1) if (name := f"ces-{namespace}-{n}") not in self._known)
        self._known.add(name)
        return name
