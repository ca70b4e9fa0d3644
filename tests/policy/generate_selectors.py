"""Random selectors: of endpoints in every scope, of nodes, namespaces, services and groups. Part of `generate`."""

import collections.abc

from tests.policy import vocabulary as words
from tests.policy.picking import Pick
from tests.policy.reference import identity
from tests.policy.reference.flows import Manifest

Keys = tuple[tuple[str, tuple[str, ...]], ...]  # (key, values)

OF_PODS: Keys = tuple(words.POD_LABELS.items())
# What a Cilium selector may use besides a pod's own labels.
MORE: Keys = (
    ("k8s:app", words.POD_LABELS["app"]),
    ("any:role", words.POD_LABELS["role"]),
    (identity.SERVICE_ACCOUNT, words.SERVICE_ACCOUNTS),
    (words.INVISIBLE[0], (words.INVISIBLE[1],)),
)
NAMESPACES: Keys = (
    (identity.NAMESPACE, words.NAMESPACES),
    (f"k8s:{identity.NAMESPACE}", words.NAMESPACES),
    (f"{identity.NAMESPACE_LABELS}.team", words.NAMESPACE_LABELS["team"]),
)
RESERVED: Keys = (("reserved:remote-node", ("",)), ("reserved:world", ("",)), ("reserved:host", ("",)))


def subject(pick: Pick, *, clusterwide: bool) -> Manifest:
    return _selector(pick, OF_PODS + OF_PODS + MORE + (NAMESPACES if clusterwide else ()), empty=2)


def peer(pick: Pick) -> Manifest:
    return _selector(pick, OF_PODS + OF_PODS + MORE + NAMESPACES + RESERVED, empty=3)


def node(pick: Pick) -> Manifest:
    return plain(pick, words.NODE_LABELS)


def plain(pick: Pick, vocabulary: collections.abc.Mapping[str, tuple[str, ...]]) -> Manifest:
    return _selector(pick, tuple(vocabulary.items()), empty=3)


def _selector(pick: Pick, keys: Keys, *, empty: int) -> Manifest:
    """empty: once in so many times it is {}."""
    if pick.chance(empty):
        return {}
    found: Manifest = {}
    form = pick.one(("labels", "labels", "expressions", "both"))
    if form != "expressions":
        key, values = pick.one(keys)
        found["matchLabels"] = {key: pick.one(values)}
    if form != "labels":
        found["matchExpressions"] = pick.several(_expression, keys)
    return found


def _expression(pick: Pick, keys: Keys) -> Manifest:
    key, values = pick.one(keys)
    operator = pick.one(("In", "NotIn", "Exists", "DoesNotExist"))
    if operator in ("In", "NotIn"):
        return {"key": key, "operator": operator, "values": pick.some(values, least=1)}
    return {"key": key, "operator": operator}
