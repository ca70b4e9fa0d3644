"""A small cluster in an agent's tables, and policies that come into it through the operator's own compiler.

Two nodes; in `shop` two webs (one has a label more), a db and a pod without labels, in `ops` a prometheus. Tests of
`seta policy explain` use it: a rule that it suggests goes the way that `kubectl apply` would send it.
"""

import ipaddress

from seta_agent.api import questions
from seta_agent.api.explain import Explainer
from seta_agent.programmer.endpointpolicy import PolicyEngine
from seta_agent.tables import (
    Frontend,
    Identity,
    Node,
    RemotePod,
    SelectorSet,
    Service,
    ServicePort,
    Tables,
)
from seta_agent.watch import policies
from seta_crds import labels as known
from seta_operator.services import compile_networkpolicy, compiler
from seta_operator.services.setspec import CIDRSet, EntitySet, LabelSet

IP, NET = ipaddress.ip_address, ipaddress.ip_network
NODES = {
    "n1": Node("n1", (IP("192.168.10.1"),), (IP("10.0.1.1"),), (NET("10.0.1.0/24"),), kube_apiserver=True),
    "n2": Node("n2", (IP("192.168.10.2"),), (IP("10.0.2.1"),), (NET("10.0.2.0/24"),)),
}
PODS = {  # pod -> identity, address, node, labels
    "shop/web": (300, "10.0.1.5", "n1", {"app": "web"}),
    "shop/web-2": (303, "10.0.1.6", "n1", {"app": "web", "tier": "edge"}),
    "shop/db": (301, "10.0.2.5", "n2", {"app": "db"}),
    "shop/bare": (304, "10.0.2.6", "n2", {}),
    "ops/prometheus": (302, "10.0.2.7", "n2", {"app": "prometheus"}),
}
PORTS = {"shop/db": (("sql", 5432, "TCP"),)}
RANGE = 16777217
ENTITIES = {"world": {2, RANGE}, "kube-apiserver": {7}, "remote-node": {6, 7}, "host": {1}, "unmanaged": {3}}


class Cluster:
    def __init__(self, mode="default", agent="n1"):
        self.tables = Tables()
        for name, node in NODES.items():
            self.tables.nodes.set(name, node)
        for word, (number, address, node, own) in PODS.items():
            namespace, _, name = word.partition("/")
            ports = PORTS.get(word, ())
            found = known.identity_labels(own, namespace, {}, "default", "default", known.LabelFilter(), ports)
            self.tables.identities.set(number, Identity(number, frozenset(known.as_list(found))))
            pod = RemotePod(namespace, name, number, (IP(address),), NODES[node].internal_ips[0], ports)
            self.tables.remote_pods.set(word, (pod,))
        row = Identity(RANGE, frozenset({"cidr:192.0.2.0/24", "reserved:world"}), (), NET("192.0.2.0/24"))
        self.tables.identities.set(RANGE, row)
        self.tables.admitted.set(RANGE, row)
        frontend = Frontend(1, "ClusterIP", IP("10.96.0.9"), 80)
        self.tables.services.set(("shop", "db"), Service("shop", "db", (ServicePort("", "TCP", (frontend,), ()),)))
        self.tables.policies.synced = self.tables.selector_sets.synced = True
        self.engine = PolicyEngine(self.tables, mode, agent, lambda: None)
        self.explainer = Explainer(self.tables, self.engine, host_policies=True)

    def apply(self, *manifests):
        for number, manifest in enumerate(manifests):
            kind, metadata = manifest["kind"], manifest["metadata"]
            namespace, spec = metadata.get("namespace", ""), manifest.get("spec")
            if kind == "NetworkPolicy":
                compiled = compile_networkpolicy.compile_policy(namespace, spec)
            else:
                compiled = compiler.compile_policy(namespace, spec, manifest.get("specs"), host_firewall=True)
            assert compiled.problems == []
            for place, chosen in compiled.nodes.items():
                names = [name for name in NODES if chosen.matches({"k8s:kubernetes.io/hostname": name})]
                compiled.rules[place]["nodes"] = names
            for name, one in compiled.specs.items():
                self.tables.selector_sets.set(name, SelectorSet(name, one.text, frozenset(self._members(one))))
            source = {"kind": kind, "namespace": namespace, "name": metadata["name"], "generation": 1}
            name = f"p{len(self.tables.policies)}-{number}"
            item = {"metadata": {"name": name}, "spec": {"source": source, "rules": compiled.rules}}
            self.tables.policies.set(name, policies.policy(item))
        self.engine.concerned()

    def _members(self, spec):
        match spec:
            case LabelSet(selector):
                rows = self.tables.identities
                return {row.id for row in rows if selector.matches(known.from_list(row.labels))}
            case EntitySet(name):
                return ENTITIES[name]
            case CIDRSet(cidr, excepts):
                prefix, but = NET(cidr), [NET(one) for one in excepts]
                if not any(row.prefix == prefix for row in self.tables.admitted):
                    number = RANGE + len(self.tables.admitted)
                    row = Identity(number, frozenset({f"cidr:{cidr}", "reserved:world"}), (), prefix)
                    self.tables.identities.set(number, row)
                    self.tables.admitted.set(number, row)
                rows = [row for row in self.tables.admitted if row.prefix.subnet_of(prefix)]
                return {row.id for row in rows if not any(row.prefix.subnet_of(one) for one in but)}
        raise AssertionError(spec)

    def explain(self, source, destination, port="80/TCP"):
        self.engine.concerned()
        return self.explainer.explain(source, destination, questions.parse(port))


def cnp(name, spec, namespace="shop"):
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy", "metadata": metadata, "spec": spec}


def closed(app, *directions, namespace="shop", **more):
    """Selects app=..., allows nothing in these directions."""
    empty = {direction: [{}] for direction in directions}
    return cnp(f"closed-{app}", {"endpointSelector": {"matchLabels": {"app": app}}, **empty, **more}, namespace)
