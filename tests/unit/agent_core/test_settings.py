"""A directory with a file per key in, typed settings or one sentence out."""

import ipaddress

import pytest

from seta_agent import settings


@pytest.fixture
def write(tmp_path):
    def write(**values):
        for key, text in values.items():
            (tmp_path / settings.key_of(key)).write_text(text)
        return tmp_path

    return write


def test_an_empty_directory_means_defaults(write):
    found = settings.read(write())
    assert (found.routing_mode, found.tunnel_port, found.bpf_lb_sock) == ("tunnel", 8472, True)
    assert found.cluster_pool_ipv4_cidr == (ipaddress.IPv4Network("10.0.0.0/8"),)


def test_values_are_read_as_helm_writes_them(write):
    found = settings.read(
        write(
            routing_mode="native\n",
            auto_direct_node_routes="true",
            cluster_pool_ipv4_cidr="10.1.0.0/16 10.2.0.0/16",
            ipv4_native_routing_cidr="",
            devices="ens5,ens6",
            mtu="9000",
            bpf_ct_global_tcp_max="1024",
        )
    )
    assert not found.tunnel
    assert found.auto_direct_node_routes
    assert len(found.cluster_pool_ipv4_cidr) == 2
    assert found.ipv4_native_routing_cidr is None
    assert found.devices == ("ens5", "ens6")
    assert (found.mtu, found.bpf_ct_global_tcp_max) == (9000, 1024)


def test_keys_of_the_operator_are_passed_over(write):
    assert settings.read(write(identity_gc_interval="15m")).tunnel


def test_the_node_name_comes_from_the_environment(write, monkeypatch):
    monkeypatch.setenv("K8S_NODE_NAME", "k8s-w1")
    assert settings.read(write()).node_name == "k8s-w1"


@pytest.mark.parametrize(
    ("key", "text", "told"),
    [
        ("routing_mode", "magic", "routing-mode is 'magic'"),
        ("tunnel_port", "70000", "tunnel-port is '70000'"),
        ("bpf_lb_sock", "perhaps", "bpf-lb-sock is 'perhaps'"),
        ("ipv4_native_routing_cidr", "10.0.0.0/33", "ipv4-native-routing-cidr is '10.0.0.0/33'"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_sentence_with_its_key(write, key, text, told):
    with pytest.raises(settings.SettingsError, match=told) as caught:
        settings.read(write(**{key: text}))
    assert "\n" not in str(caught.value)
