"""What an agent finds on disk of the one before."""

import dataclasses
import ipaddress

from seta_agent.cni import statefiles
from seta_agent.tables import Node

NODE = Node(
    name="n1",
    internal_ips=(ipaddress.ip_address("192.168.50.1"),),
    router_ips=(ipaddress.ip_address("10.1.1.1"), ipaddress.ip_address("fd00::1")),
    pod_cidrs=(ipaddress.ip_network("10.1.1.0/24"),),
    identity=16777300,
    kube_apiserver=True,
    uid="uid-1",
    zone="a",
)


def test_a_node_is_remembered_whole_but_for_its_uid(tmp_path):
    statefiles.save_node(tmp_path / "node.json", NODE)
    assert statefiles.load_node(tmp_path / "node.json") == dataclasses.replace(NODE, uid="")


def test_a_node_of_which_not_all_is_on_disk_is_not_known(tmp_path):
    (tmp_path / "node.json").write_text('{"name": "n1", "internal_ips": [], "router_ips": [], "pod_cidrs": []}')
    assert statefiles.load_node(tmp_path / "node.json") is None
