"""The smallest rule that would allow what default deny stops: a manifest for `kubectl apply`. Pure.

Called by `explain`. It names the two ends by all their own labels, so it opens no more than the question asked for. A
policy also closes what it selects: where other pods have the same labels and nothing that denies by default, the rule
says that it does not deny by default either.
"""

import re
from collections.abc import Iterable
from typing import Any, Protocol

from seta_agent.api.parties import Party
from seta_agent.desired import ports, verdict
from seta_agent.desired.encode import PROTOCOLS
from seta_agent.tables import ReservedIdentity, Tables
from seta_crds import labels, names

Json = dict[str, Any]
NAMESPACE = f"k8s:{labels.NAMESPACE}"
ACCOUNT = f"k8s:{labels.SERVICE_ACCOUNT}"
HOSTNAME = "kubernetes.io/hostname"
API_SERVER = "reserved:kube-apiserver"
NUMBERS = {number: name for name, number in PROTOCOLS.items()}
FAMILIES = {"ICMP": "IPv4", "ICMPV6": "IPv6"}


class Open(Protocol):
    """Whether one of these identities is not denied by default in a direction."""

    def __call__(self, identities: Iterable[int], *, egress: bool) -> bool: ...


class Suggestion:
    def __init__(self, tables: Tables, are_open: Open) -> None:
        self._tables = tables
        self._are_open = are_open

    def rule(self, subject: Party, peer: Party, seen: int, asked: verdict.Packet, *, egress: bool) -> Json:
        """A CiliumNetworkPolicy for a pod, a CiliumClusterwideNetworkPolicy for a node. `seen`: the peer's identity."""
        kind = names.NETWORK_POLICY if subject.pod else names.CLUSTERWIDE_NETWORK_POLICY
        metadata = {"name": _name(subject, peer, asked, egress=egress)}
        if subject.pod:
            metadata["namespace"] = subject.pod[0]
        return {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": metadata,
            "spec": self._spec(subject, peer, seen, asked, egress=egress),
        }

    def _spec(self, subject: Party, peer: Party, seen: int, asked: verdict.Packet, *, egress: bool) -> Json:
        direction = "egress" if egress else "ingress"
        rule = self._peer(subject, peer, seen, "to" if egress else "from") | _ports(asked)
        if not subject.pod:
            return {"nodeSelector": {"matchLabels": {HOSTNAME: subject.node}}, direction: [rule]}
        chosen = self._labels(subject)
        closing = {"enableDefaultDeny": {direction: False}} if self._closes_others(subject, chosen, egress) else {}
        return {"endpointSelector": {"matchLabels": chosen}, **closing, direction: [rule]}

    def _peer(self, subject: Party, peer: Party, seen: int, way: str) -> Json:
        """The narrowest way to name the peer."""
        if peer.pod:
            chosen = self._labels(peer)
            if subject.pod is None or subject.pod[0] != peer.pod[0]:
                chosen = {NAMESPACE: peer.pod[0], **chosen}
            return {f"{way}Endpoints": [{"matchLabels": chosen}]}
        entity = self._entity(seen)
        if entity == "world" and peer.address:
            return {f"{way}CIDR": [f"{peer.address}/{peer.address.max_prefixlen}"]}
        return {f"{way}Entities": [entity]}

    def _entity(self, seen: int) -> str:
        row = self._tables.identities.get(seen)
        if row is not None:  # a range, or a node
            if API_SERVER in row.labels:
                return "kube-apiserver"
            return "world" if row.prefix is not None else "remote-node"
        return labels.RESERVED_IDENTITIES.get(seen, labels.RESERVED_IDENTITIES[ReservedIdentity.WORLD])

    def _labels(self, party: Party) -> dict[str, str]:
        """The pod's own labels that count; its service account where it has none."""
        row = self._tables.identities.get(party.identity)
        found = labels.from_list(sorted(row.labels)) if row else {}
        own = {key.removeprefix("k8s:"): value for key, value in found.items() if _is_own(key)}
        return own or ({ACCOUNT: found[ACCOUNT]} if ACCOUNT in found else {})

    def _closes_others(self, subject: Party, chosen: dict[str, str], egress: bool) -> bool:  # noqa: FBT001
        """Whether the selector also finds pods that are open now."""
        assert subject.pod is not None  # noqa: S101 - nodes are chosen by name; for the type checker
        wanted = {f"k8s:{key.removeprefix('k8s:')}": value for key, value in chosen.items()}
        wanted[NAMESPACE] = subject.pod[0]
        texts = set(labels.as_list(wanted))
        others = [row.id for row in self._tables.identities if texts <= row.labels and row.id != subject.identity]
        return self._are_open(others, egress=egress)


def _is_own(key: str) -> bool:
    """Whether a label is the pod's, not derived from where it is."""
    bare = key.removeprefix("k8s:")
    return key.startswith("k8s:") and not bare.startswith(labels.DERIVED_PREFIXES)


def _ports(asked: verdict.Packet) -> Json:
    protocol = NUMBERS[asked.protocol]
    if protocol in ports.ICMP:
        return {"icmps": [{"fields": [{"family": FAMILIES[protocol], "type": asked.port >> 8}]}]}
    return {"toPorts": [{"ports": [{"port": str(asked.port), "protocol": protocol}]}]}


def _name(subject: Party, peer: Party, asked: verdict.Packet, *, egress: bool) -> str:
    """allow-xwing-to-deathstar-80-tcp: what it does, in at most 63 characters."""
    source, destination = (subject, peer) if egress else (peer, subject)
    port = asked.port >> 8 if NUMBERS[asked.protocol] in ports.ICMP else asked.port
    words = (_short(source), "to", _short(destination), str(port), NUMBERS[asked.protocol], "egress" if egress else "")
    text = "-".join(word for word in ("allow", *words) if word).lower()
    return re.sub(r"[^a-z0-9-]+", "-", text)[-63:].strip("-")


def _short(party: Party) -> str:
    return party.pod[1][:20] if party.pod else party.name.removeprefix("reserved:")
