"""The compiler's part about what: toPorts. Pure; used by compiler.py.

Every toPorts entry of a rule adds its ports. Port 0 (or none) is every port of its protocol; of ANY it is
everything, ICMP too.
"""

from collections.abc import Sequence

from seta_crds.policy_ports import DenyPortRule, PortProtocol
from seta_operator.services.problems import Problem
from seta_operator.store.facts import JSON

PROTOCOLS = ("TCP", "UDP", "ANY")


def ports(rules: Sequence[DenyPortRule] | None, path: str) -> tuple[list[JSON] | None, list[Problem]]:
    """Ports of a rule: None = all of them."""
    found: list[JSON] = []
    problems: list[Problem] = []
    everything = not rules
    for n, rule in enumerate(rules or []):
        if not rule.ports:
            problems.append(Problem(f"{path}[{n}].ports", "names no port: name some, or leave toPorts out"))
        for m, wanted in enumerate(rule.ports or []):
            port, wrong = _port(wanted)
            if wrong:
                problems.append(Problem(f"{path}[{n}].ports[{m}]", wrong))
            elif port == {"protocol": "ANY"}:
                everything = True
            elif port not in found:
                found.append(port)
    return (None if everything else found), problems


def _port(wanted: PortProtocol) -> tuple[JSON, str]:
    """One port, or what is wrong with it."""
    protocol = wanted.protocol or "ANY"
    if protocol not in PROTOCOLS:
        return {}, f"wants protocol {protocol}, which is not supported yet"
    text = wanted.port or "0"
    if not text.isdecimal():
        if wanted.end_port:
            return {}, "has an endPort after a port name: only numbers make a range"
        return {"protocol": protocol, "name": text}, ""
    port, last = int(text), wanted.end_port or 0
    if port > 65535:
        return {}, f"wants port {port}: the last one is 65535"
    if port == 0:
        return ({"protocol": protocol}, "") if not last else ({}, "has an endPort without a port to start from")
    if last and last < port:
        return {}, f"ends at port {last}, before it starts at {port}"
    return {"protocol": protocol, "port": port, **({"endPort": last} if last > port else {})}, ""
