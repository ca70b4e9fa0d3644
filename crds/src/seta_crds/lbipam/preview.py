"""Which Services would gain, lose or keep which address if pools were edited. Used by `seta lb preview`."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from seta_crds.lbipam.addresses import Address
from seta_crds.lbipam.allocation import Allocation, allocation
from seta_crds.lbipam.pools import Pool
from seta_crds.lbipam.requests import Key, Request


class Change(NamedTuple):
    """One Service, before and after."""

    service: Key
    what: str  # gains, loses, moves, keeps, waits
    now: tuple[str, ...]
    then: tuple[str, ...]
    why: str


def preview(
    pools: Iterable[Pool], requests: Iterable[Request], edited: Iterable[Pool], removed: Iterable[str]
) -> tuple[list[Change], dict[str, str]]:
    """What becomes of each Service, by name; and pool -> why it would be in conflict.

    Starts from what the operator holds (what the Services show) and edits all pools at once.
    """
    known: Mapping[Key, Request] = {request.key: request for request in requests}
    state = allocation(pools, known.values())
    before = dict(state.held.of)
    for pool in edited:
        state.put_pool(pool)
    for name in removed:
        state.drop_pool(name)
    state.settle()
    changes = [_change(state, known[key], before.get(key, ())) for key in sorted(known)]
    return changes, dict(state.layout.conflicts)


def _change(state: Allocation, request: Request, before: tuple[Address, ...]) -> Change:
    after = state.held.of.get(request.key, ())
    lost = [address for address in before if address not in after]
    gained = [address for address in after if address not in before]
    match (bool(lost), bool(gained), bool(after)):
        case (True, True, _):
            what = "moves"
        case (True, False, _):
            what = "loses"
        case (False, True, _):
            what = "gains"
        case (_, _, True):
            what = "keeps"
        case _:
            what = "waits"
    told = [f"{address.text} {_lost(state, request, address)}" for address in lost]
    told += [f"{address.text} is from {_from(state, request, address)}" for address in gained]
    if what == "keeps":
        told += [f"still in {_from(state, request, address)}" for address in after]
    told += [problem.message for problem in state.problems(request.key)]
    now, then = (tuple(address.text for address in some) for some in (before, after))
    return Change(request.key, what, now, then, "; ".join(dict.fromkeys(told)))


def _lost(state: Allocation, request: Request, address: Address) -> str:
    there = state.layout.at(address)
    if not there:
        return "is in no pool any more"
    if not any(request.key in state.selection.of_pool[pool.name] for pool in there):
        return f"is in {_names(there)} only, which does not select it"
    return "is given up for what it asks for by name"


def _from(state: Allocation, request: Request, address: Address) -> str:
    return _names(pool for pool in state.layout.at(address) if request.key in state.selection.of_pool[pool.name])


def _names(pools: Iterable[Pool]) -> str:
    return " and ".join(f'"{pool.name}"' for pool in pools)
