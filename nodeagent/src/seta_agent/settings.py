"""What the agent was told: the ConfigMap `seta-config` as a typed, frozen model.

`main` reads it once at start from the directory that Kubernetes mounts (one file per key, `routing-mode` for
`routing_mode`) and hands it on; `seta config` shows it. Keys of other programs in the same ConfigMap are passed over.
A value that cannot be used is one `SettingsError` sentence that names the key: the pod's log is where the user looks.
"""

import base64
import binascii
import ipaddress
import os
import pathlib
import re
from typing import Annotated, Any, Literal

import pydantic

CONFIG_DIRECTORY = pathlib.Path("/etc/seta/config")
MOUNTED = {  # field -> where the chart mounts the host's, whose own place a container has for itself
    "proc_sys": pathlib.Path("/host/proc/sys"),
    "netns_dir": pathlib.Path("/host/run/netns"),
}
Port = Annotated[int, pydantic.Field(ge=1, le=65535)]
MapSize = Annotated[int, pydantic.Field(ge=1, le=1 << 24)]
SEED_BYTES = 12
MaglevSize = Literal[251, 509, 1021, 2039, 4093, 8191, 16381, 32749, 65521, 131071]
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}  # unit -> seconds


def _seconds(value: Any) -> Any:
    """A duration as Helm users write it: 15s, 1m30s, 250ms."""
    if not isinstance(value, str):
        return value
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|h|m|s)", value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError("is no duration: write for example 15s, 1m30s or 250ms")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _ports(value: Any) -> Any:
    """30000,32767 as a pair."""
    return tuple(value.replace("-", ",").split(",")) if isinstance(value, str) else value


Seconds = Annotated[float, pydantic.BeforeValidator(_seconds), pydantic.Field(gt=0)]
PortRange = Annotated[tuple[Port, Port], pydantic.BeforeValidator(_ports)]


class SettingsError(Exception):
    """A value in the configuration that cannot be used; the message says which and why."""


class Settings(pydantic.BaseModel):
    """Every key with its default; the chart's `values.yaml` has the same ones."""

    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")

    # Who and where: from the environment, not from the ConfigMap.
    node_name: str = ""
    pod_name: str = ""  # the agent's own
    bpf_root: pathlib.Path = pathlib.Path("/sys/fs/bpf")  # a bpffs; maps in tc/globals, links in seta/links
    proc_sys: pathlib.Path = pathlib.Path("/proc/sys")  # /host/proc/sys where a container's own is read-only
    netns_dir: pathlib.Path = pathlib.Path("/run/netns")  # the host's: pods' network namespaces by name
    objects: pathlib.Path = pathlib.Path(__file__).parent / "objects"

    # Routing.
    routing_mode: Literal["tunnel", "native"] = "tunnel"
    tunnel_protocol: Literal["vxlan"] = "vxlan"
    tunnel_port: Port = 8472
    auto_direct_node_routes: bool = False  # native: routes to the other nodes' pods through the nodes themselves
    ipv4_native_routing_cidr: ipaddress.IPv4Network | None = None  # not masqueraded, besides pods
    cluster_pool_ipv4_cidr: tuple[ipaddress.IPv4Network, ...] = (ipaddress.IPv4Network("10.0.0.0/8"),)
    cluster_pool_ipv4_mask_size: Annotated[int, pydantic.Field(ge=1, le=32)] = 24
    mtu: Annotated[int, pydantic.Field(ge=0, le=65535)] = 0  # 0: that of the native device
    devices: tuple[str, ...] = ()  # native devices; none named: the one with the node's InternalIP
    enable_ipv4_masquerade: bool = True

    # Services.
    kube_proxy_replacement: bool = True
    kube_proxy_replacement_healthz_bind_address: str = ""  # address:port that answers as kube-proxy does; "": nowhere
    bpf_lb_sock: bool = True
    bpf_lb_sock_hostns_only: bool = False  # pods are translated packet by packet
    bpf_lb_algorithm: Literal["random", "maglev"] = "random"
    bpf_lb_maglev_table_size: Annotated[MaglevSize, pydantic.BeforeValidator(_number)] = 16381
    bpf_lb_maglev_hash_seed: str = "JLfvgnHc2kaSUFaI"  # base64 of 12 bytes; the same on every node
    bpf_lb_mode: Literal["snat", "dsr", "hybrid"] = "snat"  # hybrid: dsr for TCP, snat for the rest
    bpf_lb_acceleration: Literal["disabled", "native", "best-effort", "generic"] = "disabled"  # where XDP is attached
    bpf_lb_external_clusterip: bool = False  # packets from outside may go to ClusterIPs
    bpf_lb_source_range_all_types: bool = False  # source ranges count for node ports and external IPs, too
    enable_service_topology: bool = False  # hints on which nodes and zones a backend is for are followed
    service_no_backend_response: Literal["reject", "drop"] = "reject"
    node_port_range: PortRange = (30000, 32767)
    nodeport_addresses: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()  # (): all of native devices
    node_port_bind_protection: bool = True
    enable_auto_protect_node_port_range: bool = True
    enable_health_check_nodeport: bool = True

    # Announcements on the LAN.
    enable_l2_announcements: bool = False
    l2_announcements_lease_duration: Seconds = 15.0
    l2_announcements_renew_deadline: Seconds = 5.0
    l2_announcements_retry_period: Seconds = 2.0

    # Policy.
    enable_policy: Literal["default", "always", "never"] = "default"
    policy_audit_mode: bool = False  # what policy would drop is let through, and told
    enable_host_firewall: bool = False  # policies with a nodeSelector apply to the node's own traffic
    cgroup_root: str = ""  # "": found below /sys/fs/cgroup

    # Sizes of maps, in entries.
    bpf_ct_global_tcp_max: MapSize = 524288
    bpf_ct_global_any_max: MapSize = 262144
    bpf_nat_global_max: MapSize = 524288
    bpf_policy_map_max: MapSize = 16384
    bpf_lb_map_max: MapSize = 65536

    # The rest.
    cluster_name: str = "default"
    cni_exclusive: bool = True
    labels: str = ""  # identity-relevant label filter
    monitor_aggregation: Literal["none", "medium"] = "medium"
    debug: bool = False

    @pydantic.field_validator("cluster_pool_ipv4_cidr", "devices", "nodeport_addresses", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @pydantic.field_validator("ipv4_native_routing_cidr", mode="before")
    @classmethod
    def _empty(cls, value: object) -> object:
        return None if value == "" else value

    @pydantic.field_validator("bpf_lb_maglev_hash_seed")
    @classmethod
    def _seed(cls, value: str) -> str:
        try:
            size = len(base64.b64decode(value, validate=True))
        except binascii.Error:
            size = 0
        if size != SEED_BYTES:
            raise ValueError(f"is not {SEED_BYTES} bytes in base64")
        return value

    @pydantic.field_validator("node_port_range")
    @classmethod
    def _rising(cls, value: tuple[int, int]) -> tuple[int, int]:
        if value[0] > value[1]:
            raise ValueError("ends before it begins")
        return value

    @pydantic.field_validator("kube_proxy_replacement_healthz_bind_address")
    @classmethod
    def _bindable(cls, value: str) -> str:
        if value:
            address_and_port(value)
        return value

    @pydantic.model_validator(mode="after")
    def _together(self) -> "Settings":
        if self.tunnel and self.bpf_lb_mode != "snat":
            raise ValueError(f"bpf-lb-mode {self.bpf_lb_mode} needs routing-mode native")
        if self.tunnel and self.bpf_lb_acceleration != "disabled":
            raise ValueError(f"bpf-lb-acceleration {self.bpf_lb_acceleration} needs routing-mode native")
        if self.l2_announcements_lease_duration <= self.l2_announcements_renew_deadline:
            raise ValueError("l2-announcements-lease-duration must be longer than l2-announcements-renew-deadline")
        if self.l2_announcements_renew_deadline <= 1.2 * self.l2_announcements_retry_period:
            raise ValueError("l2-announcements-renew-deadline must be more than 1.2 l2-announcements-retry-period")
        return self

    @property
    def tunnel(self) -> bool:
        return self.routing_mode == "tunnel"

    @property
    def maps_dir(self) -> pathlib.Path:
        return self.bpf_root / "tc" / "globals"

    @property
    def programs_dir(self) -> pathlib.Path:
        return self.bpf_root / "seta" / "programs"

    @property
    def links_dir(self) -> pathlib.Path:
        return self.bpf_root / "seta" / "links"


def address_and_port(text: str) -> tuple[str, int]:
    """0.0.0.0:10256 or [::]:10256 as what a socket is bound to. ValueError otherwise."""
    host, _, port = text.rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError("is not address:port, as 0.0.0.0:10256") from None
    if not port.isdecimal() or not 0 < int(port) <= 65535:
        raise ValueError("has no port between 1 and 65535")
    return str(address), int(port)


def key_of(field: str) -> str:
    """The ConfigMap key of a field."""
    return field.replace("_", "-")


def read(directory: pathlib.Path = CONFIG_DIRECTORY) -> Settings:
    """The settings in a directory; `SettingsError` where one cannot be used. An empty directory means defaults."""
    values: dict[str, object] = {}
    for field in Settings.model_fields:
        file = directory / key_of(field)
        if file.is_file():
            values[field] = file.read_text(encoding="utf-8").strip()
    values["node_name"] = os.environ.get("K8S_NODE_NAME", values.get("node_name", ""))
    values["pod_name"] = os.environ.get("K8S_POD_NAME", values.get("pod_name", ""))
    for field, mounted in MOUNTED.items():
        if field not in values and mounted.is_dir():
            values[field] = mounted
    try:
        return Settings.model_validate(values)
    except pydantic.ValidationError as error:
        raise SettingsError(sentence(error)) from None


def sentence(error: pydantic.ValidationError) -> str:
    """One sentence per bad value, naming the key as it stands in the ConfigMap."""
    told = []
    for problem in error.errors():
        why = problem["msg"].removeprefix("Value error, ")
        if problem["loc"]:
            told.append(f"{key_of(str(problem['loc'][0]))} is {problem['input']!r}: {why[0].lower()}{why[1:]}")
        else:
            told.append(why)
    return "the ConfigMap seta-config cannot be used: " + "; ".join(told)
