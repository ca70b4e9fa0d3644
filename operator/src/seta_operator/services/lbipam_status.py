"""The status of Services that get their addresses from pools, and of pools. Pure; used by lbipam.py.

A merge patch replaces a list whole, so conditions of others are written back as they were seen.
"""

import datetime as dt
from collections.abc import Iterable, Sequence

from seta_crds.lbipam import verdicts
from seta_crds.lbipam.addresses import Address
from seta_operator.store import facts
from seta_operator.store.facts import JSON


def of_service(
    service: facts.Service, held: Sequence[Address] | None, condition: verdicts.Condition | None
) -> JSON | None:
    """The patch that makes a Service's status be so; None: it is. `held` None: it is not ours any more, or never was.

    Our condition is how a Service is known that was ours: only then is something taken out of it.
    """
    others = [one for one in service.conditions if one["type"] != verdicts.SATISFIED]
    if held is None or condition is None:
        if len(others) == len(service.conditions):
            return None
        return {"loadBalancer": {"ingress": None}, "conditions": others or None}
    wanted = [address.text for address in held]
    shown = [one.address for one in service.ingress]
    conditions = merged(service.conditions, [condition])
    if shown == wanted and conditions == list(service.conditions):
        return None
    status: JSON = {"conditions": conditions}
    if shown != wanted:
        status["loadBalancer"] = {"ingress": [{"ip": text} for text in wanted] or None}
    return status


def merged(before: Iterable[JSON], ours: Sequence[verdicts.Condition]) -> list[JSON]:
    """All conditions, ours in their places, or last; a transition time stays while the status does."""
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    wanted = {one["type"]: one for one in ours}
    found = [_since(one, wanted.pop(one["type"], None), now) for one in before]
    return [*found, *(_since(None, one, now) for one in wanted.values())]


def _since(held: JSON | None, wanted: verdicts.Condition | None, now: str) -> JSON:
    if wanted is None:
        return held or {}
    if held is None or held["status"] != wanted["status"]:
        return {**wanted, "lastTransitionTime": now}
    return {**wanted, "lastTransitionTime": held.get("lastTransitionTime", now)}
