"""What is written of an election: each node's NodeAnnouncements, and the Services' leases. Pure; used by l2.py."""

import hashlib
from collections.abc import Mapping

from seta_crds import names
from seta_operator.services.l2_reach import Reach
from seta_operator.services.l2_rules import Rule
from seta_operator.services.l2_wishes import Wish
from seta_operator.store.facts import JSON, Owned
from seta_operator.store.table import Key

PREFIX = "cilium-l2announce-"
SERVICE_ANNOTATION = "seta.dev/service"  # on a lease: <namespace>/<name>, which its name does not tell for sure
LABELS = {"app.kubernetes.io/part-of": "seta"}


Together = dict[tuple[str, ...], list[str]]  # expressions for devices (none: all) -> addresses announced on these


def together(wish: Wish, node: str, reach: Reach, rules: Mapping[str, Rule]) -> Together:
    """What a node is to announce of a service.

    A rule's devices count whether they are up or not, so that links that come and go change no list.
    """
    result: Together = {}
    for address, asking in wish.addresses.items():
        found = [rules[name].interfaces or () for name in asking if node in reach.selected.get(name, ())]
        if found:
            expressions = () if () in found else tuple(sorted({one for some in found for one in some}))
            result.setdefault(expressions, []).append(address)
    return result


def entries(key: Key, wanted: Together) -> list[JSON]:
    """A service in the list of its node."""
    return [
        {"namespace": key[0], "name": key[1], "addresses": addresses}
        | ({"interfaces": list(expressions)} if expressions else {})
        for expressions, addresses in sorted(wanted.items())
    ]


def addresses(listed: Mapping[Key, list[JSON]]) -> frozenset[str]:
    """All that a node's list makes it answer for."""
    return frozenset(address for some in listed.values() for one in some for address in one["addresses"])


def by_service(content: JSON) -> dict[Key, list[JSON]]:
    """A node's list as it was written."""
    found: dict[Key, list[JSON]] = {}
    for one in (content.get("spec") or {}).get("services") or ():
        found.setdefault((one["namespace"], one["name"]), []).append(one)
    return found


class LeaseNames:
    """Names of the services' leases. Dashes may stand in both parts, so that two services can come to one name."""

    def __init__(self) -> None:
        self._of: dict[Key, str] = {}  # service -> name
        self._taken: dict[str, Key] = {}  # the reverse

    def restore(self, name: str, key: Key) -> bool:
        """Take over a name as it was written; whether it is one of ours."""
        if name in self._taken or key in self._of or name not in _names(key):
            return False
        self._of[key], self._taken[name] = name, key
        return True

    def of(self, key: Key) -> str:
        """The service's name for its lease, kept until it is released."""
        if key not in self._of:
            name = next(name for name in _names(key) if name not in self._taken)
            self._of[key], self._taken[name] = name, key
        return self._of[key]

    def has(self, key: Key) -> bool:
        return key in self._of

    def release(self, key: Key) -> None:
        """Its lease is deleted."""
        self._taken.pop(self._of.pop(key, ""), None)


def _names(key: Key) -> tuple[str, str]:
    plain = f"{PREFIX}{key[0]}-{key[1]}"
    return plain, f"{plain}-{hashlib.sha256('/'.join(key).encode()).hexdigest()[:10]}"


def service_of(lease: Owned) -> Key | None:
    """Whose lease it is; None where it is not one of ours."""
    metadata = lease.content["metadata"]
    namespace, _, name = metadata.get("annotations", {}).get(SERVICE_ANNOTATION, "").partition("/")
    return (namespace, name) if namespace and name else None


def holder_of(lease: Owned) -> str:
    """The node that a lease names."""
    return str((lease.content.get("spec") or {}).get("holderIdentity") or "")


def lease(key: Key, node: str, seconds: int, held: Owned | None, now: str) -> JSON:
    """Content of a service's lease: what is written already, while its holder is the same."""
    before = (held.content.get("spec") or {}) if held is not None else {}
    metadata = {"labels": LABELS, "annotations": {SERVICE_ANNOTATION: "/".join(key)}}
    if before.get("holderIdentity") == node and before.get("leaseDurationSeconds") == seconds:
        return {"metadata": metadata, "spec": before}
    moved = bool(before.get("holderIdentity")) and before["holderIdentity"] != node
    return {
        "metadata": metadata,
        "spec": {
            "holderIdentity": node,
            "leaseDurationSeconds": seconds,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": (before.get("leaseTransitions") or 0) + moved,
        },
    }


def heartbeat_of(name: str, lease: Owned) -> str | None:
    """The node whose heartbeat a lease is; None where it is none."""
    node = holder_of(lease)
    return node if node and name == names.node_lease_name(node) else None
