"""Policies with something wrong in them: valid ones of the generator, changed at random places. Used by test_fuzz.

Most junk is refused by its first field. What is right but for one place comes further.
"""

import copy
import random
import typing

from tests.policy.reference.flows import Manifest

JUNK: tuple[typing.Any, ...] = (
    None, True, False, 0, -1, 255, 256, 65535, 65536, 2**63, 10**40, 0.5,
    "", " ", "0", "-1", "80", "65536", "a b", "*", "\u00fc", "\n", "a" * 400, "all", "cluster-mesh",
    "10.0.0.0/8", "10.0.0.1/33", "0.0.0.0/0", "::/0", "::ffff:10.0.0.1/96", "fe80::1%eth0/64", "10.0.0.0/08",
    "k8s:app", "reserved:host", "any:", ":",
    [], {}, [[]], [{}], [None], {"": ""},
    {"matchLabels": {"a": "b"}}, {"matchExpressions": [{"key": "a", "operator": "In"}]},
    {"k8sService": {}}, {"cidr": "10.0.0.0/8", "except": ["::/0"]}, {"ports": [{"port": "0", "endPort": 1}]},
    {"fields": [{"type": "Ping"}]}, {"rules": {"http": [{}]}},
)  # fmt: skip
NAMES = (
    "fromEndpoints", "toEndpoints", "fromCIDR", "toCIDRSet", "fromEntities", "toServices", "toNodes", "toFQDNs",
    "fromGroups", "fromRequires", "toPorts", "icmps", "authentication", "ingress", "egressDeny", "endpointSelector",
    "nodeSelector", "enableDefaultDeny", "log", "podSelector", "ipBlock", "from", "policyTypes", "unknown",
)  # fmt: skip
Place = tuple[typing.Any, typing.Any]  # a list or dict, and the index or key in it


def mutated(policy: Manifest, chance: random.Random, most: int = 3) -> Manifest:
    """Another policy, with up to `most` places changed below spec and specs."""
    result = copy.deepcopy(policy)
    for _ in range(chance.randint(1, most)):
        if places := list(_places_of(result)):
            _change(*chance.choice(places), chance)
    return result


def _places_of(policy: Manifest) -> typing.Iterator[Place]:
    for key in ("spec", "specs"):
        if key in policy:
            yield policy, key
            yield from _places(policy[key])


def _places(value: typing.Any) -> typing.Iterator[Place]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield value, key
        yield from _places(each)


def _change(holder: typing.Any, key: typing.Any, chance: random.Random) -> None:
    match chance.choice(("junk", "junk", "gone", "twice", "wrapped", "named")):
        case "junk":
            holder[key] = copy.deepcopy(chance.choice(JUNK))
        case "gone":
            del holder[key]
        case "twice" if isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        case "wrapped":
            holder[key] = [holder[key]]
        case _ if isinstance(holder, dict) and key not in ("spec", "specs"):
            holder[chance.choice(NAMES)] = copy.deepcopy(holder[key])
