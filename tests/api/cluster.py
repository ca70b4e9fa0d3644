"""What the operator wrote, in a form that people can write down: names and numbers replaced by what they stand for.

A selector set's name becomes its selector's text, an identity's number its namespace and labels, a slice's number
its place; uids and the like are left out by comparing only what the expectation says. Used by the cases.
"""

from typing import Any

from seta_crds import names
from seta_crds.labels import RESERVED_IDENTITIES
from tests.api.client import KEPT, Client

JSON = dict[str, Any]
WRITTEN_BY_USERS = (
    names.POD,
    names.NETWORK_POLICY,
    names.CLUSTERWIDE_NETWORK_POLICY,
    names.K8S_NETWORK_POLICY,
    names.CIDR_GROUP,
    names.LOAD_BALANCER_IP_POOL,
    names.L2_POLICY,
    names.NODE_POLICY_STATUS,
    names.SERVICE,
    names.ENDPOINT_SLICE,
    names.ENDPOINT,
    names.NODE,
)
WRITTEN_BY_OPERATOR = (
    names.SELECTOR_SET,
    names.IDENTITY,
    names.COMPILED_POLICY,
    names.CILIUM_NODE,
    names.CILIUM_ENDPOINT_SLICE,
    names.SERVICE_TABLE,
    names.NODE_ANNOUNCEMENTS,
)
JUDGED = (names.NETWORK_POLICY, names.CLUSTERWIDE_NETWORK_POLICY)
_DERIVED = ("k8s:io.cilium.k8s.policy", "k8s:io.cilium.k8s.namespace.labels.kubernetes.io", "k8s:io.kubernetes.pod")


def seen(client: Client) -> dict[str, dict[str, JSON]]:
    """Kind -> name -> object, as the expectations write them."""
    found = {kind.kind: client.list(kind) for kind in (*WRITTEN_BY_OPERATOR, *JUDGED)}
    selector = {one["metadata"]["name"]: one["spec"]["selector"] for one in found["SelectorSet"]}
    people = {number: f"reserved:{name}" for number, name in RESERVED_IDENTITIES.items()}
    people |= {int(one["metadata"]["name"]): described(one) for one in found["CiliumIdentity"]}
    for one in found["SelectorSet"]:
        one["metadata"]["name"] = one["spec"]["selector"]
        one["spec"]["identities"] = sorted(people.get(n, f"unknown {n}") for n in one["spec"]["identities"])
    for one in found["CiliumIdentity"]:
        one["metadata"]["name"] = people[int(one["metadata"]["name"])]
        listed = one["metadata"].get("annotations", {}).pop(names.SELECTOR_SETS_ANNOTATION, "")
        one["selector-sets"] = sorted(selector.get(name, name) for name in listed.split(",") if name)
    for one in found["CompiledPolicy"]:
        for rule in one["spec"]["rules"]:
            if "subject" in rule:
                rule["subject"] = selector.get(rule["subject"], rule["subject"])
            for direction in ("ingress", "egress"):
                for entry in rule.get(direction, {}).get("entries", ()):
                    if "peers" in entry:
                        entry["peers"] = sorted(selector.get(name, name) for name in entry["peers"])
    for one in found["CiliumNode"]:
        annotations = one["metadata"].get("annotations", {})
        if number := annotations.get(names.NODE_IDENTITY_ANNOTATION):
            annotations[names.NODE_IDENTITY_ANNOTATION] = people.get(int(number), f"unknown {number}")
    for one in found["ServiceTable"]:
        numbers = [front.pop("id") for port in one["spec"]["ports"] for front in port["frontends"]]
        assert len(numbers) == len(set(numbers)), "one number, one frontend"
    _number(found["CiliumEndpointSlice"])
    return {kind: {_key(one): one for one in every if not is_kept(one)} for kind, every in found.items()}


def _number(slices: list[JSON]) -> None:
    """Count slices in each namespace: their names go on counting over the operator's life."""
    count: dict[str, int] = {}
    for one in sorted(slices, key=lambda one: int(_key(one).rpartition("-")[2])):
        namespace = one["namespace"]
        count[namespace] = count.get(namespace, 0) + 1
        one["metadata"]["name"] = f"ces-{namespace}-{count[namespace]}"


def leftovers(client: Client) -> list[str]:
    """What the operator wrote and has not taken back."""
    return [
        f"{kind.kind} {one['metadata']['name']}"
        for kind in WRITTEN_BY_OPERATOR
        for one in client.list(kind)
        if not is_kept(one)
    ]


def is_kept(one: JSON) -> bool:
    """Whether it is always there: the API server's own objects, and its address, which is no node's here."""
    key = one["metadata"].get("namespace", ""), one["metadata"]["name"]
    return key in KEPT or "reserved:kube-apiserver" in one.get("security-labels", ())


def described(identity: JSON) -> str:
    """`namespace: labels`, without those that every pod has; a service account other than default in brackets."""
    labels = identity["security-labels"]
    if "reserved:kube-apiserver" in labels and "reserved:world" in labels:
        return "the API server"
    for key in labels:
        if key.startswith("cidr:"):
            return str(key)
    if names.NODE_ANNOTATION in identity["metadata"].get("annotations", {}):
        return f"node {identity['metadata']['annotations'][names.NODE_ANNOTATION]}"
    if "k8s:io.kubernetes.pod.namespace" not in labels:
        return f"foreign: {labels}"
    own = [f"{key.removeprefix('k8s:')}={labels[key]}" for key in sorted(labels) if not key.startswith(_DERIVED)]
    account = labels.get("k8s:io.cilium.k8s.policy.serviceaccount", "default")
    return f"{labels['k8s:io.kubernetes.pod.namespace']}: {','.join(own)}" + (
        f" ({account})" if account != "default" else ""
    )


def differences(expected: Any, actual: Any, path: str = "") -> list[str]:
    """Where the actual value is not what is expected; only the expected keys of a mapping are compared."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        found: list[str] = []
        for key, value in expected.items():
            if value == "ABSENT":
                found += [f"{path}.{key}: is there"] if key in actual else []
            elif key not in actual:
                found.append(f"{path}.{key}: missing")
            else:
                found += differences(value, actual[key], f"{path}.{key}")
        return found
    if isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            return [f"{path}: {len(actual)} items instead of {len(expected)}: {actual}"]
        return [line for n, value in enumerate(expected) for line in differences(value, actual[n], f"{path}[{n}]")]
    return [] if expected == actual else [f"{path}: {actual!r} instead of {expected!r}"]


def _key(one: JSON) -> str:
    return str(one["metadata"]["name"])
