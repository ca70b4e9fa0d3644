"""The policy maps of this node's endpoints: one inner map each, found by the datapath through cilium_policy_maps.

Called by the endpoint stage. An inner map is made and filled before it is put into the outer map, so that the
datapath finds all of an endpoint's policy or none of it, which is a drop.
"""

from seta_agent.bpf.errors import BpfError, Reason
from seta_agent.desired.encode import Dtype, Entries, field_of
from seta_agent.programmer.kernelmaps import OUTER, KernelMaps
from seta_agent.programmer.maps import MapReconciler


class PolicyMaps:
    """Owns the inner maps' reconcilers and the outer map."""

    def __init__(self, maps: KernelMaps) -> None:
        self._maps = maps
        self._inner: dict[int, MapReconciler] = {}  # endpoint id -> its map
        self._outer = maps.outer(OUTER)
        self._changed: set[int] = set()  # endpoints whose map got or lost entries while it was in use
        self._too_many: dict[int, tuple[Entries, BpfError]] = {}  # endpoint id -> what does not fit

    @property
    def layout(self) -> tuple[Dtype, Dtype]:
        return self._maps.policy_layout()

    def fill(self, endpoint_id: int, entries: Entries) -> None:
        """Write what is new, then let the datapath find the map. What is stale stays until `drop_stale`.

        `BpfError(FULL)` where it does not fit: with all denies in, what is missing is dropped; with a deny missing
        the map is not installed, and all is dropped. The same entries again change nothing.
        """
        too_many = self._too_many.pop(endpoint_id, None)
        if too_many and too_many[0] == entries:
            self._too_many[endpoint_id] = too_many
            raise BpfError(too_many[1].operation, Reason.FULL, number=too_many[1].number)
        inner = self._inner.get(endpoint_id)
        if inner is None:
            inner = self._inner[endpoint_id] = self._maps.policy_map(endpoint_id)
            inner.complete()
        inner.set(("policy",), entries)
        if inner.pending and _key(endpoint_id) in self._outer.installed:
            self._changed.add(endpoint_id)
        denies = self._denies(entries)
        try:
            inner.write(denies.__contains__)
            inner.write()
        except BpfError as error:
            if error.reason is not Reason.FULL:
                raise
            self._make_room(endpoint_id, inner, entries)
        self._outer.install(_key(endpoint_id), inner.map)

    def drop_stale(self, endpoint_id: int) -> None:
        inner = self._inner[endpoint_id]
        inner.delete()
        inner.settle()

    def remove(self, endpoint_id: int) -> None:
        """Out of the datapath's sight, then away."""
        self._outer.remove(_key(endpoint_id))
        self._too_many.pop(endpoint_id, None)
        inner = self._inner.pop(endpoint_id, None)
        if inner:
            inner.map.close()
        self._maps.remove_policy_map(endpoint_id)

    def known(self) -> set[int]:
        """The endpoints that have a map, pinned or installed."""
        return self._maps.pinned_policy_maps() | {int.from_bytes(key, "little") for key in self._outer.installed}

    def take_changed(self) -> set[int]:
        """The endpoints whose policy was changed since the last call."""
        changed, self._changed = self._changed, set()
        return changed

    def usage(self) -> dict[int, int]:
        """Endpoint id -> entries in its map."""
        return {number: len(inner) for number, inner in self._inner.items()}

    def recheck(self) -> None:
        """Read everything again, as after a restart."""
        self._outer.read()
        self._too_many.clear()
        for inner in self._inner.values():
            inner.read()

    def close(self) -> None:
        self._outer.close()
        for inner in self._inner.values():
            inner.map.close()
        self._inner.clear()

    def _denies(self, entries: Entries) -> set[bytes]:
        at = field_of(self.layout[1], "deny")[1]
        return {key for key, value in entries.items() if value[at]}

    def _make_room(self, endpoint_id: int, inner: MapReconciler, entries: Entries) -> None:
        """No room beside the old entries: the endpoint is cut off while they make way, where there are any."""
        if inner.has_stale:
            self._outer.remove(_key(endpoint_id))
            inner.delete()
        try:
            self._write_again(endpoint_id, inner, self._denies(entries))
        except BpfError as error:
            if error.reason is Reason.FULL:
                self._too_many[endpoint_id] = entries, error
            raise

    def _write_again(self, endpoint_id: int, inner: MapReconciler, denies: set[bytes]) -> None:
        try:
            inner.write(denies.__contains__)
        except BpfError:
            self._outer.remove(_key(endpoint_id))
            raise
        try:
            inner.write()
        finally:
            self._outer.install(_key(endpoint_id), inner.map)


def _key(endpoint_id: int) -> bytes:
    return endpoint_id.to_bytes(4, "little")
