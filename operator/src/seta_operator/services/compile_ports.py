"""The compiler's part about ports: one item of toPorts. Pure; used by compile_traffic.

Port 0, or none, is every port of its protocol; ANY is every protocol that has ports, so never ICMP.
"""

from collections.abc import Sequence

from seta_crds.policy_ports import PortProtocol
from seta_operator.services.problems import Problem
from seta_operator.store.facts import JSON

TRANSPORTS = ("TCP", "UDP", "SCTP")
LAST_PORT = 65535


def ports(wanted: Sequence[PortProtocol] | None, path: str) -> tuple[list[JSON], list[Problem]]:
    """The ports of one item of toPorts, in order and each once."""
    if not wanted:
        return [], [Problem(path, "names no port: name some, or leave toPorts out")]
    found: list[JSON] = []
    problems: list[Problem] = []
    for n, one in enumerate(wanted):
        some, wrong = _port(one)
        if wrong:
            problems.append(Problem(f"{path}[{n}]", wrong))
        found += [port for port in some if port not in found]
    return found, problems


def _port(wanted: PortProtocol) -> tuple[list[JSON], str]:
    """What one port stands for, or what is wrong with it."""
    protocol = wanted.protocol or "ANY"
    if protocol not in (*TRANSPORTS, "ANY"):
        return [], f"wants protocol {protocol}, which is not supported yet"
    text = wanted.port or "0"
    if not (text.isascii() and text.isdecimal()):
        return [{"protocol": protocol, "name": text.lower()}], ""  # an endPort says nothing beside a name
    port, last = int(text), wanted.end_port or 0
    if port > LAST_PORT:
        return [], f"wants port {text}: the last one is {LAST_PORT}"
    if port == 0 and last:
        return [], "has an endPort without a port to start from"
    if port == 0:
        return [{"protocol": one} for one in (TRANSPORTS if protocol == "ANY" else (protocol,))], ""
    if last and last < port:
        return [], f"ends at port {last}, before it starts at {port}"
    return [{"protocol": protocol, "port": port, **({"endPort": last} if last > port else {})}], ""
