"""What the agent was told: the ConfigMap `seta-config` as a typed, frozen model.

`main` reads it once at start from the directory that Kubernetes mounts (one file per key, `routing-mode` for
`routing_mode`) and hands it on; `seta config` shows it. Keys of other programs in the same ConfigMap are passed over.
A value that cannot be used is one `SettingsError` sentence that names the key: the pod's log is where the user looks.
"""

import ipaddress
import os
import pathlib
from typing import Annotated, Literal

import pydantic

CONFIG_DIRECTORY = pathlib.Path("/etc/seta/config")
Port = Annotated[int, pydantic.Field(ge=1, le=65535)]
MapSize = Annotated[int, pydantic.Field(ge=1, le=1 << 24)]


class SettingsError(Exception):
    """A value in the configuration that cannot be used; the message says which and why."""


class Settings(pydantic.BaseModel):
    """Every key with its default; the chart's `values.yaml` has the same ones."""

    model_config = pydantic.ConfigDict(frozen=True, extra="ignore")

    # Who and where: from the environment, not from the ConfigMap.
    node_name: str = ""
    bpf_root: pathlib.Path = pathlib.Path("/sys/fs/bpf")  # a bpffs; maps in tc/globals, links in seta/links
    proc_sys: pathlib.Path = pathlib.Path("/proc/sys")  # /host/proc/sys where a container's own is read-only
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

    # Services and policy.
    kube_proxy_replacement: bool = True
    bpf_lb_sock: bool = True
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

    @pydantic.field_validator("cluster_pool_ipv4_cidr", "devices", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value

    @pydantic.field_validator("ipv4_native_routing_cidr", mode="before")
    @classmethod
    def _empty(cls, value: object) -> object:
        return None if value == "" else value

    @property
    def tunnel(self) -> bool:
        return self.routing_mode == "tunnel"

    @property
    def maps_dir(self) -> pathlib.Path:
        return self.bpf_root / "tc" / "globals"

    @property
    def links_dir(self) -> pathlib.Path:
        return self.bpf_root / "seta" / "links"


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
    host_sysctls = pathlib.Path("/host/proc/sys")
    if "proc_sys" not in values and host_sysctls.is_dir():
        values["proc_sys"] = host_sysctls
    try:
        return Settings.model_validate(values)
    except pydantic.ValidationError as error:
        raise SettingsError(sentence(error)) from None


def sentence(error: pydantic.ValidationError) -> str:
    """One sentence per bad value, naming the key as it stands in the ConfigMap."""
    told = []
    for problem in error.errors():
        key = key_of(str(problem["loc"][0])) if problem["loc"] else "settings"
        told.append(f"{key} is {problem['input']!r}: {problem['msg'][0].lower()}{problem['msg'][1:]}")
    return "the ConfigMap seta-config cannot be used: " + "; ".join(told)
