"""The service maps as tests write them, by address: what the agent does for real."""

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seta_agent.bpf import libbpf, syscall
from seta_agent.bpf.maps import Map

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
TWINS = {4: "cilium_lb4_", 6: "cilium_lb6_"}
MAGLEV = 2 << 24  # of a master's backend_id


class LbMaps:
    """`maps`: name -> map, of loaded objects. Backends get numbers of their own for each service."""

    def __init__(self, maps: Mapping[str, Map]) -> None:
        self.maps = maps
        self._backends = 0

    def service(
        self,
        address: str,
        port: int,
        protocol: str,
        backends: Sequence[tuple[str, int]],
        *,
        rev_nat: int = 7,
        flags: int = 0,
        scope: int = 0,
        affinity: int = 0,
        maglev: bool = False,
    ) -> list[int]:
        """A frontend, the whole of it replaced as the agent does: backends, slots, then the master.

        The numbers of its backends. `affinity`: seconds; the backends then match the service.
        """
        twin, number = TWINS[ipaddress.ip_address(address).version], PROTOCOLS[protocol]
        key = {"address": plain(address), "dport": port, "proto": number, "scope": scope}
        numbers = [self.backend(where, there, protocol) for where, there in backends]
        for slot, backend in enumerate(numbers, 1):
            self.put(twin + "services_v2", key | {"backend_slot": slot}, {"backend_id": backend})
            if affinity:
                self.match(backend, rev_nat, scope=scope)
        value = {"count": len(backends), "rev_nat_index": rev_nat, "flags": flags & 0xFF, "flags2": flags >> 8}
        value["backend_id"] = affinity + MAGLEV * maglev
        self.put(twin + "services_v2", key, value)
        self.put(twin + "reverse_nat", rev_nat, {"address": plain(address), "port": port})
        return numbers

    def backend(self, address: str, port: int, protocol: str) -> int:
        self._backends += 1
        value = {"address": plain(address), "port": port, "proto": PROTOCOLS[protocol]}
        self.put(TWINS[ipaddress.ip_address(address).version] + "backends_v3", self._backends, value)
        return self._backends

    def match(self, backend: int, rev_nat: int, *, scope: int = 0, present: bool = True) -> None:
        """Whether the backend still is one of the service that keeps clients."""
        key = {"backend_id": backend, "rev_nat_id": rev_nat, "scope": scope}
        if present:
            self.put("cilium_lb_affinity_match", key, 1)
        else:
            self.remove("cilium_lb_affinity_match", key)

    def table(self, rev_nat: int, backends: Sequence[int], *, version: int = 4) -> None:
        """The Maglev table of a service: for each place a backend's number."""
        content = np.array(backends, "=u4").tobytes()
        inner = Map(syscall.map_create(syscall.ARRAY, "maglev", 4, len(content), 1))
        inner.set(bytes(4), content)
        self.maps[TWINS[version] + "maglev"].set(rev_nat.to_bytes(2, "big"), inner.fd.to_bytes(4, "little"))
        inner.close()

    def node_address(self, address: str) -> None:
        """An address of the node itself."""
        self.put("cilium_lxc", {"ip": ip16(address), "family": _family(address)}, {"flags": 1})

    def identity(self, address: str, identity: int) -> None:
        bits = 32 + ipaddress.ip_address(address).max_prefixlen
        key = {"prefixlen": bits, "family": _family(address), "ip": ip16(address)}
        self.put("cilium_ipcache_v2", key, {"sec_identity": identity})

    def put(self, name: str, key: Any, value: Any) -> None:
        found = self.maps[name]
        found.set(record(found.key, key), record(found.value, value))

    def remove(self, name: str, key: Any) -> None:
        assert self.maps[name].remove(record(self.maps[name].key, key)), f"{name} has no {key}"


def plain(address: str) -> Any:
    """As the maps have it: a number, or for IPv6 the fields of union ip16."""
    parsed = ipaddress.ip_address(address)
    return int(parsed) if parsed.version == 4 else {"bytes": list(parsed.packed)}


def ip16(address: str) -> dict[str, Any]:
    return {"bytes": list(ipaddress.ip_address(address).packed.ljust(16, b"\0"))}


def record(dtype: Any, fields: Any) -> bytes:
    if isinstance(fields, int):
        return np.array(fields, dtype).tobytes()
    made = np.zeros(1, dtype)
    libbpf.write_fields(made[0], fields)
    return bytes(made.tobytes())


def _family(address: str) -> int:
    return 1 if ipaddress.ip_address(address).version == 4 else 2
