"""Event records → what people read. Called by the hub, only for events that somebody listens to.

Names come from the enums in the shipped objects' BTF: a new drop reason in C needs no change here.
"""

import dataclasses
import ipaddress
from collections.abc import Mapping
from typing import Any

import numpy as np

from seta_agent.monitor.why import Why

Array = np.ndarray[Any, np.dtype[Any]]
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 132: "sctp"}
TCP_FLAGS = ((0x02, "SYN"), (0x10, "ACK"), (0x04, "RST"), (0x01, "FIN"), (0x08, "PSH"))  # in the order printed
ICMP = {
    ("icmp", 0): "EchoReply",
    ("icmp", 3): "DestinationUnreachable",
    ("icmp", 8): "EchoRequest",
    ("icmp", 11): "TimeExceeded",
    ("icmpv6", 128): "EchoRequest",
    ("icmpv6", 129): "EchoReply",
}
ABBREVIATIONS = {"ct": "CT", "fib": "FIB", "ip": "IP", "ipv6": "IPv6", "l3": "L3", "l4": "L4", "nat": "NAT"}
EXTENSIONS = ("_BPF_C", "_H")


@dataclasses.dataclass(frozen=True)
class Enums:
    """The C enums that events use, each number -> name for people."""

    types: Mapping[int, str]  # "drop", "trace", "policy-verdict"
    reasons: Mapping[int, str]  # "Policy denied"
    points: Mapping[int, str]  # "to-endpoint"
    states: Mapping[int, str]  # "new"
    matches: Mapping[int, str]  # "L3-L4"
    files: Mapping[int, str]  # "policy.h"
    verdicts: Mapping[int, str]  # "dropped"
    directions: Mapping[int, str]  # "ingress"


def enums(constants: Mapping[str, Mapping[str, int]]) -> Enums:
    """From the BTF's enums by name (`seta_agent.bpf.btf.Btf.enum`)."""
    return Enums(
        types=_names(constants["event_type"], "EVENT_", "-"),
        reasons={number: _sentence(text) for number, text in _names(constants["drop_reason"], "DROP_", " ").items()},
        points=_names(constants["observation_point"], "OBSERVED_", "-"),
        states=_names(constants["ct_state"], "CT_", "-"),
        matches={
            number: text if "-" not in text else "-".join(part.capitalize() for part in text.split("-"))
            for number, text in _names(constants["policy_match"], "MATCH_", "-").items()
        },
        files={number: _file(name) for name, number in constants["source_file"].items()},
        verdicts=_names(constants["event_verdict"], "VERDICT_", "-"),
        directions=_names(constants["direction"], "DIR_", "-"),
    )


def _names(constants: Mapping[str, int], prefix: str, separator: str) -> dict[int, str]:
    return {number: name.removeprefix(prefix).lower().replace("_", separator) for name, number in constants.items()}


def _sentence(words: str) -> str:
    """From "policy denied" to "Policy denied", abbreviations as they are written."""
    written = " ".join(ABBREVIATIONS.get(word, word) for word in words.split())
    return written[:1].upper() + written[1:]


def _file(name: str) -> str:
    """FILE_FROM_CONTAINER_BPF_C -> from_container.bpf.c."""
    stem = name.removeprefix("FILE_")
    for extension in EXTENSIONS:
        if stem.endswith(extension):
            return stem.removesuffix(extension).lower() + extension.lower().replace("_", ".")
    return stem.lower()


def decode(record: Any, names: Enums, why: Why) -> dict[str, Any]:
    """One record of `struct event` as plain JSON, its line for people under `summary`."""
    proto = PROTOCOLS.get(int(record["proto"]), str(int(record["proto"])))
    event: dict[str, Any] = {
        "type": names.types.get(int(record["type"]), "unknown"),
        "timestamp": int(record["timestamp"]),
        "flow": f"{int(record['hash']):#x}",
        "source": _address(record["saddr"], int(record["family"])),
        "destination": _address(record["daddr"], int(record["family"])),
        "source_port": int(record["sport"]),
        "destination_port": int(record["dport"]),
        "protocol": proto,
        "flags": _flags(record, proto),
        "source_identity": int(record["src_identity"]),
        "destination_identity": int(record["dst_identity"]),
        "endpoint": int(record["endpoint_id"]),
        "ifindex": int(record["ifindex"]),
        "length": int(record["length"]),
        "reason": names.reasons.get(int(record["reason"]), str(int(record["reason"]))) if record["reason"] else "",
        "observation": names.points.get(int(record["observation"]), "unknown"),
        "verdict": names.verdicts.get(int(record["verdict"]), "unknown"),
        "direction": names.directions.get(int(record["direction"]), "unknown"),
        "state": names.states.get(int(record["ct_state"]), "unknown"),
        "match": names.matches.get(int(record["match"]), "none"),
        "cookie": int(record["cookie"]),
        "file": f"{names.files.get(int(record['file']), 'unknown')}:{int(record['line'])}",
    }
    event["policies"] = why.policies(event)
    sentence = why.sentence(event)
    return {**event, "summary": summary(event) + (f" ({sentence})" if sentence else "")}


def _address(union: Any, family: int) -> str:
    """`union ip16`: an IPv4 address is its first four bytes."""
    raw = bytes(union.tobytes())
    return str(ipaddress.IPv6Address(raw[:16])) if family == 2 else str(ipaddress.IPv4Address(raw[:4]))


def _flags(record: Any, proto: str) -> str:
    if proto == "tcp":
        return ", ".join(name for bit, name in TCP_FLAGS if int(record["tcp_flags"]) & bit)
    if proto.startswith("icmp"):
        return ICMP.get((proto, int(record["icmp_type"])), f"type {int(record['icmp_type'])}")
    return ""


def summary(event: Mapping[str, Any]) -> str:
    """The line that `seta monitor` prints."""
    match event["type"]:
        case "drop":
            return (
                f"xx drop ({event['reason']}) flow {event['flow']} to endpoint {event['endpoint']}, "
                f"ifindex {event['ifindex']}, file {event['file']}, , {_identities(event)}: {_packet(event)}"
            )
        case "policy-verdict":
            return _verdict(event)
        case _:
            return (
                f"{_point(event)} flow {event['flow']} , {_identities(event)} state {event['state']} "
                f"ifindex {event['ifindex']}: {_packet(event)}"
            )


def _verdict(event: Mapping[str, Any]) -> str:
    ingress = event["direction"] == "ingress"
    remote = event["source_identity"] if ingress else event["destination_identity"]
    action = {"forwarded": "allow", "redirected": "redirect", "audit": "audit"}.get(event["verdict"], "deny")
    return (
        f"Policy verdict log: flow {event['flow']} local EP ID {event['endpoint']}, remote ID {remote}, "
        f"dst port {event['destination_port']}, proto {_number(event['protocol'])}, "
        f"ingress {str(ingress).lower()}, action {action}, auth: disabled, match {event['match']}, {_packet(event)}"
    )


def _number(protocol: str) -> str:
    return next((str(number) for number, name in PROTOCOLS.items() if name == protocol), protocol)


def _identities(event: Mapping[str, Any]) -> str:
    return f"identity {event['source_identity']}->{event['destination_identity']}"


def _point(event: Mapping[str, Any]) -> str:
    towards, _, where = event["observation"].partition("-")
    arrow = "<-" if towards == "from" else "->"
    return f"{arrow} {where} {event['endpoint']}" if where == "endpoint" else f"{arrow} {where}"


def _packet(event: Mapping[str, Any]) -> str:
    """`src -> dst proto flags`; ports where the protocol has them."""
    ports = event["protocol"] in ("tcp", "udp", "sctp")
    source, destination = (
        _endpoint(event[side], event[f"{side}_port"]) if ports else event[side] for side in ("source", "destination")
    )
    return f"{source} -> {destination} {event['protocol']} {event['flags']}".rstrip()


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
