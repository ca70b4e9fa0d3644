"""The chart's ClusterRole has the verbs that the operator uses, and no others: the API server's audit log tells."""

import json

from seta_crds import names
from tests import rights
from tests.api import agents, cluster
from tests.api.client import Client
from tests.api.controlplane import OPERATOR_USER, ControlPlane, Operator, eventually
from tests.api.test_restart import endpoint, node, pod, policy, service


def granted(plane: ControlPlane) -> set[rights.Right]:
    everywhere = plane.kubectl("get", "clusterrole", "seta-operator", "-o", "json").stdout
    here = plane.kubectl("get", "role", "seta-operator", "-n", "kube-system", "-o", "json").stdout
    return rights.granted(map(json.loads, (everywhere, here)))


def test_every_right_is_used_and_none_is_missing(plane: ControlPlane, lone_operator: Operator, api: Client) -> None:
    with agents.Agents(plane, "n000"):
        use(lone_operator, api)
    asked, forbidden = rights.used(plane.audit_log.read_text(), OPERATOR_USER)
    assert forbidden == set()
    assert asked <= granted(plane)
    reads = {right for right in granted(plane) if right[0] == "get"}  # only after a conflict, which is chance
    assert granted(plane) - asked - reads == set()


def use(lone_operator: Operator, api: Client) -> None:
    """Have the operator create, change and delete one of each kind, and answer in each status."""
    lone_operator.start()
    wide = {"kind": "CiliumClusterwideNetworkPolicy", "metadata": {"name": "wide"}}
    wide["spec"] = {"endpointSelector": {}, "ingress": [{}]}
    api.apply(wide)
    api.apply({"kind": "NetworkPolicy", "metadata": {"name": "np"}, "spec": {"podSelector": {}}})
    # More nodes than pod CIDRs: one CiliumNode's status is written. 10.0.0.0/16 has 256 of them.
    for number in range(257):
        api.apply(node(f"n{number:03}", number % 250 + 1))
    announced = [agents.policy(interfaces=["eth0", "("]), agents.external("out", "192.0.2.7")]
    lan = {
        "kind": "CiliumLoadBalancerIPPool",
        "metadata": {"name": "lan"},
        "spec": {"blocks": [{"cidr": "10.9.0.0/28"}]},
    }
    outer = {**service("outer"), "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}
    made = [lan, outer, *announced, pod("a", crew="x"), service("s"), policy("p", app="a"), endpoint("a", 300, app="a")]
    for body in made:
        api.apply(body)
    eventually(lambda: complete(api), 30, "everything written")
    eventually(lambda: agents.holders(api) == {"default-out": "n000"}, 10, "the lease")
    # A change and an end for each kind: update and delete.
    identity = next(one for one in api.list(names.IDENTITY) if not cluster.is_kept(one))
    api.apply(
        {"kind": "CiliumIdentity", "metadata": {"name": identity["metadata"]["name"]}, "security-labels": {"x": "y"}}
    )
    api.apply(pod("b", crew="x"))
    api.apply(agents.external("out", "192.0.2.8"))
    lease = {"namespace": "kube-system", "name": "cilium-l2announce-default-out"}
    api.apply({"kind": "Lease", "metadata": lease, "spec": {"holderIdentity": "somebody"}})
    api.apply(node("n000", 99))
    api.apply(policy("p", crew="x"))
    api.apply({**service("s"), "spec": {"ports": [{"name": "other", "port": 81}]}})
    api.apply(endpoint("a", 301, app="a"))
    api.apply(policy("q", app="c"))
    api.apply(pod("c", crew="x", app="c"))
    eventually(lambda: "default: app=c,crew=x" in cluster.seen(api)["CiliumIdentity"], 10, "the new pod's identity")
    # And everything ends, also what ends while it is dead.
    lone_operator.kill()
    api.wipe(cluster.WRITTEN_BY_USERS)
    lone_operator.start()
    eventually(lambda: not cluster.leftovers(api) and not agents.holders(api), 15, "all taken back")


def complete(api: Client) -> bool:
    seen = cluster.seen(api)
    valid = all(seen[kind.kind] and "status" in next(iter(seen[kind.kind].values())) for kind in cluster.JUDGED)
    np = seen["CompiledPolicy"].get("np.default.np", {})
    served = all("conditions" in one.get("status", {}) for one in api.list(names.LOAD_BALANCER_IP_POOL))
    served = served and bool(api.get(names.SERVICE, "outer", "default")["status"]["loadBalancer"])
    told = "status" in np and served and any("status" in one for one in seen["CiliumNode"].values())
    return valid and told and all(seen[kind.kind] for kind in cluster.WRITTEN_BY_OPERATOR)
