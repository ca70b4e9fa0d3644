"""`seta lb preview`: which Services would gain, lose or keep which address, before pools are applied.

Asks the API server as the user (kubectl), and decides as the operator does: by seta_crds.lbipam, which both call.
Changes nothing. Called by `main`; its imports are for it alone.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from seta_agent.cli import cluster, table
from seta_agent.cli.errors import CliError
from seta_agent.cli.table import Row
from seta_crds import names
from seta_crds.ippool import CiliumLoadBalancerIPPool
from seta_crds.lbipam import pools, preview, requests
from seta_crds.lbipam.pools import Pool
from seta_crds.lbipam.preview import Change

Item = dict[str, Any]
KIND = names.LOAD_BALANCER_IP_POOL
NOT_YET = "9999"  # created when it is applied: newer than all there are
ORDER = ("loses", "moves", "gains", "waits", "keeps")  # what to look at first


def answer(args: argparse.Namespace) -> tuple[Item, int]:
    """What would happen; exit code 1 where a Service loses an address, by moving or altogether. Raises CliError."""
    if not args.filename and not args.delete:
        raise CliError("say what would change: -f FILE, --delete NAME, or both")
    there = {one["metadata"]["name"]: one for one in cluster.objects(KIND.crd_name)}
    edited = [_pool(body, where, there) for where in args.filename for body in _documents(where)]
    if missing := sorted(set(args.delete) - there.keys()):
        raise CliError(f"there is no pool {missing[0]} to delete; there are {', '.join(sorted(there)) or 'none'}")
    if args.filename and not edited:
        raise CliError(f"no {KIND.kind} in {', '.join(args.filename)}")
    now = [pools.pool(name, _created(one), one.get("spec") or {}) for name, one in there.items()]
    changes, conflicts = preview.preview(now, _requests(), edited, args.delete)
    found = {"services": [_as_item(change) for change in _sorted(changes)], "conflicts": conflicts}
    return found, int(any(change.what in {"loses", "moves"} for change in changes))


def rows(found: Item) -> list[Row]:
    """The table, headings first."""
    told: list[Row] = [["SERVICE", "NOW", "THEN", "WHY"]]
    for one in found["services"]:
        now, then = (", ".join(one[when]) or "-" for when in ("now", "then"))
        told.append([f"{one['namespace']}/{one['name']}", now, then, f"{one['change']}: {one['why']}"])
    return told


def text(found: Item, *, headers: bool) -> str:
    """What people read: the table, then what pools say, then the sum."""
    if not headers:
        return table.render(rows(found)[1:])
    count = Counter(one["change"] for one in found["services"])
    lines = [table.render(rows(found)), ""]
    lines += [f'"{name}" would give nothing: {message}' for name, message in found["conflicts"].items()]
    lines.append(", ".join(f"{count[what]} {what}" for what in ORDER if count[what]) or "No Service is concerned.")
    return "\n".join(lines)


def _requests() -> Iterator[requests.Request]:
    default = _default_ipam()
    for body in cluster.objects("services", "--all-namespaces"):
        service = requests.facts_of(body)
        if requests.responsible(service, default):
            yield requests.request((body["metadata"]["namespace"], body["metadata"]["name"]), service)


def _default_ipam() -> str:
    """Who serves Services without a loadBalancerClass, as the chart's values say."""
    try:
        found = cluster.objects("configmap", "-n", cluster.NAMESPACE, "--field-selector=metadata.name=seta-config")
    except CliError as error:
        print(f"seta: defaultLBServiceIPAM is taken to be lbipam: {error}", file=sys.stderr)
        return "lbipam"
    return next((one["data"].get("default-lb-service-ipam", "lbipam") for one in found), "lbipam")


def _documents(where: str) -> Iterator[Item]:
    """The pools in a file; lists are looked into, other kinds are not ours. Raises CliError."""
    try:
        content = sys.stdin.read() if where == "-" else Path(where).read_text(encoding="utf-8")
        bodies = [body for body in yaml.safe_load_all(content) if isinstance(body, dict)]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CliError(f"{where} cannot be read: {error}") from error
    for body in bodies:
        for one in body.get("items") or () if body.get("kind") == "List" else (body,):
            if one.get("kind") == KIND.kind:
                yield one


def _pool(body: Item, where: str, there: dict[str, Item]) -> Pool:
    """Raises CliError where the API server would refuse it, or the operator not understand it."""
    name = (body.get("metadata") or {}).get("name") or ""
    if not name:
        raise CliError(f"{where}: a pool has no name")
    try:
        CiliumLoadBalancerIPPool.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CliError(f'{where}: pool "{name}": {place}: {first["msg"]}') from error
    found = pools.pool(name, _created(there[name]) if name in there else NOT_YET, body["spec"])
    if found.wrong:
        raise CliError(f'{where}: pool "{name}": {found.wrong[0]}')
    return found


def _created(body: Item) -> str:
    return body["metadata"].get("creationTimestamp") or NOT_YET


def _sorted(changes: list[Change]) -> list[Change]:
    return sorted(changes, key=lambda change: (ORDER.index(change.what), change.service))


def _as_item(change: Change) -> Item:
    namespace, name = change.service
    now, then = list(change.now), list(change.then)
    return {"namespace": namespace, "name": name, "change": change.what, "now": now, "then": then, "why": change.why}
