"""NodeAnnouncements → row: what this node is to answer for on its network. Called by the reflector; pure.

One service that cannot be read is left out, and costs the others nothing.
"""

import ipaddress
from typing import Any

import structlog

from seta_agent.tables import Announcement, NodeAnnouncements

log = structlog.get_logger()


def node_announcements(item: dict[str, Any]) -> NodeAnnouncements:
    metadata = item["metadata"]
    found = []
    for service in (item.get("spec") or {}).get("services") or ():
        try:
            found.append(_announcement(service))
        except (KeyError, TypeError, ValueError) as error:
            log.warning("announcement_malformed", service=str(service), error=f"{type(error).__name__}: {error}")
    return NodeAnnouncements(metadata["uid"], int(metadata["generation"]), tuple(found))


def _announcement(service: dict[str, Any]) -> Announcement:
    return Announcement(
        namespace=service["namespace"],
        name=service["name"],
        addresses=tuple(ipaddress.ip_address(address) for address in service.get("addresses") or ()),
        interfaces=tuple(map(str, service.get("interfaces") or ())),
    )
