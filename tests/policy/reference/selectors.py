"""Label selectors, and what each kind of policy adds to the ones that its user writes.

`matches` is Kubernetes' LabelSelector; the others say to which namespaces a selector reaches, which is where absent,
empty and clusterwide differ.
"""

import typing

from tests.policy.reference import identity

Selector = dict[str, typing.Any]  # matchLabels, matchExpressions
Labels = dict[str, str]  # source:key -> value


def matches(selector: Selector, labels: Labels) -> bool:
    """All of matchLabels and all of matchExpressions must hold; an empty selector matches everything
    [Kubernetes, labels and selectors]."""
    wanted = (selector.get("matchLabels") or {}).items()
    return all(value in _values(labels, key) for key, value in wanted) and all(
        _holds(expression, labels) for expression in selector.get("matchExpressions") or []
    )


def matches_plain(selector: Selector, labels: dict[str, str]) -> bool:
    """The same for objects whose labels have no source: nodes, services, CIDR groups."""
    return matches(selector, {f"k8s:{key}": value for key, value in labels.items()})


def _holds(expression: Selector, labels: Labels) -> bool:
    """NotIn and DoesNotExist hold where the key is absent too [Kubernetes, labels and selectors]."""
    found, values = _values(labels, expression["key"]), expression.get("values") or []
    return {
        "In": any(value in values for value in found),
        "NotIn": not any(value in values for value in found),
        "Exists": bool(found),
        "DoesNotExist": not found,
    }[expression["operator"]]


def _values(labels: Labels, key: str) -> list[str]:
    """A key with a source, "k8s:app" or "reserved:host", asks for a label of that source; without one, or with "any:",
    for a label of any source [Cilium, labels: "source:key=value"]."""
    source, name = _split(key)
    return [
        value for label, value in labels.items() if _split(label)[1] == name and source in ("any", _split(label)[0])
    ]


def _split(key: str) -> tuple[str, str]:
    source, colon, name = key.partition(":")
    return (source, name) if colon else ("any", key)


def _keys(selector: Selector) -> list[tuple[str, str]]:
    keys = [*(selector.get("matchLabels") or {}), *(each["key"] for each in selector.get("matchExpressions") or [])]
    return [_split(key) for key in keys]


def selects_subject(selector: Selector, labels: Labels, namespace: str) -> bool:
    """endpointSelector. In a CiliumNetworkPolicy it "always applies to pods in the namespace associated with the
    resource itself", also where the user names another one; in a clusterwide policy (namespace "") it selects pods of
    every namespace [Cilium, kubernetes: Namespaces, Clusterwide Policies]."""
    if not namespace:
        return matches(selector, labels)
    own = {f"k8s:{identity.NAMESPACE}", f"any:{identity.NAMESPACE}", identity.NAMESPACE}
    kept = {key: value for key, value in (selector.get("matchLabels") or {}).items() if key not in own}
    return labels.get(f"k8s:{identity.NAMESPACE}") == namespace and matches({**selector, "matchLabels": kept}, labels)


def selects_peer(selector: Selector, labels: Labels, namespace: str) -> bool:
    """One of fromEndpoints or toEndpoints.

    - naming a reserved label: taken as it is written, it may select what is no pod;
    - naming the pod's namespace: as it is written, namespaces included;
    - else in a CiliumNetworkPolicy: pods of the policy's namespace, unless it names labels of the namespace;
    - else in a clusterwide policy: pods of every namespace, and pods only ("managed endpoints", never world or nodes).
    [Cilium, kubernetes: Namespaces, "Allow all ingress to kube-dns"; layer3: "Egress Allow All Endpoints"]
    """
    keys = _keys(selector)
    if any(source == "reserved" for source, _ in keys):
        return matches(selector, labels)
    if any(name == identity.NAMESPACE for _, name in keys):
        return matches(selector, labels)
    if not namespace:
        return f"k8s:{identity.NAMESPACE}" in labels and matches(selector, labels)
    if any(name.startswith(identity.NAMESPACE_LABELS) for _, name in keys):
        return matches(selector, labels)
    return labels.get(f"k8s:{identity.NAMESPACE}") == namespace and matches(selector, labels)


def selects_kubernetes_peer(
    pod_selector: Selector | None, namespace_selector: Selector | None, labels: Labels, namespace: str
) -> bool:
    """A peer of a NetworkPolicy: podSelector alone selects in the policy's own namespace; namespaceSelector alone
    selects all pods of the namespaces it selects; both together, the selected pods in the selected namespaces
    [Kubernetes, NetworkPolicyPeer]. Only pods have namespaces: nothing else is ever selected."""
    if f"k8s:{identity.NAMESPACE}" not in labels:
        return False
    if namespace_selector is None:
        here = labels[f"k8s:{identity.NAMESPACE}"] == namespace
    else:
        prefix = f"k8s:{identity.NAMESPACE_LABELS}."
        of_namespace = {key.removeprefix(prefix): value for key, value in labels.items() if key.startswith(prefix)}
        here = matches_plain(namespace_selector, of_namespace)
    return here and matches(pod_selector or {}, labels)
