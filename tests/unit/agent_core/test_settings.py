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


def test_values_for_services_are_read_as_helm_writes_them(write):
    found = settings.read(
        write(
            routing_mode="native",
            bpf_lb_mode="hybrid",
            bpf_lb_maglev_table_size="251",
            node_port_range="20000,22000",
            nodeport_addresses="192.168.10.0/24 fd00::/64",
            kube_proxy_replacement_healthz_bind_address="[::]:10256",
            l2_announcements_retry_period="250ms",
        )
    )
    assert (found.bpf_lb_mode, found.bpf_lb_maglev_table_size) == ("hybrid", 251)
    assert found.node_port_range == (20000, 22000)
    assert [str(one) for one in found.nodeport_addresses] == ["192.168.10.0/24", "fd00::/64"]
    assert settings.address_and_port(found.kube_proxy_replacement_healthz_bind_address) == ("::", 10256)
    assert found.l2_announcements_retry_period == 0.25


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
        ("bpf_lb_maglev_table_size", "1000", "bpf-lb-maglev-table-size is 1000: input should be 251"),
        ("bpf_lb_maglev_hash_seed", "JLfvgnHc", "bpf-lb-maglev-hash-seed is 'JLfvgnHc': is not 12 bytes in base64"),
        ("bpf_lb_mode", "dsr", "bpf-lb-mode dsr needs routing-mode native"),
        ("bpf_lb_acceleration", "native", "bpf-lb-acceleration native needs routing-mode native"),
        ("node_port_range", "32767,30000", "node-port-range is .*: ends before it begins"),
        ("node_port_range", "30000", "node-port-range is"),
        ("node_port_range", "0,100", "node-port-range is"),
        ("nodeport_addresses", "192.168.10.300/24", "nodeport-addresses is"),
        (
            "kube_proxy_replacement_healthz_bind_address",
            ":10256",
            "healthz-bind-address is ':10256': is not address:po",
        ),
        ("kube_proxy_replacement_healthz_bind_address", "[::]:0", "has no port between 1 and 65535"),
        ("l2_announcements_lease_duration", "15", "l2-announcements-lease-duration is '15': is no duration"),
        ("l2_announcements_lease_duration", "4s", "l2-announcements-lease-duration must be longer"),
        ("l2_announcements_retry_period", "5s", "l2-announcements-renew-deadline must be more than 1.2"),
        ("l2_announcements_retry_period", "0s", "l2-announcements-retry-period is '0s': input should be greater"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_sentence_with_its_key(write, key, text, told):
    with pytest.raises(settings.SettingsError, match=told) as caught:
        settings.read(write(**{key: text}))
    assert "\n" not in str(caught.value)
