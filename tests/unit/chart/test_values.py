"""A wrong value is refused by name; a right one arrives in the programs that it is for."""

import ipaddress
import json
import pathlib
import subprocess
import sys

import pytest
import yaml

import seta_agent.settings
import seta_operator.settings

ROOT = pathlib.Path(__file__).parents[3]
CHART = ROOT / "deploy/chart"

REFUSED = [  # value, what the message names
    ("routingMode=bridge", "'/routingMode': value must be one of 'tunnel', 'native'"),
    ("routinMode=native", "additional properties 'routinMode' not allowed"),
    ("debug.enabeld=true", "'/debug': additional properties 'enabeld' not allowed"),
    ("operator.replicas=0", "'/operator/replicas': minimum: got 0, want 1"),
    ("tunnelPort=vxlan", "'/tunnelPort': got string, want integer"),
    ("tunnelPort=70000", "'/tunnelPort': maximum"),
    ("socketLB.enabled=false", "'/socketLB/enabled': value must be true"),
    ("kubeProxyReplacement=false", "'/kubeProxyReplacement': value must be true"),
    ("socketLB=true", "'/socketLB': got boolean, want object"),
    ("socketLB.hostNamespaceOnly=yes", "'/socketLB/hostNamespaceOnly': got string, want boolean"),
    ("loadBalancer.algorithm=roundrobin", "'/loadBalancer/algorithm': value must be one of 'random', 'maglev'"),
    ("loadBalancer.mode=nat", "'/loadBalancer/mode': value must be one of 'snat', 'dsr', 'hybrid'"),
    ("loadBalancer.acceleration=offload", "'/loadBalancer/acceleration': value must be one of"),
    ("maglev.tableSize=1000", "'/maglev/tableSize': value must be one of 251,"),
    ("maglev.hashSeed=short", "'/maglev/hashSeed'"),
    ("nodePort.range=30000", "'/nodePort/range'"),
    ("nodePort.addresses={192.168.10.1}", "'/nodePort/addresses/0'"),
    ("kubeProxyReplacementHealthzBindAddr=:10256", "'/kubeProxyReplacementHealthzBindAddr'"),
    ("serviceNoBackendResponse=ignore", "'/serviceNoBackendResponse': value must be one of 'reject', 'drop'"),
    ("defaultLBServiceIPAM=nodeipam", "'/defaultLBServiceIPAM': value must be one of 'lbipam', 'none'"),
    ("l2announcements.leaseDuration=15", "'/l2announcements/leaseDuration'"),
    ("k8s.serviceProxyName=-", "'/k8s/serviceProxyName'"),
    ("autoDirectNodeRoutes=yes", "'/autoDirectNodeRoutes': got string, want boolean"),
    ("MTU=100", "'/MTU': minimum"),
    ("bpf.ctTcpMax=0", "'/bpf/ctTcpMax': minimum"),
    ("ipv4NativeRoutingCIDR=10.0.0", "'/ipv4NativeRoutingCIDR'"),
    ("ipam.operator.clusterPoolIPv4PodCIDRList=10.0.0.0/8", "'/ipam/operator/clusterPoolIPv4PodCIDRList': got string"),
    ("ipam.operator.clusterPoolIPv4MaskSize=33", "'/ipam/operator/clusterPoolIPv4MaskSize': maximum"),
    ("identityGCInterval=15", "'/identityGCInterval': got number, want string"),
    ("policyEnforcementMode=sometimes", "'/policyEnforcementMode'"),
    ("policyAuditMode=on", "'/policyAuditMode': got string, want boolean"),
    ("policyCIDRMatchMode={pods}", "'/policyCIDRMatchMode/0': value must be 'nodes'"),
    ("hostFirewall=true", "'/hostFirewall': got boolean, want object"),
    ("image.pullPolicy=Sometimes", "'/image/pullPolicy'"),
    ("k8sServicePort=https", "'/k8sServicePort'"),
    ("cluster.name=Not_A_Name", "'/cluster/name'"),
    ("tolerations[0].operater=Exists", "additional properties 'operater' not allowed"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED, ids=[value for value, _ in REFUSED])
def test_a_value_that_cannot_be_is_refused_by_name(helm, value, message):
    done = helm("template", "seta", str(CHART), "--set", value)
    assert done.returncode != 0
    assert message in done.stderr


TOGETHER = [  # values that are right one by one, what the message says
    (("loadBalancer.mode=dsr",), "loadBalancer.mode=dsr needs routingMode=native"),
    (("loadBalancer.mode=hybrid",), "loadBalancer.mode=hybrid needs routingMode=native"),
    (("loadBalancer.acceleration=generic",), "loadBalancer.acceleration=generic needs routingMode=native"),
    (("bpf.lbModeAnnotation=true",), "bpf.lbModeAnnotation=true needs routingMode=native"),
    (("nodePort.range=32767\\,30000",), "nodePort.range=32767,30000 is no range of ports"),
    (("nodePort.range=0\\,70000",), "nodePort.range=0,70000 is no range of ports"),
    (
        ("l2announcements.leaseDuration=5s",),
        "l2announcements.leaseDuration=5s must be longer than leaseRenewDeadline=5s",
    ),
    (
        ("l2announcements.leaseRenewDeadline=600ms", "l2announcements.leaseRetryPeriod=500ms"),
        "l2announcements.leaseRenewDeadline=600ms must be more than 1.2 times leaseRetryPeriod=500ms",
    ),
    (("l2announcements.leaseRetryPeriod=0s",), "l2announcements.leaseRetryPeriod must be longer than 0s"),
]


@pytest.mark.parametrize(("values", "message"), TOGETHER, ids=[" ".join(values) for values, _ in TOGETHER])
def test_values_that_cannot_work_together_are_refused_with_the_reason(helm, values, message):
    told = [part for value in values for part in ("--set", value)]
    done = helm("template", "seta", str(CHART), *told)
    assert done.returncode != 0
    assert message in done.stderr


@pytest.mark.parametrize(
    "values",
    [
        ("loadBalancer.mode=dsr", "routingMode=native"),
        ("loadBalancer.acceleration=native", "routingMode=native"),
        ("loadBalancer.mode=hybrid", "routingMode=native", "bpf.lbModeAnnotation=true"),
        ("l2announcements.leaseRenewDeadline=601ms", "l2announcements.leaseRetryPeriod=500ms"),
        ("l2announcements.leaseDuration=1m", "l2announcements.leaseRenewDeadline=59s999ms"),
    ],
)
def test_values_that_just_fit_together_are_taken(render, values):
    assert render(*values)


def config(documents):
    (found,) = (one for one in documents if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "seta-config")
    return found["data"]


def mounted(directory, documents):
    """The ConfigMap as the kubelet puts it into a pod: a file per key."""
    for key, value in config(documents).items():
        (directory / key).write_text(value)
    return directory


def keys_of(settings):
    return {field.replace("_", "-") for field in settings.model_fields}


def test_every_key_of_the_configmap_is_known_to_somebody(render):
    known = keys_of(seta_agent.settings.Settings) | keys_of(seta_operator.settings.Settings)
    assert set(config(render())) <= known


def test_the_charts_defaults_are_the_agents(render, tmp_path, monkeypatch):
    monkeypatch.delenv("K8S_NODE_NAME", raising=False)
    settings = seta_agent.settings.read(mounted(tmp_path, render()))
    machine = {"proc_sys", "netns_dir"}  # found where it runs
    assert settings.model_dump(exclude=machine) == seta_agent.settings.Settings().model_dump(exclude=machine)


def test_the_charts_defaults_are_the_operators(render, tmp_path):
    settings = seta_operator.settings.read(mounted(tmp_path, render()))
    assert settings == seta_operator.settings.Settings()


AGENT = [  # value, field of the agent's settings, what is read
    ("routingMode=native", "routing_mode", "native"),
    ("tunnelPort=4789", "tunnel_port", 4789),
    ("autoDirectNodeRoutes=true", "auto_direct_node_routes", True),
    ("enableIPv4Masquerade=false", "enable_ipv4_masquerade", False),
    ("devices={ens5,ens6}", "devices", ("ens5", "ens6")),
    ("devices=ens5 ens6", "devices", ("ens5", "ens6")),
    ("MTU=1400", "mtu", 1400),
    ("policyEnforcementMode=always", "enable_policy", "always"),
    ("policyAuditMode=true", "policy_audit_mode", True),
    ("hostFirewall.enabled=true", "enable_host_firewall", True),
    ("cluster.name=west", "cluster_name", "west"),
    ("cni.exclusive=false", "cni_exclusive", False),
    ("cgroup.hostRoot=/run/cg", "cgroup_root", "/run/cg"),
    ("bpf.ctTcpMax=1000000", "bpf_ct_global_tcp_max", 1000000),
    ("bpf.ctAnyMax=1", "bpf_ct_global_any_max", 1),
    ("bpf.natMax=2", "bpf_nat_global_max", 2),
    ("bpf.policyMapMax=3", "bpf_policy_map_max", 3),
    ("bpf.lbMapMax=4", "bpf_lb_map_max", 4),
    ("bpf.lbExternalClusterIP=true", "bpf_lb_external_clusterip", True),
    ("bpf.lbSourceRangeAllTypes=true", "bpf_lb_source_range_all_types", True),
    (
        "kubeProxyReplacementHealthzBindAddr=0.0.0.0:10256",
        "kube_proxy_replacement_healthz_bind_address",
        "0.0.0.0:10256",
    ),
    ("socketLB.hostNamespaceOnly=true", "bpf_lb_sock_hostns_only", True),
    ("loadBalancer.algorithm=maglev", "bpf_lb_algorithm", "maglev"),
    ("loadBalancer.mode=dsr,routingMode=native", "bpf_lb_mode", "dsr"),
    ("loadBalancer.acceleration=best-effort,routingMode=native", "bpf_lb_acceleration", "best-effort"),
    ("loadBalancer.serviceTopology=true", "enable_service_topology", True),
    ("maglev.tableSize=65521", "bpf_lb_maglev_table_size", 65521),
    ("maglev.hashSeed=AAAAAAAAAAAAAAAA", "bpf_lb_maglev_hash_seed", "AAAAAAAAAAAAAAAA"),
    ("nodePort.range=20000\\,22000", "node_port_range", (20000, 22000)),
    ("nodePort.addresses={192.168.10.0/24}", "nodeport_addresses", (ipaddress.IPv4Network("192.168.10.0/24"),)),
    ("nodePort.bindProtection=false", "node_port_bind_protection", False),
    ("nodePort.autoProtectPortRange=false", "enable_auto_protect_node_port_range", False),
    ("nodePort.enableHealthCheck=false", "enable_health_check_nodeport", False),
    ("serviceNoBackendResponse=drop", "service_no_backend_response", "drop"),
    ("l2announcements.enabled=true", "enable_l2_announcements", True),
    ("l2announcements.leaseDuration=1m30s", "l2_announcements_lease_duration", 90.0),
    ("l2announcements.leaseRenewDeadline=7s500ms", "l2_announcements_renew_deadline", 7.5),
    ("l2announcements.leaseRetryPeriod=250ms", "l2_announcements_retry_period", 0.25),
    ("monitor.aggregation=none", "monitor_aggregation", "none"),
    ("debug.enabled=true", "debug", True),
    ("labels=k8s:app !k8s:hash", "labels", "k8s:app !k8s:hash"),
]


@pytest.mark.parametrize(("value", "field", "read"), AGENT, ids=[value for value, _, _ in AGENT])
def test_a_value_arrives_in_the_agent(render, tmp_path, value, field, read):
    settings = seta_agent.settings.read(mounted(tmp_path, render(value)))
    assert getattr(settings, field) == read


OPERATOR = [  # value, field of the operator's settings, what is read
    (
        "ipam.operator.clusterPoolIPv4PodCIDRList={10.1.0.0/16,10.2.0.0/16}",
        "cluster_pool_ipv4_cidr",
        ("10.1.0.0/16", "10.2.0.0/16"),
    ),
    ("ipam.operator.clusterPoolIPv4MaskSize=26", "cluster_pool_ipv4_mask_size", 26),
    ("identityGCInterval=1h30m", "identity_gc_interval", 5400.0),
    ("cluster.name=west", "cluster_name", "west"),
    ("labels=k8s:app !k8s:hash", "labels", ("k8s:app", "!k8s:hash")),
    ("policyCIDRMatchMode={nodes}", "policy_cidr_match_mode", ("nodes",)),
    ("hostFirewall.enabled=true", "enable_host_firewall", True),
    ("debug.enabled=true", "debug", True),
    ("k8s.serviceProxyName=other", "k8s_service_proxy_name", "other"),
    ("bpf.lbAlgorithmAnnotation=true", "bpf_lb_algorithm_annotation", True),
    ("bpf.lbModeAnnotation=true,routingMode=native", "bpf_lb_mode_annotation", True),
    ("defaultLBServiceIPAM=none", "default_lb_service_ipam", "none"),
    ("l2announcements.enabled=true", "enable_l2_announcements", True),
    ("l2announcements.leaseDuration=20s", "l2_announcements_lease_duration", 20.0),
    ("l2announcements.leaseRenewDeadline=6s", "l2_announcements_renew_deadline", 6.0),
    ("l2announcements.leaseRetryPeriod=1s", "l2_announcements_retry_period", 1.0),
]


@pytest.mark.parametrize(("value", "field", "read"), OPERATOR, ids=[value for value, _, _ in OPERATOR])
def test_a_value_arrives_in_the_operator(render, tmp_path, value, field, read):
    settings = seta_operator.settings.read(mounted(tmp_path, render(value)))
    assert getattr(settings, field) == read


def test_the_values_that_the_operators_messages_name_exist():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    for field in seta_operator.settings.Settings.model_fields.values():
        found = values
        for name in field.title.split("."):
            assert name in found, field.title
            found = found[name]


def test_every_value_is_in_the_schema():
    schema = json.loads((CHART / "values.schema.json").read_text())

    def missing(values, schema, at=""):
        for name, value in values.items():
            known = schema.get("properties", {}).get(name)
            if known is None:
                yield f"{at}{name}"
            elif isinstance(value, dict) and "properties" in known:
                yield from missing(value, known, f"{at}{name}.")

    assert not list(missing(yaml.safe_load((CHART / "values.yaml").read_text()), schema))


def test_the_table_in_the_installation_page_is_made_of_the_values_file():
    command = [sys.executable, ROOT / "tools/values_table.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
