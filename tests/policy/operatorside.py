"""What the operator would write for a situation: compiled policies, selector sets, identities, notes on CiliumNodes.

By its own parts, the compiler and the sets' membership, told of everything at once; what comes step by step, and in
which order it is written, is for tests/unit/operator and tests/api. Used by `pipeline`.
"""

from collections.abc import Iterable

from seta_crds import labels, names
from seta_crds.names import Kind
from seta_operator.services import apiserver, compile_networkpolicy, compiler, wanted
from seta_operator.services.compiled import Compiled
from seta_operator.services.membership import Membership
from seta_operator.store.cluster import READERS, Cluster
from seta_operator.store.table import Key
from tests.policy.reference.flows import Manifest, Settings

KINDS: dict[str, Kind] = {kind.kind: kind for kind in READERS}  # those that the operator reads
POLICIES = (names.NETWORK_POLICY, names.CLUSTERWIDE_NETWORK_POLICY, names.K8S_NETWORK_POLICY)
NAME_LABEL = "kubernetes.io/metadata.name"  # the API server's own, on every namespace


class OperatorSide:
    """The operator's results for one situation."""

    def __init__(self, objects: Iterable[Manifest], policies: Iterable[Manifest], settings: Settings) -> None:
        self._cluster, self._settings = Cluster(), settings
        match_nodes = "nodes" in settings.policy_cidr_match_mode
        self._membership = Membership(
            self._cluster, labels.LabelFilter(), settings.cluster_name, cidrs_match_nodes=match_nodes
        )
        for version, body in enumerate((*objects, *policies), 1):
            if body["kind"] in KINDS:
                self._cluster.seen(KINDS[body["kind"]], _as_stored(body, version))
        self.problems: list[str] = []  # sentences about the policies
        self.compiled_policies = [self._policy(kind, key) for kind in POLICIES for key in self._keys(kind)]
        for key in sorted(self._cluster.pods.known()):
            self._membership.pod(key)
        self._membership.api_server()
        sets, identities = self._membership.drain()
        self.selector_sets = [_named(name, self._membership.set(name)) for name in sorted(sets)]
        self.identities = [_named(str(number), self._membership.identity(number)) for number in sorted(identities)]
        self._numbers = {tuple(sorted(one["security-labels"].items())): _number(one) for one in self.identities}

    def annotations(self, node: str) -> dict[str, str]:
        """Of a CiliumNode."""
        found = {}
        for one in self.identities:
            if (one["metadata"].get("annotations") or {}).get(names.NODE_ANNOTATION) == node:
                found[names.NODE_IDENTITY_ANNOTATION] = one["metadata"]["name"]
        known = self._cluster.nodes.get(("", node))
        if known is not None and apiserver.on_node(self._cluster, known):
            found[names.KUBE_APISERVER_ANNOTATION] = "true"
        return found

    def pod_number(self, key: Key) -> int:
        """A pod's identity, found by its labels as agents find it."""
        pod, namespace = self._cluster.pods.get(key), self._cluster.namespaces.get(("", key[0]))
        assert pod is not None
        own = pod.labels, key[0], namespace or {}, pod.service_account, self._settings.cluster_name
        found = labels.identity_labels(*own, labels.LabelFilter(), pod.named_ports)
        return self._numbers[tuple(sorted(found.items()))]

    def _keys(self, kind: Kind) -> list[Key]:
        return sorted(self._cluster.policies(kind).known())

    def _policy(self, kind: Kind, key: Key) -> Manifest:
        source, name = self._cluster.policies(kind).get(key), wanted.policy_name(kind, key)
        assert source is not None
        compiled = self._compile(kind, key[0], source.spec, source.specs)
        self.problems += [problem.sentence for problem in compiled.problems]
        self._membership.policy(name, compiled.specs)
        nodes = {n: self._membership.surroundings.nodes_matching(chosen) for n, chosen in compiled.nodes.items()}
        return _named(name, wanted.policy(kind, key, source, compiled, nodes))

    def _compile(self, kind: Kind, namespace: str, spec: Manifest, specs: list[Manifest]) -> Compiled:
        if kind == names.K8S_NETWORK_POLICY:
            return compile_networkpolicy.compile_policy(namespace, spec)
        return compiler.compile_policy(namespace, spec, specs, host_firewall=True)


def _named(name: str, body: Manifest | None) -> Manifest:
    assert body is not None
    return {**body, "metadata": {**body["metadata"], "name": name}}


def _number(identity: Manifest) -> int:
    return int(identity["metadata"]["name"])


def _as_stored(body: Manifest, version: int) -> Manifest:
    """As the API server would hand it out."""
    metadata = {"uid": f"uid-{version}", "generation": 1, **body["metadata"], "resourceVersion": str(version)}
    if KINDS[body["kind"]].namespaced:
        metadata.setdefault("namespace", "default")
    if body["kind"] == "Namespace":
        metadata["labels"] = {**(metadata.get("labels") or {}), NAME_LABEL: metadata["name"]}
    return {**body, "metadata": metadata}
