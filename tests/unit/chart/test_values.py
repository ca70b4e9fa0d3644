"""A wrong value is refused by name; a right one arrives in the programs that it is for."""

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
    ("operator.replicas=2", "'/operator': additional properties 'replicas' not allowed"),
    ("tunnelPort=vxlan", "'/tunnelPort': got string, want integer"),
    ("tunnelPort=70000", "'/tunnelPort': maximum"),
    ("socketLB.enabled=false", "'/socketLB/enabled': value must be true"),
    ("kubeProxyReplacement=false", "'/kubeProxyReplacement': value must be true"),
    ("socketLB=true", "'/socketLB': got boolean, want object"),
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
    machine = {"proc_sys"}  # found where it runs
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
