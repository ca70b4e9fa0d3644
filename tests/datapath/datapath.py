"""The shipped objects loaded in a sandbox, and their maps written by address: what a lab and a node have in common."""

import ipaddress
import pathlib
import socket
import struct
from typing import Any

import numpy as np

from seta_agent.bpf import libbpf, syscall
from seta_agent.bpf.maps import Map
from seta_agent.bpf.ringbuf import RingBuffer
from tests.datapath import language
from tests.datapath.sandbox import Sandbox

OBJECTS = pathlib.Path(__file__).parents[2] / "nodeagent/src/seta_agent/objects"
PROGRAMS = ("from_container", "to_container", "from_netdev", "to_netdev", "from_overlay", "to_overlay")
STATE = ("cilium_ct4_global", "cilium_ct_any4_global", "cilium_snat_v4_external", "cilium_ipv4_frag_datagrams")
RING = 1 << 20
SMALL = (*STATE, "cilium_ct6_global", "cilium_ct_any6_global")  # LRU maps are allocated whole when made
SIZES = dict.fromkeys(SMALL, 1024) | {"cilium_events": RING}  # map -> entries, or bytes
V4, HOST, OPEN, INGRESS_OPEN, EGRESS_OPEN, AUDIT = 1, 0x1, 0x30, 0x10, 0x20, 0x40
HOST_ENDPOINT = 65535


def address(name: str) -> int:
    return int(ipaddress.IPv4Address(language.address(name)))


def mac(text: str) -> int:
    """As the endpoint map has it: six bytes in memory order."""
    return int.from_bytes(bytes.fromhex(text.replace(":", "")), "little")


def put(layout: Map, key: dict[str, Any], value: dict[str, Any]) -> None:
    records = np.zeros(1, layout.key), np.zeros(1, layout.value)
    for record, fields in zip(records, (key, value), strict=True):
        libbpf.write_fields(record[0], fields)
    layout.set(records[0].tobytes(), records[1].tobytes())


def empty(layout: Map) -> None:
    layout.delete(layout.dump()[0])


class Datapath:
    """One node's programs and maps. `config`: fields of node_config; the devices' indexes are filled in."""

    def __init__(self, sandbox: Sandbox, name: str, **config: Any) -> None:
        self.sandbox = sandbox
        self.name = name
        self.ifindex: dict[str, int] = {}  # device -> index
        self.maps: dict[str, Map] = {}  # name -> map
        self.objects: dict[str, libbpf.Object] = {}  # program -> object
        self.policies: dict[int, Map] = {}  # endpoint id -> its policy map
        self._root = sandbox.bpffs / name
        sandbox.run(self._load, config)
        self.btf = self.objects["from_container"].btf

    def endpoint(self, name: str, **fields: int) -> None:
        """A pod of this node, or (flags=HOST) an address of its own."""
        put(self.maps["cilium_lxc"], {"ip": {"v4": address(name)}, "family": V4}, fields)

    def ipcache(self, network: str, identity: int, *, prefix: int = 32, node: str | None = None) -> None:
        """`node`: where the address lives, if on another one."""
        key = {"prefixlen": 32 + prefix, "family": V4, "ip": {"v4": address(network)}}
        value = {"sec_identity": identity, "tunnel_endpoint": {"v4": address(node)} if node else {}}
        put(self.maps["cilium_ipcache_v2"], key, value)

    def policy_map(self, endpoint: int) -> None:
        """An empty policy for an endpoint: nothing is allowed."""
        key, value = self.btf.dtype("policy_key"), self.btf.dtype("policy_entry")
        sizes = key.itemsize, value.itemsize
        fd = syscall.map_create(syscall.LPM_TRIE, "policy", *sizes, 16384, flags=syscall.NO_PREALLOC)
        self.maps["cilium_policy_maps"].set(struct.pack("=I", endpoint), struct.pack("=I", fd))
        self.policies[endpoint] = Map(fd, key, value)

    def _load(self, config: dict[str, Any]) -> None:
        self._root.mkdir()
        self.ifindex = {device: index for index, device in socket.if_nameindex()}
        devices = {"native_ifindex": self.ifindex["eth0"], "overlay_ifindex": self.ifindex["seta_vxlan"]}
        for name in PROGRAMS:
            loaded = libbpf.Object(OBJECTS / f"{name}.bpf.o", self._root)
            for declared in loaded.btf.maps.keys() & SIZES.keys():
                loaded.set_max_entries(declared, SIZES[declared])
            loaded.set_rodata("cfg", devices | config)
            loaded.load()
            self.objects[name] = loaded
            for declared, layout in loaded.btf.maps.items():
                if declared not in self.maps and declared != "cilium_events":
                    self.maps[declared] = Map.pinned(self._root / declared, layout.key, layout.value)
        first = self.objects["from_container"]
        self.ring = RingBuffer(first.map_fd("cilium_events"), RING, first.btf.dtype("event"))
