"""The API's JSON in; the field's columns out, letter for letter."""

import argparse
import pathlib

import pytest

from seta_agent.cli import merge
from seta_agent.cli.commands import COMMANDS

XWING = ["k8s:class=xwing", "k8s:org=alliance"]
ENDPOINTS = [
    {
        "id": 7,
        "policy": {"ingress": "Enabled", "egress": "Disabled"},
        "identity": {"id": 4711, "labels": XWING},
        "ipv6": "",
        "ipv4": "10.0.1.5",
        "state": "ready",
        "services": {"translated": "Socket", "reason": ""},
    },
    {
        "id": 12,
        "policy": {"ingress": "Disabled", "egress": "Disabled"},
        "identity": {"id": None, "labels": []},
        "ipv6": "",
        "ipv4": "10.0.1.6",
        "state": "waiting-for-identity",
        "services": {"translated": "Packet", "reason": "istio-proxy"},
    },
]
IPS = [
    {"ip": "10.0.1.5/32", "identity": {"id": 4711, "labels": XWING}, "source": "local", "host": "", "encrypt_key": 0},
    {
        "ip": "192.168.10.102/32",
        "identity": {"id": 6, "labels": ["reserved:remote-node"]},
        "source": "custom-resource",
        "host": "",
        "encrypt_key": 0,
    },
    {
        "ip": "10.0.2.9/32",
        "identity": {"id": 9999, "labels": []},
        "source": "custom-resource",
        "host": "192.168.10.102",
        "encrypt_key": 0,
    },
]
SERVICES = [
    {
        "id": 17,
        "frontend": "10.96.0.10:80/TCP",
        "type": "ClusterIP",
        "backends": [
            {"backend": "10.0.1.5:8080/TCP", "state": "active"},
            {"backend": "10.0.2.5:8080/TCP", "state": "terminating"},
        ],
    },
    {"id": 18, "frontend": "10.96.0.11:53/UDP", "type": "ClusterIP", "backends": []},
    {
        "id": 19,
        "frontend": "0.0.0.0:30080/TCP",
        "type": "NodePort",
        "backends": [
            {"backend": "10.0.1.5:8080/TCP", "state": "terminating-not-serving"},
            {"backend": "10.0.1.6:8080/TCP", "state": "quarantined"},
            {"backend": "10.0.1.7:8080/TCP", "state": "maintenance"},
        ],
    },
    {"id": 20, "frontend": "[fd00::10]:80/TCP", "type": "LoadBalancer", "backends": []},
    {"id": 21, "frontend": "203.0.113.7:80/SCTP", "type": "ExternalIPs", "backends": []},
    {"id": 60001, "frontend": "192.168.10.101:8080/TCP", "type": "HostPort", "backends": []},
]
SERVICE = {
    "address": "10.96.0.10",
    "port": 80,
    "protocol": "TCP",
    "scope": 0,
    "slot": 0,
    "rev_nat": 17,
    "backend_id": 0,
    "count": 0,
    "qcount": 0,
    "flags": 0,
    "type": "ClusterIP",
}
MASTER = {**SERVICE, "backend_id": 0x02000E10, "count": 2, "qcount": 1, "flags": 0x2010}
LB = {
    "services": [
        {**MASTER, "type": "ClusterIP, two-scopes, sessionAffinity, non-routable"},
        {**SERVICE, "slot": 1, "backend_id": 3},
        {**SERVICE, "slot": 2, "backend_id": 4},
        {**SERVICE, "scope": 1, "type": "ClusterIP, non-routable"},
        {**SERVICE, "address": "fd00::10", "type": "LoadBalancer, check source-range, deny"},
    ],
    "backends": [{"id": 3, "address": "10.0.1.5", "port": 8080, "protocol": "TCP", "state": "active"}],
    "reverse_nat": [{"id": 17, "address": "10.96.0.10", "port": 80}, {"id": 18, "address": "fd00::10", "port": 80}],
    "source_ranges": [{"id": 17, "range": "203.0.113.0/24"}, {"id": 18, "range": "fd00::/64"}],
}
ENTRY = {"direction": "ingress", "proxy_port": 0, "auth_type": "disabled", "bytes": 196, "packets": 2, "cookie": 5}
POLICY = [
    {**ENTRY, "deny": True, "identity": 0, "labels": [], "port": "ANY", "prefix": 40},
    {**ENTRY, "deny": False, "identity": 4711, "labels": XWING, "port": "80/TCP", "prefix": 64},
]
IPCACHE = [{"prefix": "10.0.2.0/24", "identity": 3, "key": 0, "tunnel_endpoint": "192.168.10.102", "flags": 0}]
ANSWERED = [
    {"address": "10.10.200.1", "ifindex": 2, "interface": "ens5", "responses_sent": 17},
    {"address": "fd00::c8", "ifindex": 3, "interface": "ens6", "responses_sent": 0},
]
LOCAL = [
    {"address": "10.0.1.1", "host": True},
    {
        "address": "10.0.1.5",
        "host": False,
        "id": 7,
        "identity": 4711,
        "flags": 0x30,
        "ifindex": 9,
        "mac": "0a:00:00:00:00:01",
        "node_mac": "0a:00:00:00:00:02",
    },
]
CT = [
    {
        "protocol": "TCP",
        "direction": "OUT",
        "source": "10.0.1.5:4242",
        "destination": "10.0.2.5:80",
        "expires": 21599,
        "packets": 4,
        "bytes": 240,
        "tx_flags": 0x1A,
        "rx_flags": 0x12,
        "flags": 0x6,
        "flag_names": ["TxClosing", "SeenNonSyn"],
        "rev_nat": 17,
        "source_identity": 4711,
        "service": False,
    }
]
SERVED = {**CT[0], "destination": "10.96.0.10:80", "service": True, "flags": 0, "flag_names": [], "backend_id": 3}
NAT = [
    {
        "protocol": "UDP",
        "direction": "OUT",
        "source": "10.0.1.5:4242",
        "destination": "1.1.1.1:53",
        "service": False,
        "translated": "source",
        "to": "192.168.10.101:61000",
        "age": 12,
    },
    {
        "protocol": "TCP",
        "direction": "OUT",
        "source": "203.0.113.9:4242",
        "destination": "192.168.10.101:30080",
        "service": True,
        "translated": "source",
        "to": "192.168.10.101:61001",
        "age": 3,
    },
    {
        "protocol": "UDP",
        "direction": "IN",
        "source": "1.1.1.1:53",
        "destination": "192.168.10.101:61000",
        "service": False,
        "translated": "destination",
        "to": "10.0.1.5:4242",
        "age": 12,
    },
]
METRICS = [
    {"reason": "Policy denied", "direction": "ingress", "packets": 3, "bytes": 222, "line": 142, "file": "policy.h"},
    {"reason": "Success", "direction": "service", "packets": 17, "bytes": 1800, "line": 0, "file": ""},
]
MAPS = [{"name": "cilium_lxc", "entries": 2, "errors": 0, "cache": True}]
CONTENT = [{"key": "17", "value": "10.96.0.10:80", "state": "sync", "error": ""}]
CONFIG = [{"name": "routing-mode", "value": "native", "set": True}, {"name": "debug", "value": False, "set": False}]

SELECTORS = [
    {"set": "ss-a", "selector": "cidr:10.0.0.0/8", "policies": [], "identities": []},
    {
        "set": "ss-b",
        "selector": "k8s:app=web",
        "policies": ["NetworkPolicy a/x", "NetworkPolicy b/y"],
        "identities": [300, 301],
    },
]
OPEN = {"of": "shop/web", "verdict": "allowed", "reason": "allowed: no policy selects it"}
RULES = [
    {"kind": "CiliumNetworkPolicy", "spec": {"egress": []}},
    {"kind": "CiliumNetworkPolicy", "spec": {"ingress": []}},
]
EXPLAINED = {
    "verdict": "denied",
    "port": "80/TCP",
    "from": {"name": "shop/web", "identity": 300},
    "to": {"name": "shop/db", "identity": 301},
    "egress": OPEN,
    "ingress": {"of": "shop/db", "reason": "denied by default: no rule allows it, and p denies what none allows"},
    "allow": RULES,
    "advice": "",
}
FORBIDDEN = EXPLAINED | {
    "allow": [],
    "advice": "no rule can allow it, as deny beats allow: change p (spec.ingressDeny[0])",
}

ANSWERS = {  # command -> what the API answers
    "endpoint list": ENDPOINTS,
    "identity list": [{"id": 2, "labels": ["reserved:world"]}, {"id": 4711, "labels": XWING}],
    "ip list": IPS,
    "ip list -n -v": IPS,
    "service list": SERVICES,
    "bpf lb list": LB,
    "bpf lb list --frontends": LB,
    "bpf lb list --backends": LB,
    "bpf lb list --revnat": LB,
    "bpf lb list --source-ranges": LB,
    "bpf lb maglev list": [
        {"id": 17, "entries": 251, "backends": [{"id": 3, "entries": 126}, {"id": 4, "entries": 125}]}
    ],
    "bpf lb maglev get 17": {"id": 17, "table": [3, 4, 4, 3]},
    "bpf policy get 7": POLICY,
    "bpf policy get 7 -n": POLICY,
    "bpf policy get 8": [],
    "bpf policy get --all -n": [
        {"endpoint": 7, "path": "/sys/fs/bpf/tc/globals/cilium_policy_v2_00007", "entries": POLICY[:1]},
        {"endpoint": 8, "path": "/sys/fs/bpf/tc/globals/cilium_policy_v2_00008", "entries": []},
    ],
    "policy selectors": SELECTORS,
    "policy explain --from shop/web --to shop/db --port 80/TCP": EXPLAINED,
    "policy explain --from shop/web --to shop/db --port 80/TCP --rule": EXPLAINED,
    "policy explain --from shop/web --to shop/db --port TCP/80": FORBIDDEN,
    "endpoint config 7": {"PolicyAuditMode": "Enabled"},
    "bpf ipcache list": IPCACHE,
    "bpf endpoint list": LOCAL,
    "bpf l2-responder list": ANSWERED,
    "bpf ct list": CT,
    "bpf ct list global": [*CT, SERVED],
    "bpf nat list": NAT,
    "bpf metrics list": METRICS,
    "map list": MAPS,
    "map list --verbose": [{**MAPS[0], "content": CONTENT}, {"name": "empty", "content": []}],
    "map get cilium_lb4_reverse_nat": CONTENT,
    "config": CONFIG,
    "config --all": CONFIG,
}


def golden() -> dict[str, str]:
    """Command -> what it prints, from golden.txt."""
    text = (pathlib.Path(__file__).parent / "golden.txt").read_text()
    sections = (section.partition("\n") for section in text.removeprefix("$ seta ").split("\n$ seta "))
    return {words: shown.rstrip("\n") for words, _, shown in sections}


def arguments(words: str) -> argparse.Namespace:
    from seta_agent.cli import main  # noqa: PLC0415 - the parser only

    return main.parser().parse_args(words.split())


@pytest.mark.parametrize("words", ANSWERS)
def test_the_columns_are_the_fields(words):
    args = arguments(words)
    assert merge.text(args.command.show(ANSWERS[words], args)) == golden()[words]


def test_every_command_has_a_golden_text_here_or_a_test_of_its_own():
    shown = {" ".join(words.split()[: len(command.words.split())]) for words in ANSWERS for command in COMMANDS}
    assert {command.words for command in COMMANDS} - shown == {"status", "endpoint get", "identity get", "policy get"}
