"""What an account may ask of the API server, and what it has asked: roles against the audit log."""

import json
from collections.abc import Iterable
from typing import Any

Right = tuple[str, str, str]  # verb, group, resource with subresource
CREATED, FORBIDDEN = 201, 403


def granted(roles: Iterable[dict[str, Any]]) -> set[Right]:
    """By the rules of Roles and ClusterRoles."""
    return {
        (verb, group, resource)
        for role in roles
        for rule in role["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def used(log: str, user: str) -> tuple[set[Right], set[Right]]:
    """What a user asked for, and what of it was forbidden. `log`: an event per line; the last may be half written.

    A server-side apply that makes an object is logged as patch, and needs the right to create it, too.
    """
    asked, forbidden = set(), set()
    for line in log[: log.rfind("\n") + 1].splitlines():
        event = json.loads(line)
        place = event.get("objectRef")
        if event["user"]["username"] != user or place is None or "resource" not in place:
            continue  # somebody else's, or discovery
        resource = "/".join(part for part in (place["resource"], place.get("subresource")) if part)
        right = (event["verb"], place.get("apiGroup", ""), resource)
        code = event.get("responseStatus", {}).get("code")
        asked.add(right)
        if code == CREATED:
            asked.add(("create", *right[1:]))
        if code == FORBIDDEN:
            forbidden.add(right)
    return asked, forbidden
