"""Which labels of a pod a selector can see.

Called by `parties` for every pod. A label that is no part of a pod's identity cannot be selected by any policy.
"""

import functools
import re

NAMESPACE = "io.kubernetes.pod.namespace"
CLUSTER = "io.cilium.k8s.policy.cluster"
SERVICE_ACCOUNT = "io.cilium.k8s.policy.serviceaccount"
NAMESPACE_LABELS = "io.cilium.k8s.namespace.labels"

# Patterns of the default filter, matched at the start of a key [Cilium, operations: Limiting Identity-Relevant Labels].
INCLUDED = [r"io\.kubernetes\.pod\.namespace", r"io\.cilium\.k8s\.namespace\.labels", r"app\.kubernetes\.io",
            r"io\.cilium\.k8s\.policy\.cluster", r"io\.cilium\.k8s\.policy\.serviceaccount"]  # fmt: skip
EXCLUDED = [r"io\.kubernetes", r"kubernetes\.io", r"statefulset\.kubernetes\.io/pod-name",
            r"apps\.kubernetes\.io/pod-index", r"batch\.kubernetes\.io/job-completion-index",
            r"batch\.kubernetes\.io/controller-uid", r".*beta\.kubernetes\.io", r"k8s\.io", r"pod-template-generation",
            r"pod-template-hash", r"controller-revision-hash", r"controller-uid", r"annotation.*", r"etcd_node",
            r"topology\.kubernetes\.io"]  # fmt: skip


@functools.cache
def is_relevant(key: str) -> bool:
    """A key counts when no exclusion matches it, or when an inclusion matches more of it than every exclusion."""
    excluded = [len(found[0]) for pattern in EXCLUDED if (found := re.match(pattern, key))]
    included = [len(found[0]) for pattern in INCLUDED if (found := re.match(pattern, key))]
    return not excluded or (bool(included) and max(included) > min(excluded))


def pod_labels(
    own: dict[str, str], namespace: str, namespace_labels: dict[str, str], service_account: str, cluster_name: str
) -> dict[str, str]:
    """source:key -> value.

    A pod's namespace, service account, cluster and its namespace's labels are labels of the pod too [Cilium,
    kubernetes]. A pod cannot give itself one of those: what its owner writes under such a key is not seen
    [GHSA-pfhr-pccp-hwmh]."""
    derived = {
        NAMESPACE: namespace,
        CLUSTER: cluster_name,
        SERVICE_ACCOUNT: service_account,
        **{f"{NAMESPACE_LABELS}.{key}": value for key, value in namespace_labels.items()},
    }
    given = {key: value for key, value in own.items() if not key.startswith(("io.cilium.k8s.", NAMESPACE))}
    return {f"k8s:{key}": value for key, value in (given | derived).items() if is_relevant(key)}
