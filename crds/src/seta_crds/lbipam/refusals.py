"""Why a Service does not get an address: which pools were looked at, and why each does not fit. Used by allocation.py.

The first words are those that the field's users know; what follows the colon says what to change.
"""

from collections.abc import Collection, Mapping

from seta_crds.lbipam.addresses import Address
from seta_crds.lbipam.layout import Layout
from seta_crds.lbipam.pools import Pool
from seta_crds.lbipam.requests import Key, Problem, Request

Selected = Mapping[str, Collection[Key]]  # pool -> services that its selector matches
SHOWN = 8  # pools in one message
NO_POOL = "There are no enabled CiliumLoadBalancerIPPools that match this service"


def of_named(
    layout: Layout, selected: Selected, request: Request, address: Address, obstacle: tuple[Key, str] | None
) -> Problem | None:
    """Of an address that is asked for by name; None: it can be had. `obstacle`: who has it, and why not to share."""
    pools = layout.at(address)
    if not pools:
        return Problem("no_pool", f"No pool exists with a CIDR containing '{address.text}'")
    serving = [pool for pool in pools if request.key in selected[pool.name]]
    if not serving:
        wants = "; ".join(f'"{pool.name}" {_wants(pool)}' for pool in pools)
        message = f"The pool with the CIDR containing '{address.text}', doesn't select this service: {wants}"
        return Problem("pool_selector_mismatch", message)
    if obstacle is not None:
        (namespace, name), why = obstacle
        holder = f"'{address.text}' is allocated to {namespace}/{name} already"
        if not request.sharing.key:
            return Problem("already_allocated", f"{holder}; give both a sharing key to share it")
        return Problem("already_allocated_incompatible_service", f"{holder}, which is incompatible. Reason: {why}")
    if any(layout.may_give(pool) and pool.gives(address) for pool in serving):
        return None
    closed = "; ".join(f'"{pool.name}" {_closed(layout, pool) or "keeps first and last back"}' for pool in serving)
    return Problem("no_pool", f"No pool that contains '{address.text}' gives it: {closed}")


def of_any(layout: Layout, selected: Selected, request: Request, family: int) -> Problem:
    """Of any address of a family."""
    full: list[str] = []  # a sentence each, of pools that would give one
    others: list[str] = []
    rest: list[str] = []  # of pools that do not select the service: least helpful where there are many
    for pool in layout.pools.values():
        if request.key not in selected[pool.name]:
            rest.append(f'"{pool.name}" {_wants(pool)}')
        elif closed := _closed(layout, pool):
            others.append(f'"{pool.name}" {closed}')
        elif not any(block.family == family for block in pool.blocks):
            others.append(f'"{pool.name}" has no IPv{family} addresses')
        else:
            number = _given(pool, family)
            full.append(f'"{pool.name}" has given all its {number} IPv{family} addresses')
    looked_at = [*full, *others, *rest]
    told = "; ".join(looked_at[:SHOWN]) + (f"; and {len(looked_at) - SHOWN} more" if len(looked_at) > SHOWN else "")
    if full:
        return Problem("out_of_ips", f"No IPv{family} address is left in the pools that match this service: {told}")
    for_family = f" for IPv{family}" if len(request.families) > 1 or others else ""
    return Problem("no_pool", f"{NO_POOL}{for_family}: {told}" if told else NO_POOL)


def _closed(layout: Layout, pool: Pool) -> str:
    if pool.disabled:
        return "is disabled"
    return "is in conflict with another pool or itself" if pool.name in layout.conflicts else ""


def _wants(pool: Pool) -> str:
    return f"wants {pool.wants}" if pool.selector is not None else "has a selector that cannot be read"


def _given(pool: Pool, family: int) -> int:
    return sum(max(0, b.gives_last - b.gives_first + 1) for b in pool.blocks if b.family == family)
