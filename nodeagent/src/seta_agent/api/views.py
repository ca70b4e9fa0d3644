"""Tables → the JSON of the agent's API: one function per path. Called by the routes; pure.

The CLI prints these; people's scripts read them by `-o json`. Names are the field's where it has one.
"""

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any

from seta_agent.api.errors import NotFoundError
from seta_agent.desired import ipcache
from seta_agent.tables import (
    Endpoint,
    Frontend,
    Policy,
    PolicyDirection,
    PortMatch,
    ReservedIdentity,
    Service,
    ServicePort,
    Tables,
)
from seta_crds import labels

Json = dict[str, Any]
AUDIT_OPTION = "PolicyAuditMode"
Enforcement = Callable[[Endpoint], tuple[bool, bool]]  # policy enforced (ingress, egress)


def identity_labels(tables: Tables, number: int) -> list[str]:
    """Sorted; reserved identities have their fixed ones, an unknown number has none."""
    if number in labels.RESERVED_LABELS:
        return labels.as_list(labels.RESERVED_LABELS[number])
    row = tables.identities.get(number)
    return sorted(row.labels) if row else []


def by_number(tables: Tables, name: str) -> Endpoint:
    """The endpoint of that number. Raises NotFoundError."""
    row = tables.endpoints.get(int(name)) if name.isdigit() else None
    if row is None:
        raise NotFoundError(f"there is no endpoint {name} on this node; see `seta endpoint list`")
    return row


def endpoint(row: Endpoint, enforced: tuple[bool, bool]) -> Json:
    ingress, egress = (_enforcement(one, audit=row.audit) for one in enforced)
    return {
        "id": row.id,
        "policy": {"ingress": ingress, "egress": egress},
        "identity": {"id": row.identity, "labels": list(row.labels)},
        "ipv4": str(row.ipv4),
        "ipv6": str(row.ipv6) if row.ipv6 else "",
        "state": "ready" if row.identity is not None else "waiting-for-identity",
        "namespace": row.namespace,
        "pod": row.pod,
        "services": {"translated": "Packet" if row.packet_services else "Socket", "reason": row.packet_services},
        "container_id": row.container_id,
        "interface": {"name": row.ifname, "index": row.ifindex, "mac": row.mac, "host_mac": row.node_mac},
        "named_ports": [{"name": name, "port": port, "protocol": protocol} for name, port, protocol in row.named_ports],
    }


def _enforcement(enforced: bool, *, audit: bool) -> str:  # noqa: FBT001 - one of a pair
    if not enforced:
        return "Disabled"
    return "Disabled (Audit)" if audit else "Enabled"


def options(row: Endpoint) -> Json:
    """What `seta endpoint config` shows and sets."""
    return {AUDIT_OPTION: "Enabled" if row.audit else "Disabled"}


def endpoints(tables: Tables, enforcement: Enforcement) -> list[Json]:
    rows = sorted(tables.endpoints, key=lambda row: row.id)
    return [endpoint(row, enforcement(row)) for row in rows]


def identities(tables: Tables) -> list[Json]:
    numbers = [*labels.RESERVED_LABELS, *sorted(tables.identities.keys())]
    return [{"id": number, "labels": identity_labels(tables, number)} for number in numbers]


def services(rows: Iterable[Service]) -> list[Json]:
    """One entry per frontend, by id."""
    found = [frontend(service, port, one) for service in rows for port in service.ports for one in port.frontends]
    return sorted(found, key=lambda entry: (int(entry["id"]), str(entry["frontend"])))


def frontend(service: Service, port: ServicePort, one: Frontend) -> Json:
    return {
        "id": one.id,
        "frontend": f"{_host(str(one.address))}:{one.port}/{port.protocol}",
        "type": one.type,
        "namespace": service.namespace,
        "service": service.name,
        "port_name": port.name,
        "backends": [
            {
                "backend": f"{_host(str(backend.address))}:{backend.port}/{port.protocol}",
                "state": backend.state,
                "node": backend.node,
            }
            for backend in port.backends
        ],
    }


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def ips(tables: Tables, node_name: str) -> list[Json]:
    """Every address the agent knows an identity of, as the ipcache will hold it. The world is the rest."""
    found: dict[str, Json] = {}
    for entry in (*_range_ips(tables), *_node_ips(tables, node_name), *_pod_ips(tables), *_local_ips(tables)):
        found[entry["ip"]] = entry
    return [found[ip] for ip in sorted(found, key=by_address)]


def by_address(prefix: str) -> tuple[int, int, int]:
    """Sorts prefixes as numbers, IPv4 first."""
    network = ipaddress.ip_network(prefix)
    return network.version, int(network.network_address), network.prefixlen


def _range_ips(tables: Tables) -> Iterable[Json]:
    """Ranges that policies name."""
    for row in tables.admitted:
        if row.prefix:
            yield _ip(tables, str(row.prefix), row.id, "custom-resource", "")


def _node_ips(tables: Tables, node_name: str) -> Iterable[Json]:
    for node in tables.nodes:
        own = node.name == node_name
        identity = ReservedIdentity.HOST if own else ipcache.identity_of_node(node, tables.admitted.keys())
        for address in tables.ips_of_own(node) if own else (*node.internal_ips, *node.router_ips):
            yield _ip(tables, str(address), int(identity), "local" if own else "custom-resource", "")


def _pod_ips(tables: Tables) -> Iterable[Json]:
    for rows in tables.remote_pods:
        for row in rows:
            for address in row.addresses:
                yield _ip(tables, str(address), row.identity, "custom-resource", str(row.node_ip))


def _local_ips(tables: Tables) -> Iterable[Json]:
    for row in tables.endpoints:
        if row.identity is not None:
            yield _ip(tables, str(row.ipv4), row.identity, "local", "")


def _ip(tables: Tables, prefix: str, identity: int, source: str, host: str) -> Json:
    return {
        "ip": str(ipaddress.ip_network(prefix)),
        "identity": {"id": identity, "labels": identity_labels(tables, identity)},
        "source": source,
        "host": host,
        "encrypt_key": 0,
    }


def policies(tables: Tables) -> list[Json]:
    return [policy(row, tables) for row in sorted(tables.policies, key=lambda row: row.name)]


def selectors(tables: Tables) -> list[Json]:
    """Every selector set with the policies that refer to it, by its text."""
    users: dict[str, list[str]] = {}  # set -> sources of policies
    for row in sorted(tables.policies, key=lambda row: row.source):
        for name in _sets(row):
            users.setdefault(name, []).append(row.source)
    found = [
        {
            "set": row.name,
            "selector": row.selector,
            "policies": users.get(row.name, []),
            "identities": sorted(row.identities),
        }
        for row in tables.selector_sets
    ]
    return sorted(found, key=lambda item: (str(item["selector"]), str(item["set"])))


def _sets(row: Policy) -> set[str]:
    """The selector sets that a policy refers to."""
    directions = [one for rule in row.rules for one in (rule.ingress, rule.egress) if one]
    peers = {name for direction in directions for entry in direction.entries for name in entry.peers or ()}
    return peers | {rule.subject for rule in row.rules if rule.subject}


def policy(row: Policy, tables: Tables) -> Json:
    return {
        "name": row.name,
        "source": row.source,
        "generation": row.generation,
        "rules": [
            {
                **({"subject": _selector(rule.subject, tables)} if rule.nodes is None else {"nodes": list(rule.nodes)}),
                **({"ingress": _direction(rule.ingress, tables)} if rule.ingress else {}),
                **({"egress": _direction(rule.egress, tables)} if rule.egress else {}),
            }
            for rule in row.rules
        ],
    }


def _direction(direction: PolicyDirection, tables: Tables) -> Json:
    return {
        "defaultDeny": direction.default_deny,
        "entries": [
            {
                "origin": entry.origin,
                "action": "Deny" if entry.deny else "Allow",
                **({"yields": True} if entry.yields else {}),
                **({} if entry.peers is None else {"peers": [_selector(name, tables) for name in entry.peers]}),
                **({} if entry.ports is None else {"ports": [_port(port) for port in entry.ports]}),
            }
            for entry in direction.entries
        ],
    }


def _selector(name: str, tables: Tables) -> Json:
    """A selector set by what it says and whom it matches now; one that has not arrived matches nobody."""
    row = tables.selector_sets.get(name)
    if row is None:
        return {"set": name, "selector": "", "identities": []}
    return {"set": name, "selector": row.selector, "identities": sorted(row.identities)}


def _port(port: PortMatch) -> str:
    """80/TCP, 80-90/TCP, http/TCP, ANY."""
    number = port.name or (f"{port.port}-{port.end_port}" if port.end_port else str(port.port or ""))
    return f"{number}/{port.protocol}" if number else port.protocol
