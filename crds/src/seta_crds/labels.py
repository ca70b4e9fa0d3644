"""From a pod to its identity labels: which labels count, and under which keys.

Called by the operator (to allocate a CiliumIdentity) and by the agent (to find it): both must
come to the same labels, so both call this. Pure, and imports nothing heavy: the agent's start
and memory depend on it.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

Port = tuple[str, int, str]  # name, number, protocol
NAMESPACE = "io.kubernetes.pod.namespace"
CLUSTER = "io.cilium.k8s.policy.cluster"
SERVICE_ACCOUNT = "io.cilium.k8s.policy.serviceaccount"
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels"
NAMED_PORTS = "io.cilium.k8s.named-ports"
# A pod's own label under these keys would be a forged fact about its namespace or account.
DERIVED_PREFIXES = ("io.cilium.k8s.", NAMESPACE)

RESERVED_IDENTITIES = {  # number -> name; label reserved:<name>
    1: "host",
    2: "world",
    3: "unmanaged",
    4: "health",
    5: "init",
    6: "remote-node",
    7: "kube-apiserver",
    8: "ingress",
}
RESERVED_LABELS: dict[int, dict[str, str]] = {  # number -> its labels
    number: {f"reserved:{name}": ""} for number, name in RESERVED_IDENTITIES.items()
}
MIN_IDENTITY, MAX_IDENTITY = 256, 65535
CIDR_IDENTITIES = (0x01000001, 0x01FFFFFF)  # first and last number of address ranges that policies name
NODE_IDENTITIES = (0x02000001, 0x02FFFFFF)  # of single nodes

DEFAULT_FILTER = (
    r"reserved:.*",
    r"io\.kubernetes\.pod\.namespace",
    r"io\.cilium\.k8s\.namespace\.labels",
    r"app\.kubernetes\.io",
    r"io\.cilium\.k8s\.policy\.cluster",
    r"io\.cilium\.k8s\.policy\.serviceaccount",
    r"!io\.kubernetes",
    r"!kubernetes\.io",
    r"!statefulset\.kubernetes\.io/pod-name",
    r"!apps\.kubernetes\.io/pod-index",
    r"!batch\.kubernetes\.io/job-completion-index",
    r"!batch\.kubernetes\.io/controller-uid",
    r"!.*beta\.kubernetes\.io",
    r"!k8s\.io",
    r"!pod-template-generation",
    r"!pod-template-hash",
    r"!controller-revision-hash",
    r"!controller-uid",
    r"!annotation.*",
    r"!etcd_node",
    r"!topology\.kubernetes\.io",
)


class Pattern(NamedTuple):
    """One entry of the filter: `[source:][!]regex`, the regex anchored at the key's start."""

    source: str  # "" = every source
    exclude: bool
    regex: re.Pattern[str]


class LabelFilter:
    """Which labels make an identity. Built once from the setting `labels`; asked per label."""

    def __init__(self, user_patterns: Iterable[str] = ()) -> None:
        """User patterns come after the defaults; with one including pattern nothing else is included.

        Raises:
            ValueError: a pattern is no regular expression; the message names it.

        """
        user = [_pattern(text) for text in user_patterns]
        self._patterns = [*(_pattern(text) for text in DEFAULT_FILTER), *user]
        self._only_included = any(not pattern.exclude for pattern in user)
        self._known: dict[tuple[str, str], bool] = {}  # (source, key) -> answer; keys are few

    def accepts(self, source: str, key: str) -> bool:
        """Whether a label counts: the longest include beats the shortest exclude."""
        known = self._known.get((source, key))
        if known is None:
            known = self._decide(source, key)
            if len(self._known) < 100_000:
                self._known[source, key] = known
        return known

    def _decide(self, source: str, key: str) -> bool:
        included = excluded = 0
        for pattern in self._patterns:
            match = pattern.regex.match(key)
            if match is None or pattern.source not in ("", source):
                continue
            if pattern.exclude:
                excluded = min(excluded or match.end(), match.end())
            else:
                included = max(included, match.end())
        return (not self._only_included and not excluded) or included > excluded


def _pattern(text: str) -> Pattern:
    source, colon, rest = text.partition(":")
    if not colon:
        source, rest = "", text
    exclude = rest.startswith("!")
    try:
        regex = re.compile(rest.removeprefix("!"))
    except re.error as error:
        raise ValueError(f'label pattern "{text}" is no regular expression: {error}') from error
    return Pattern(source, exclude, regex)


def identity_labels(  # noqa: PLR0917 - the facts in the order of the contract with the agent
    pod_labels: Mapping[str, str],
    namespace: str,
    namespace_labels: Mapping[str, str],
    service_account: str,
    cluster_name: str,
    label_filter: LabelFilter,
    named_ports: Iterable[Port] = (),
) -> dict[str, str]:
    """Labels of the pod's identity, `k8s:<key>` -> value, sorted by key.

    The pod's own labels, its namespace's (under io.cilium.k8s.namespace.labels.<key>), its
    namespace, service account and cluster; what the filter refuses is left out. The ports it
    names are always in: pods of one identity agree about them. Equal results mean equal identity.
    """
    found = {key: value for key, value in pod_labels.items() if not key.startswith(DERIVED_PREFIXES)}
    found.update((f"{NAMESPACE_LABELS}.{key}", value) for key, value in namespace_labels.items())
    found[NAMESPACE] = namespace
    found[CLUSTER] = cluster_name
    if service_account:
        found[SERVICE_ACCOUNT] = service_account
    accepted = {key: value for key, value in found.items() if label_filter.accepts("k8s", key)}
    if ports := named_ports_value(named_ports):
        accepted[NAMED_PORTS] = ports
    return {f"k8s:{key}": accepted[key] for key in sorted(accepted)}


def pod_ports(spec: Mapping[str, Any]) -> tuple[Port, ...]:
    """The ports that a pod's spec names, in its order: of containers, and of init containers that keep running."""
    containers = list(spec.get("containers") or ())
    containers += [one for one in spec.get("initContainers") or () if one.get("restartPolicy") == "Always"]
    return tuple(
        (port["name"], port["containerPort"], port.get("protocol") or "TCP")
        for container in containers
        for port in container.get("ports") or ()
        if port.get("name")
    )


def named_ports_value(ports: Iterable[Port]) -> str:
    """Value of the label NAMED_PORTS: sorted `name=port/PROTOCOL`, joined by commas; a name's first port counts."""
    first: dict[tuple[str, str], int] = {}  # (name, protocol) -> port
    for name, port, protocol in ports:
        first.setdefault((name, protocol), port)
    return ",".join(f"{name}={port}/{protocol}" for (name, protocol), port in sorted(first.items()))


def as_list(labels: Mapping[str, str]) -> list[str]:
    """Labels as people read them: sorted `source:key=value`, without `=` where the value is empty."""
    return sorted(f"{key}={value}" if value else key for key, value in labels.items())


def from_list(labels: Iterable[str]) -> dict[str, str]:
    """Reverse of as_list."""
    return {key: value for key, _, value in (label.partition("=") for label in labels)}
