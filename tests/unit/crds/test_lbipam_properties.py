"""After any sequence of edits: nobody holds what another has, nobody has moved without need, a restart changes nothing.

Services and pools are many for few addresses, so that they are in each other's way.
"""

import dataclasses
import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from seta_crds.lbipam import pools, preview, requests
from seta_crds.lbipam.addresses import Address
from seta_crds.lbipam.allocation import Allocation, allocation
from seta_crds.lbipam.pools import Pool
from seta_crds.lbipam.requests import Key, Request

JSON = dict[str, Any]
ADDRESSES = [f"10.0.0.{n}" for n in range(12)] + [f"fd00::{n:x}" for n in range(6)]
BLOCKS = st.one_of(
    st.builds(
        lambda n, more: {"start": ADDRESSES[n], "stop": f"10.0.0.{min(n + more, 11)}"},
        st.integers(0, 11),
        st.integers(0, 5),
    ),
    st.sampled_from(
        [{"cidr": "10.0.0.0/30"}, {"cidr": "10.0.0.4/31"}, {"cidr": "10.0.0.8/29"}, {"cidr": "fd00::/126"}, {}]
    ),
)
SELECTORS = st.sampled_from(
    [
        {},
        {"matchLabels": {"a": "b"}},
        {"matchLabels": {"io.kubernetes.service.namespace": "n1"}},
        {"matchLabels": {"a:": "b"}},
    ]
)
POOLS = st.fixed_dictionaries(
    {"blocks": st.lists(BLOCKS, max_size=3), "serviceSelector": SELECTORS},
    optional={"disabled": st.booleans(), "allowFirstLastIPs": st.sampled_from(["Yes", "No"])},
)


def mostly(usual: st.SearchStrategy[Any], other: st.SearchStrategy[Any], times: int) -> st.SearchStrategy[Any]:
    """The usual so many times as often as the other: one_of takes a strategy once, however often it is named."""
    return st.integers(0, times).flatmap(lambda n: other if n == times else usual)


ASKED = st.sampled_from([*ADDRESSES[:4], *ADDRESSES[-2:], "ten"])
SERVICES = st.fixed_dictionaries(
    {
        "labels": st.sampled_from([{"a": "b"}, {}]),
        "asks": mostly(st.just([]), st.lists(ASKED, max_size=2), 2),
        "families": st.sampled_from([["IPv4"], ["IPv6"], ["IPv4", "IPv6"]]),
        "sharing": st.sampled_from(["x", "x", "", "y"]),
        "across": st.sampled_from(["*", "", "n0"]),
        "port": st.integers(1, 3),
        "local": st.sampled_from([False, False, True]),
    }
)


POOL_EDITS = st.tuples(st.just("pool"), st.integers(0, 3), mostly(POOLS, st.none(), 3))
EDITS = mostly(st.tuples(st.just("service"), st.integers(0, 7), mostly(SERVICES, st.none(), 4)), POOL_EDITS, 8)
FIRST = [  # or most Services would wait for pools that the edits do not happen to make
    ("pool", 0, {"blocks": [{"start": "10.0.0.0", "stop": "10.0.0.7"}]}),
    ("pool", 1, {"blocks": [{"cidr": "fd00::/126"}]}),
]
Held = dict[Key, tuple[Address, ...]]


def request(number: int, made: JSON, shown: tuple[Address, ...]) -> Request:
    key = (f"n{number % 2}", f"s{number}")
    meta = {"labels": made["labels"], "creationTimestamp": f"2026-01-01T00:00:0{7 - number}Z"}
    meta["annotations"] = {
        requests.IPS[0]: ",".join(made["asks"]),
        requests.SHARING_KEY[0]: made["sharing"],
        requests.SHARING_NAMESPACES[0]: made["across"],
    }
    spec = {
        "type": "LoadBalancer",
        "ipFamilies": made["families"],
        "ports": [{"port": made["port"]}],
        "externalTrafficPolicy": "Local" if made["local"] else "Cluster",
        "selector": {"app": "x"},
    }
    found = requests.request(key, requests.facts_of({"metadata": meta, "spec": spec}))
    return dataclasses.replace(found, shown=shown)


class Model:
    """The allocation under test, and all it was told."""

    def __init__(self) -> None:
        self.state = Allocation()
        self.pools: dict[str, Pool] = {}
        self.requests: dict[Key, Request] = {}

    def edit(self, what: str, number: int, made: JSON | None) -> set[Key]:
        """Returns the service that was edited."""
        name, key = f"p{number}", (f"n{number % 2}", f"s{number}")
        if what == "pool" and made is None:
            self.pools.pop(name, None)
            self.state.drop_pool(name)
        elif what == "pool" and made is not None:
            self.pools[name] = pools.pool(name, f"2026-01-01T00:00:0{number}Z", made)
            self.state.put_pool(self.pools[name])
        elif made is None:
            self.requests.pop(key, None)
            self.state.drop(key)
        else:
            self.requests[key] = request(number, made, self.state.held.of.get(key, ()))
            self.state.put(self.requests[key])
        self.state.settle()
        for one in list(self.requests.values()):  # what is decided is written, and seen
            shown = dataclasses.replace(one, shown=self.state.held.of.get(one.key, ()))
            self.requests[one.key] = shown
            self.state.put(shown)
        self.state.settle()
        return {key} if what == "service" else set()

    def serving(self, one: Request, address: Address) -> list[Pool]:
        """Whom an unreadable selector means, nobody knows."""
        having = [pool for pool in self.pools.values() if pool.has(address)]
        return [pool for pool in having if pool.selector is None or pool.selects(one.labels)]


@settings(max_examples=200, deadline=None)
@given(st.lists(EDITS, min_size=12, max_size=30))  # hypothesis keeps near the least
def test_after_any_edits(edits: list[tuple[str, int, JSON | None]]) -> None:
    model = Model()
    for edit in [*FIRST, *edits]:
        before = dict(model.state.held.of)
        edited = model.edit(*edit)
        held = dict(model.state.held.of)
        check_nothing_is_held_twice(model, held)
        check_nobody_moved_without_need(model, before, held, edited)
        check_nobody_waits_in_vain(model, held)
        check_numbers(model, held)
        assert allocation(model.pools.values(), model.requests.values()).held.of == held, "a restart changes something"
        changes, _ = preview.preview(model.pools.values(), model.requests.values(), model.pools.values(), ())
        assert {change.what for change in changes} <= {"keeps", "waits"}, "no edit, no change"


def check_nothing_is_held_twice(model: Model, held: Held) -> None:
    for one, other in itertools.combinations(held, 2):
        if set(held[one]) & set(held[other]):
            sharing = (model.requests[one].sharing, model.requests[other].sharing)
            assert not requests.obstacle(*sharing), (one, other)


def check_nobody_moved_without_need(model: Model, before: Held, held: Held, edited: set[Key]) -> None:
    for key, addresses in before.items():
        one = model.requests.get(key)
        for address in addresses:
            if one is None or address in held.get(key, ()):
                continue
            got = all(named in held.get(key, ()) for named in one.wanted if named.family == address.family)
            asks = any(named.family == address.family for named in one.wanted) and address not in one.wanted
            others = [other for other in before if other != key and address in held.get(other, ())]
            unfit = key in edited and any(requests.obstacle(one.sharing, model.requests[o].sharing) for o in others)
            assert not model.serving(one, address) or address.family not in one.families or (asks and got) or unfit, (
                f"{key} has lost {address.text}"
            )


def check_nobody_waits_in_vain(model: Model, held: Held) -> None:
    conflicts, taken = model.state.layout.conflicts, {address for each in held.values() for address in each}
    for key, one in model.requests.items():
        has = held.get(key, ())
        satisfied = not one.wrong and all(named in has for named in one.wanted)
        satisfied = satisfied and {address.family for address in has} >= set(one.families)
        assert satisfied == (not model.state.problems(key)), model.state.problems(key)
        givers = [
            p for p in model.pools.values() if p.selects(one.labels) and not p.disabled and p.name not in conflicts
        ]
        free = {a for a in _all(givers) if a not in taken and any(p.gives(a) for p in givers)}
        for named in one.wanted:
            assert named in has or named not in free, f"{key} could have {named.text}"
        for family in set(one.families) - {address.family for address in (*has, *one.wanted)}:
            assert one.wrong or not any(a.family == family for a in free), f"{key} could have an IPv{family} address"


def check_numbers(model: Model, held: Held) -> None:
    taken = {address for each in held.values() for address in each}
    for name, pool in model.pools.items():
        mine = _all([pool])
        gives = {address for address in mine if pool.gives(address)}
        assert model.state.layout.total[name] == len(gives)
        assert model.state.held.free[name] == len(gives - taken)
        assert model.state.held.used[name] == len(mine & taken)
        older = [other for other in model.pools.values() if other.rank < pool.rank]
        accepted = [other for other in older if other.name not in model.state.layout.conflicts]
        double = sum(block.last - block.first + 1 for block in pool.blocks) > len(mine)
        assert (name in model.state.layout.conflicts) == (double or bool(mine & _all(accepted)))


def _all(some: list[Pool]) -> set[Address]:
    return {Address(b.family, n) for pool in some for b in pool.blocks for n in range(b.first, b.last + 1)}
