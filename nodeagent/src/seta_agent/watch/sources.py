"""Every collection the agent watches, and the table it fills: the list that `main` runs reflectors for."""

from typing import Any

from seta_agent.kube import KubeClient
from seta_agent.tables import NodeAnnouncements, Table, Tables
from seta_agent.watch import announcements, cluster, pods, policies, services
from seta_agent.watch.reflector import Reflector, Source
from seta_crds import names


def reflectors(client: KubeClient, tables: Tables, node_name: str) -> list[Reflector[Any, Any]]:
    """One per collection, none started. Pods are this node's only: the others are known by their slices."""
    on_this_node = {"fieldSelector": f"spec.nodeName={node_name}"}
    return [
        Reflector(
            client,
            Source("ciliumnodes", names.CILIUM_NODE.path(), cluster.name_key, cluster.node),
            tables.nodes,
        ),
        Reflector(
            client,
            Source("ciliumidentities", names.IDENTITY.path(), cluster.identity_key, cluster.identity),
            tables.identities,
        ),
        Reflector(
            client,
            Source("selectorsets", names.SELECTOR_SET.path(), cluster.name_key, policies.selector_set),
            tables.selector_sets,
        ),
        Reflector(
            client,
            Source("compiledpolicies", names.COMPILED_POLICY.path(), cluster.name_key, policies.policy),
            tables.policies,
        ),
        Reflector(
            client,
            Source("ciliumendpointslices", names.CILIUM_ENDPOINT_SLICE.path(), cluster.name_key, cluster.remote_pods),
            tables.remote_pods,
        ),
        Reflector(
            client,
            Source(
                "servicetables", names.SERVICE_TABLE.path(), services.service_key, services.service, may_be_old=True
            ),
            tables.services,
        ),
        Reflector(
            client,
            Source("namespaces", names.NAMESPACE.path(), pods.namespace_key, pods.namespace),
            tables.namespaces,
        ),
        Reflector(
            client,
            Source("pods", names.POD.path(), pods.pod_key, pods.pod, on_this_node),
            tables.pods,
        ),
    ]


def own_announcements(
    client: KubeClient, table: Table[str, NodeAnnouncements], node_name: str
) -> Reflector[str, NodeAnnouncements]:
    """What this node is to answer for. Not among the others: `l2` starts it anew after each lapse of its lease."""
    kind, only_own = names.NODE_ANNOUNCEMENTS, {"fieldSelector": f"metadata.name={node_name}"}
    source = Source(kind.plural, kind.path(), cluster.name_key, announcements.node_announcements, only_own)
    return Reflector(client, source, table)
