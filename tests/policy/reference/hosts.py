"""What host policies cannot shut out by omission.

Asked by `evaluate` for nodes only. A host policy that forgets the API server, the kubelet or the agents would end the
cluster that it is meant to protect, and with it the way to take the policy back. So these are allowed as if by a policy
of their own; whoever does want to stop one of them writes a deny rule, and deny beats allow as ever. (Seta's own:
elsewhere the documents only advise to list these ports in every policy.)
"""

from tests.policy.reference.cluster import Node
from tests.policy.reference.flows import RuleRef
from tests.policy.reference.statements import Question

KUBELET = ("TCP", 10250)
OVERLAY = ("UDP", 8472)
ETCD = (("TCP", 2379), ("TCP", 2380))  # between API servers
DHCP = {"ingress": ("UDP", 68), "egress": ("UDP", 67)}  # where a node may have its address from


def essential(question: Question) -> RuleRef | None:
    subject = question.subject
    if not isinstance(subject, Node):
        return None
    traffic = (question.flow.protocol, question.flow.port)
    peer_is_server = question.peer.has("kube-apiserver")
    peer_is_node = question.peer.has("remote-node")
    if traffic in _api_server_ports(question):
        return RuleRef("builtin", "", "host-essentials", "kube-apiserver")
    if traffic == KUBELET and (peer_is_node or peer_is_server):
        return RuleRef("builtin", "", "host-essentials", "kubelet")
    if traffic == OVERLAY and peer_is_node:
        return RuleRef("builtin", "", "host-essentials", "overlay")
    if traffic in ETCD and peer_is_server and _is_api_server(question, subject):
        return RuleRef("builtin", "", "host-essentials", "etcd")
    if traffic == DHCP[question.direction]:
        return RuleRef("builtin", "", "host-essentials", "dhcp")
    return None


def _is_api_server(question: Question, subject: Node) -> bool:
    return any(each.address in subject.addresses for each in question.cluster.api_servers())


def _api_server_ports(question: Question) -> set[tuple[str, int]]:
    """The ports of the API server that is the destination: the subject's own at ingress, the peer's at egress."""
    servers = question.cluster.api_servers()
    if question.direction == "egress":
        return {port for each in servers for port in each.ports} if question.peer.has("kube-apiserver") else set()
    assert isinstance(question.subject, Node)
    return {port for each in servers if each.address in question.subject.addresses for port in each.ports}
