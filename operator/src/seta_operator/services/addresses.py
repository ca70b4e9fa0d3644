"""Cuts the cluster's pool into pod CIDRs, one per node. Pure; used by nodes.py."""

import ipaddress
from collections.abc import Iterable, Iterator

Network = ipaddress.IPv4Network


class PoolExhaustedError(Exception):
    """No pod CIDR is left; the message says what to change."""


class PodCIDRs:
    """Which node has which pod CIDR."""

    def __init__(self, pool: Iterable[str], mask: int) -> None:
        """`pool`: ranges to cut, in order; `mask`: prefix length of each piece."""
        self._pool = [ipaddress.IPv4Network(text) for text in pool]
        self._mask = mask
        self._given: dict[str, Network] = {}  # node -> its pod CIDR
        self._taken: dict[Network, str] = {}  # pod CIDR -> its node
        self._search: Iterator[Network] = self._pieces()

    def claim(self, node: str, cidr: str) -> bool:
        """Take over what a node has already, in the pool or not, unless it overlaps another node's or is no range."""
        try:
            network = ipaddress.IPv4Network(cidr)
        except ValueError:
            return False
        if self._taken.get(network, node) != node or self._overlaps_odd(network):
            return False
        self._set(node, network)
        return True

    def give(self, node: str) -> Network:
        """The node's pod CIDR: the one it has, else the first free one.

        Raises:
            PoolExhaustedError: none is free.

        """
        if node not in self._given:
            self._set(node, self._free())
        return self._given[node]

    def release(self, node: str) -> bool:
        """Take it back; whether the node had one."""
        network = self._given.pop(node, None)
        if network is None:
            return False
        del self._taken[network]
        self._search = self._pieces()
        return True

    def _set(self, node: str, network: Network) -> None:
        self._given[node] = network
        self._taken[network] = node

    def _free(self) -> Network:
        for piece in self._search:  # goes on where the last search ended: what lies before is taken
            if piece not in self._taken and not self._overlaps_odd(piece):
                return piece
        pool = " ".join(map(str, self._pool))
        raise PoolExhaustedError(
            f"no /{self._mask} is left in {pool} for this node: add a range to "
            "ipam.operator.clusterPoolIPv4PodCIDRList or remove nodes"
        )

    def _overlaps_odd(self, network: Network) -> bool:
        """Overlap with another length than its own: left from another configuration, so rare."""
        return any(network.overlaps(other) for other in self._taken if other.prefixlen != network.prefixlen)

    def _pieces(self) -> Iterator[Network]:
        for network in self._pool:
            yield from network.subnets(new_prefix=self._mask)


def router(network: Network) -> str:
    """The node's own address among its pods: the first of the pod CIDR."""
    return str(network.network_address + 1)
