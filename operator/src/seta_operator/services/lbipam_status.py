"""The status of Services that get their addresses from pools, and of pools. Pure; used by lbipam.py."""

import datetime as dt
from collections.abc import Sequence

from seta_crds import conditions
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
    told = merged(service.conditions, [condition])
    if shown == wanted and told == list(service.conditions):
        return None
    status: JSON = {"conditions": told}
    if shown != wanted:
        status["loadBalancer"] = {"ingress": [{"ip": text} for text in wanted] or None}
    return status


def merged(before: Sequence[JSON], ours: Sequence[verdicts.Condition]) -> list[JSON]:
    """All conditions, ours with their times."""
    now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return conditions.merged(
        before,
        [conditions.condition(before, one["type"], one["status"], one["reason"], one["message"], now) for one in ours],
    )
